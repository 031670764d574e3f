// Pictures of a folder or of a list, decoded once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/image.h"

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

// Paths of a text file, one per line; blank lines and lines beginning with # are ignored, relative paths count from the file's
// folder. Throws InputError with file and line for a path that does not exist.
std::vector<std::filesystem::path> read_file_list(const std::filesystem::path& list);

struct FolderDatasetOptions {
  int64_t cache_bytes = int64_t(1) << 30;
  ImageLimits limits;
  int64_t max_side = 0;  // longer pictures are reduced to this long side, once, when they are decoded; 0: never
};

// The pictures of a folder (recursively, sorted by path: the same numbers on every machine) or of a file list (in its order).
class FolderDataset {
 public:
  // Throws InputError when there is no such folder or file, or no picture in it.
  explicit FolderDataset(const std::filesystem::path& folder_or_list, FolderDatasetOptions options = {});

  int64_t size() const { return int64_t(paths_.size()); }
  const std::filesystem::path& path(int64_t index) const;
  Tensor picture(int64_t index);  // u8 [H, W, 3], shared: not to be written to; any thread
  const PictureCache& cache() const { return cache_; }

 private:
  std::vector<std::filesystem::path> paths_;
  PictureCache cache_;
};

}  // namespace relume
