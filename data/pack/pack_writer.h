// Writes packs (data/pack/pack.h).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "data/bad_pictures.h"
#include "data/crop.h"
#include "data/image.h"

namespace relume {

struct PackOptions {
  std::filesystem::path input;     // a folder or a file list (data/file_list.h)
  std::filesystem::path output;    // .h5 or .hdf5
  CropKind crop = CropKind::none;  // none: whole pictures; center: squares of `size` (spec degradation D5)
  int64_t size = 512;
  int64_t max_side = 0;    // larger pictures are reduced to this long side first; 0: never
  bool captions = false;   // of the list, or beside the pictures
  bool resume = false;     // continue an interrupted pack; begin where there is none
  bool overwrite = false;  // replace an existing pack
  double max_bad = 0.01;   // fraction of the pictures seen so far that may be unusable (and at least 10, unless it is 0)
  int threads = 1;         // that decode; the file does not depend on them
  ImageLimits limits;
  std::function<void(const BadPicture&)> skipped = {};  // hears of every picture that is passed over
};

struct PackSummary {
  int64_t packed = 0, skipped = 0;
  int64_t pixel_bytes = 0;
};

// Decodes the pictures in order into a spool (data/pack/spool.h), places them into the HDF5 file, reads that back, compares
// every checksum, and only then gives the file its name: a pack is whole or absent. Needs disk space for the pixels twice, and
// memory for 2 * threads pictures. An interrupted pack that is continued gives the same bytes as an uninterrupted one. Throws
// Interrupted on SIGINT or SIGTERM.
PackSummary write_pack(const PackOptions& options);

}  // namespace relume
