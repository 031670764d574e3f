// safetensors, read and written as the published format has it (github.com/huggingface/safetensors, "Format"): 8 bytes header
// length, a JSON object name -> {dtype, shape, data_offsets}, then the data, little-endian, without holes.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/files.h"
#include "data/checkpoint/listed_source.h"

namespace relume {

// A memory-mapped file, validated whole when opened, as strictly as the reference reader: header of at most 100 MB, no
// duplicate names, known dtypes, shapes whose sizes equal their byte ranges, ranges that cover the data exactly once, and
// __metadata__ a map of strings. Each violation is an InputError naming file, tensor and rule. F64 F32 F16 BF16 I64 I32 U8 BOOL
// are held; a valid file with another dtype is refused by name.
class SafetensorsFile : public ListedSource {
 public:
  explicit SafetensorsFile(const std::filesystem::path& path) : SafetensorsFile(map_file(path), path.string()) {}
  SafetensorsFile(MappedFile file, std::string where);

  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 protected:
  // A read-only view of the mapped file that keeps the mapping alive; a copy where the data is not aligned for its type.
  Tensor read_at(size_t index) const override;

 private:
  std::shared_ptr<void> map_;
  const char* data_ = nullptr;     // first byte behind the header
  std::vector<uint64_t> offsets_;  // of tensors()[i], from data_
  std::map<std::string, std::string> metadata_;
};

using NamedTensors = std::vector<std::pair<std::string, Tensor>>;

// Writes CPU tensors atomically, listed in the given order; the data of wider types comes first, as the reference writer has
// it, so that every tensor is aligned and PyTorch can map it. Names must be unique and valid UTF-8. A source's tensors are read
// one at a time.
void write_safetensors(const std::filesystem::path& path, const TensorSource& source,
                       const std::map<std::string, std::string>& metadata = {});
void write_safetensors(const std::filesystem::path& path, const NamedTensors& entries,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace relume
