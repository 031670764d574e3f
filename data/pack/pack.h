// A pack: many pictures in one HDF5 file, laid out for reading at random from many threads. `relume pack` writes it
// (data/pack/pack_writer.h); h5py and every other HDF5 library read it too. Datasets, all contiguous, without time stamps:
// - pack_version: i64 [1], the number 1
// - pixels: u8 [bytes], whole pictures one after another, each [height, width, 3] RGB;
//   or image: u8 [N, S, S, 3] when all were cut to squares of S pixels, the same bytes
// - offset, height, width: i64 [N], where in those bytes each picture begins, and its size
// - xxh3: u64 [N], XXH3-64 of each picture's bytes with seed 0
// - path: u8 [bytes] and path_offset: i64 [N + 1]; UTF-8, text i is path[path_offset[i]:path_offset[i + 1]]
// - caption_short, caption_short_offset, caption_long, caption_long_offset: texts likewise; only in a pack with captions
#pragma once

#include <array>
#include <functional>
#include <string>

#include "data/file_list.h"
#include "data/hdf5_file.h"
#include "tensor/core/tensor.h"

namespace relume {

// Whether a file is taken for a pack: one named .h5 or .hdf5, in any case.
bool is_pack_name(const std::filesystem::path& path);

// A pack, memory-mapped; any thread. Opening checks types and shapes; what concerns one picture is checked when it is asked
// for. Whatever is wrong is an InputError naming the pack and the picture's index.
class Pack {
 public:
  explicit Pack(const std::filesystem::path& path) : Pack(Hdf5File(path)) {}
  explicit Pack(Hdf5File file);

  int64_t size() const { return size_; }
  bool has_captions() const { return texts_[1].bytes != nullptr; }
  std::string path(int64_t index) const;  // as it was when packed; below the packed folder where it was there
  Captions captions(int64_t index) const;
  // u8 [H, W, 3], a read-only view that keeps the file mapped. Its checksum is compared at every call.
  Tensor picture(int64_t index) const;
  std::string name(int64_t index) const;  // "train.h5[12] (a/photo.jpg)", for messages
  const std::string& where() const { return file_.where(); }

 private:
  struct Text {
    const char* bytes = nullptr;
    const char* offsets = nullptr;
    int64_t length = 0;
  };
  const char* column(const std::string& name, const Hdf5Type& type, int64_t length) const;
  Text text_column(const std::string& name) const;
  std::string text(int column, int64_t index) const;
  void check_index(int64_t index) const;

  Hdf5File file_;
  int64_t size_ = 0, pixel_bytes_ = 0;
  const char* pixels_ = nullptr;
  const char *offset_ = nullptr, *height_ = nullptr, *width_ = nullptr, *xxh3_ = nullptr;
  std::array<Text, 3> texts_;  // path, caption_short, caption_long
};

// Reads every picture, path and caption of a pack once. Throws InputError for the first that is damaged; `progress` hears how
// many were read, and may throw to end it.
void verify(const Pack& pack, const std::function<void(int64_t done)>& progress = {});

}  // namespace relume
