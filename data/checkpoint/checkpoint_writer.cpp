#include "data/checkpoint/checkpoint_writer.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/hdf5_tensors.h"
#include "data/checkpoint/listed_source.h"
#include "data/checkpoint/safetensors.h"
#include "data/checkpoint/torch_writer.h"

namespace relume {
namespace {

int64_t finite_values(const Tensor& t) {
  const Tensor wide = t.to(DType::f64).contiguous();
  return std::count_if(wide.data<double>(), wide.data<double>() + wide.numel(), [](double x) { return std::isfinite(x); });
}

// Floating-point tensors of another source, converted when read.
class ConvertedFloats : public ListedSource {
 public:
  ConvertedFloats(const TensorSource& source, DType to, std::vector<std::string>& notes)
      : ListedSource(source.where()), source_(source), to_(to), notes_(notes) {
    for (TensorInfo info : source.tensors()) {
      if (is_float(info.dtype)) info.dtype = to;
      list(std::move(info));
    }
  }

 protected:
  Tensor read_at(size_t index) const override {
    const std::string& name = tensors()[index].name;
    const Tensor value = source_.read(name);
    if (!is_float(value.dtype()) || value.dtype() == to_) return value;
    const Tensor converted = value.to(to_);
    if (const int64_t lost = finite_values(value) - finite_values(converted); lost > 0)
      notes_.push_back(detail::concat(lost, " of ", value.numel(), " values of '", printable(name), "' are too large for ", to_,
                                      " and became infinite"));
    return converted;
  }

 private:
  const TensorSource& source_;
  DType to_;
  std::vector<std::string>& notes_;
};

}  // namespace

CheckpointFormat checkpoint_format(const std::filesystem::path& path) {
  const std::string extension = lower_case(path.extension().string());
  if (extension == ".safetensors") return CheckpointFormat::safetensors;
  if (extension == ".pth" || extension == ".pt" || extension == ".ckpt") return CheckpointFormat::torch;
  if (extension == ".h5" || extension == ".hdf5") return CheckpointFormat::hdf5;
  throw InputError(path.string() +
                   ": cannot write weights under this name; end it with .safetensors, .pth, .pt, .ckpt, .h5 or .hdf5");
}

const char* name_of(CheckpointFormat format) {
  switch (format) {
    case CheckpointFormat::safetensors: return "safetensors";
    case CheckpointFormat::torch: return "PyTorch";
    case CheckpointFormat::hdf5: return "HDF5";
  }
  return "";
}

std::vector<std::string> write_checkpoint(const std::filesystem::path& path, const TensorSource& given,
                                          const std::map<std::string, std::string>& metadata,
                                          const CheckpointWriteOptions& options) {
  std::vector<std::string> notes;
  std::optional<ConvertedFloats> converted;
  if (options.floats) converted.emplace(given, *options.floats, notes);
  const TensorSource& source = converted ? *converted : given;
  switch (checkpoint_format(path)) {
    case CheckpointFormat::safetensors: write_safetensors(path, source, metadata); break;
    case CheckpointFormat::hdf5: write_hdf5(path, source, metadata); break;
    case CheckpointFormat::torch: {
      write_torch(path, source);
      std::vector<std::string> keys;
      for (const auto& [key, text] : metadata) keys.push_back(printable(key));
      if (!keys.empty()) notes.push_back("metadata is left out, for which a dict of tensors has no place: " + join(keys, ", "));
      break;
    }
  }
  return notes;
}

}  // namespace relume
