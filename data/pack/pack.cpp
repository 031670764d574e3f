#include "data/pack/pack.h"

#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "data/checksum.h"

namespace relume {
namespace {

constexpr const char* text_names[] = {"path", "caption_short", "caption_long"};
constexpr int64_t max_side = int64_t(1) << 24;  // so that height x width x 3 cannot overflow

// Columns lie in the file as they come, not aligned.
template <class T> T value_at(const char* column, int64_t index) {
  T value;
  std::memcpy(&value, column + size_t(index) * sizeof(T), sizeof(T));
  return value;
}

}  // namespace

bool is_pack_name(const std::filesystem::path& path) {
  const std::string extension = lower_case(path.extension().string());
  return extension == ".h5" || extension == ".hdf5";
}

Pack::Pack(Hdf5File file) : file_(std::move(file)) {
  RELUME_CHECK(file_.find("pack_version"), where(),
               ": not a pack of pictures (no dataset pack_version); write one with 'relume pack'");
  const int64_t version = value_at<int64_t>(column("pack_version", hdf5_i64, 1), 0);
  RELUME_CHECK(version == 1, where(), ": a pack of version ", version, ", this program reads version 1");
  const Hdf5Dataset *pixels = file_.find("pixels"), *squares = file_.find("image"), *offset = file_.find("offset");
  RELUME_CHECK(offset && offset->shape.size() == 1, where(), ": dataset offset is missing or no list; pack again");
  RELUME_CHECK((pixels != nullptr) != (squares != nullptr), where(),
               ": needs one of the datasets pixels and image; pack again");
  if (!pixels) pixels = squares;
  RELUME_CHECK(pixels->type == hdf5_u8 && pixels->bytes <= uint64_t(INT64_MAX), where(), ": dataset ", pixels->name, " is ",
               to_string(pixels->type), ", expected u8; pack again");
  size_ = offset->shape[0];
  pixels_ = file_.bytes(*pixels).data(), pixel_bytes_ = int64_t(pixels->bytes);
  offset_ = column("offset", hdf5_i64, size_), height_ = column("height", hdf5_i64, size_);
  width_ = column("width", hdf5_i64, size_), xxh3_ = column("xxh3", hdf5_u64, size_);
  const bool captioned = file_.find(text_names[1]) || file_.find(text_names[2]);
  for (size_t t = 0; t < (captioned ? 3 : 1); ++t) texts_[t] = text_column(text_names[t]);
}

const char* Pack::column(const std::string& name, const Hdf5Type& type, int64_t length) const {
  const Hdf5Dataset* d = file_.find(name);
  RELUME_CHECK(d, where(), ": dataset ", name, " is missing; pack again");
  RELUME_CHECK(d->type == type && d->shape == std::vector<int64_t>{length}, where(), ": dataset ", name, " is ",
               to_string(d->type), " with ", d->shape.size(), " axes and ", d->bytes, " bytes, expected ", to_string(type),
               " [", length, "]; pack again");
  return file_.bytes(*d).data();
}

Pack::Text Pack::text_column(const std::string& name) const {
  const Hdf5Dataset* d = file_.find(name);
  const int64_t length = d && d->shape.size() == 1 ? d->shape[0] : 0;
  return {column(name, hdf5_u8, length), column(name + "_offset", hdf5_i64, size_ + 1), length};
}

void Pack::check_index(int64_t index) const {
  RELUME_CHECK(index >= 0 && index < size_, where(), ": picture ", index, " asked for, but there are ", size_);
}

std::string Pack::text(int column, int64_t index) const {
  check_index(index);
  const Text& t = texts_[size_t(column)];
  const int64_t begin = value_at<int64_t>(t.offsets, index), end = value_at<int64_t>(t.offsets, index + 1);
  RELUME_CHECK(0 <= begin && begin <= end && end <= t.length, where(), "[", index, "]: its text ", column, " lies at ", begin,
               " to ", end, " of ", t.length, " bytes; the pack is damaged, pack again");
  const std::string_view found(t.bytes + begin, size_t(end - begin));
  RELUME_CHECK(is_utf8(found), where(), "[", index, "]: its text ", column, " is not UTF-8; the pack is damaged, pack again");
  return std::string(found);
}

std::string Pack::path(int64_t index) const { return text(0, index); }
std::string Pack::name(int64_t index) const { return detail::concat(where(), "[", index, "] (", path(index), ")"); }

Captions Pack::captions(int64_t index) const {
  if (!has_captions()) return {};
  return {text(1, index), text(2, index)};
}

Tensor Pack::picture(int64_t index) const {
  check_index(index);
  const int64_t offset = value_at<int64_t>(offset_, index), height = value_at<int64_t>(height_, index),
                width = value_at<int64_t>(width_, index);
  RELUME_CHECK(height > 0 && width > 0 && height <= max_side && width <= max_side && offset >= 0 && offset <= pixel_bytes_ &&
                   height * width * 3 <= pixel_bytes_ - offset,
               where(), "[", index, "]: ", width, "x", height, " pixels from byte ", offset, " are not within the ",
               pixel_bytes_, " stored; the pack is damaged, pack again");
  // The tensor promises nothing to writers: pictures of data sets are shared (data/dataset.h).
  const Tensor picture = Tensor::wrap({height, width, 3}, DType::u8, const_cast<char*>(pixels_ + offset), file_.memory());
  RELUME_CHECK(checksum(picture.raw(), size_t(picture.numel())) == value_at<uint64_t>(xxh3_, index), name(index),
               ": its pixels do not match their checksum; the pack is damaged, copy it again or pack again");
  return picture;
}

void verify(const Pack& pack, const std::function<void(int64_t)>& progress) {
  for (int64_t i = 0; i < pack.size(); ++i) {
    pack.picture(i);
    pack.path(i);
    pack.captions(i);
    if (progress) progress(i + 1);
  }
}

}  // namespace relume
