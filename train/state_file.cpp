#include "train/state_file.h"

#include <cstring>

#include "base/files.h"
#include "data/checksum.h"
#include "data/hdf5_writer.h"

namespace relume {

namespace {

Hdf5Type type_of(const std::string& name, DType dtype) {
  switch (dtype) {
    case DType::f32: return {Hdf5Kind::floating, 4, 8};
    case DType::f64: return {Hdf5Kind::floating, 8, 11};
    case DType::i64: return hdf5_i64;
    case DType::u8: return hdf5_u8;
    default: RELUME_BUG(false, "a state holds no ", dtype, ": ", name);
  }
}

DType dtype_of_dataset(const Hdf5Dataset& d, const std::string& where) {
  for (const DType dtype : {DType::f32, DType::f64, DType::i64, DType::u8})
    if (to_string(d.type) == name_of(dtype)) return dtype;
  throw InputError(where + ": '" + d.name + "' holds " + to_string(d.type) + ", which no state of a training has");
}

}  // namespace

void StateContents::add(const std::string& name, const std::string& text) {
  Tensor bytes = Tensor::empty({int64_t(text.size())}, DType::u8);
  if (!text.empty()) std::memcpy(bytes.raw(), text.data(), text.size());
  add(name, bytes);
}

int64_t StateContents::bytes() const {
  int64_t sum = 0;
  for (const auto& [name, tensor] : tensors_) sum += tensor.numel() * size_of(tensor.dtype());
  return sum;
}

StateFacts write_state(const std::filesystem::path& path, const StateContents& contents) {
  constexpr int64_t header = 65536, header_each = 1024;  // more than libhdf5 adds to the data
  const int64_t needed = contents.bytes() + header + header_each * int64_t(contents.tensors().size());
  AtomicFile file(path);
  {
    Hdf5Writer writer(file.temporary(), path, needed);
    file.reserve(needed);
    for (const auto& [name, tensor] : contents.tensors()) {
      RELUME_BUG(tensor.is_dense(), "state: ", name, " is not dense: ", tensor);
      const auto sizes = tensor.shape().sizes();
      writer.add(name, type_of(name, tensor.dtype()), {sizes.begin(), sizes.end()}, tensor.raw());
    }
    writer.close();
  }
  const MappedFile written = map_file(file.temporary());
  const Hdf5File readable(written, path.string());  // throws when it is not
  RELUME_BUG(readable.datasets().size() == contents.tensors().size(), path.string(), ": ", readable.datasets().size(),
             " datasets after writing ", contents.tensors().size());
  const StateFacts facts{int64_t(written.bytes.size()), checksum(written.bytes.data(), written.bytes.size())};
  file.commit();
  return facts;
}

Tensor StateFile::tensor(const std::string& name) const {
  const Hdf5Dataset* found = file_.find(name);
  RELUME_CHECK(found, where(), ": not a state of this training, it has no '", name, "'");
  RELUME_CHECK(found->shape.size() <= size_t(Shape::max_rank), where(), ": '", name, "' has ", found->shape.size(), " axes");
  Tensor out = Tensor::empty(Shape(std::span<const int64_t>(found->shape)), dtype_of_dataset(*found, where()));
  if (found->bytes > 0) std::memcpy(out.raw(), file_.bytes(*found).data(), found->bytes);
  return out;
}

Tensor StateFile::tensor(const std::string& name, const Shape& shape, DType dtype) const {
  const Tensor out = tensor(name);
  RELUME_CHECK(out.shape() == shape && out.dtype() == dtype, where(), ": '", name, "' is ", out, ", expected ", dtype, " ",
               shape);
  return out;
}

std::string StateFile::text(const std::string& name) const {
  const Tensor bytes = tensor(name);
  RELUME_CHECK(bytes.dtype() == DType::u8 && bytes.rank() == 1, where(), ": '", name, "' is ", bytes, ", expected a text");
  return {static_cast<const char*>(bytes.raw()), size_t(bytes.numel())};
}

}  // namespace relume
