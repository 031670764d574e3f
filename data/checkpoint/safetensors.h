// safetensors, read and written as the published format has it (github.com/huggingface/safetensors, "Format"): 8 bytes header
// length, a JSON object name -> {dtype, shape, data_offsets}, then the data, little-endian, without holes.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tensor/core/source.h"

namespace relume {

// A memory-mapped file, validated whole when opened, as strictly as the reference reader: header of at most 100 MB, no
// duplicate names, known dtypes, shapes whose sizes equal their byte ranges, ranges that cover the data exactly once, and
// __metadata__ a map of strings. Each violation is an InputError naming file, tensor and rule. F64 F32 F16 BF16 I64 I32 U8 are
// held; a valid file with another dtype is refused by name.
class SafetensorsFile : public TensorSource {
 public:
  explicit SafetensorsFile(std::filesystem::path path);

  const std::vector<TensorInfo>& tensors() const override { return infos_; }  // in the order of the header
  const TensorInfo* find(const std::string& name) const override;
  // A read-only view of the mapped file that keeps the mapping alive; a copy where the data is not aligned for its type.
  // InputError with the nearest name when there is none.
  Tensor read(const std::string& name) const override;
  std::string where() const override { return path_.string(); }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  std::filesystem::path path_;
  std::shared_ptr<void> map_;
  const char* data_ = nullptr;  // first byte behind the header
  std::vector<TensorInfo> infos_;
  std::vector<uint64_t> offsets_;  // of infos_[i], from data_
  std::unordered_map<std::string, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// Writes CPU tensors atomically, listed in the given order; the data of wider types comes first, as the reference writer has
// it, so that every tensor is aligned and PyTorch can map it. Names must be unique and valid UTF-8.
void write_safetensors(const std::filesystem::path& path, const NamedTensors& entries,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace relume
