// Pictures to learn from, and their captions: a folder, a list of files, or a pack, behind one interface.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/file_list.h"
#include "data/image.h"
#include "data/pack/pack.h"

namespace relume {

// Decoded pictures, the most recently used ones up to a number of bytes. Any number of threads; a picture asked for by several
// at once is decoded once.
class PictureCache {
 public:
  // Pictures with a side above max_side (0: none) are reduced to it as they are decoded.
  explicit PictureCache(int64_t bytes, ImageLimits limits = {}, int64_t max_side = 0);
  ~PictureCache();
  // u8 [H, W, 3], shared with other callers: not to be written to. Throws what read_image throws, to every caller that waited.
  Tensor get(const std::filesystem::path& path);
  int64_t bytes_held() const;
  int64_t decoded() const;  // how many pictures were decoded so far

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct DatasetOptions {
  int64_t cache_bytes = int64_t(1) << 30;
  ImageLimits limits;
  int64_t max_side = 0;  // longer pictures are reduced to this long side when they are decoded (or read from a pack); 0: never
};

// Any number of threads.
class PictureDataset {
 public:
  virtual ~PictureDataset() = default;
  virtual int64_t size() const = 0;
  virtual std::string name(int64_t index) const = 0;   // for messages: a path, or pack, index and path
  virtual Tensor picture(int64_t index) = 0;           // u8 [H, W, 3], shared: not to be written to
  virtual Captions captions(int64_t index) const = 0;  // empty texts where there are none
};

// Opens a folder (recursively, sorted by path: the same numbers on every machine), a file list (data/file_list.h, in its order)
// or a pack (a file named .h5 or .hdf5, in its order). Throws InputError when it is missing, damaged or without a picture.
std::unique_ptr<PictureDataset> open_dataset(const std::filesystem::path& source, const DatasetOptions& options = {});

// Pictures in files of their own: a folder or a file list.
class FileDataset : public PictureDataset {
 public:
  explicit FileDataset(const std::filesystem::path& folder_or_list, const DatasetOptions& options = {});

  int64_t size() const override { return int64_t(entries_.size()); }
  std::string name(int64_t index) const override { return path(index).string(); }
  Tensor picture(int64_t index) override { return cache_.get(path(index)); }
  Captions captions(int64_t index) const override;
  const std::filesystem::path& path(int64_t index) const { return entry(index).path; }

 private:
  const ListEntry& entry(int64_t index) const;
  std::vector<ListEntry> entries_;
  PictureCache cache_;
};

// Pictures of a pack. Nothing is cached but what the system caches of the file.
class PackDataset : public PictureDataset {
 public:
  explicit PackDataset(const std::filesystem::path& path, const DatasetOptions& options = {});

  int64_t size() const override { return pack_.size(); }
  std::string name(int64_t index) const override { return pack_.name(index); }
  Tensor picture(int64_t index) override;
  Captions captions(int64_t index) const override { return pack_.captions(index); }

 private:
  Pack pack_;
  int64_t max_side_;
};

}  // namespace relume
