// Weights and inputs that a case describes instead of storing: uniform noise from a SplitMix64 stream keyed by tag and name.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tensor/core/source.h"

namespace relume::parity {

// FNV-1a, 64 bit, of the bytes.
uint64_t fnv1a(std::string_view bytes);

// value[i] = f32(center + amp * u), u = (z >> 40) 2^-23 - 1 in [-1, 1), z = SplitMix64 finaliser of
// fnv1a(tag ":" name) + (i + 1) 0x9E3779B97F4A7C15; in double, rounded once.
Tensor generate(std::string_view tag, std::string_view name, const Shape& shape, double center, double amp);

// A <case>.procedural.json: {tag, params: [{name, shape, center, amp}], inputs: [...]}. Names in `params` are addressed as
// param.<name> (the key has no prefix), names in `inputs` carry "input." themselves. Tensors are generated when read.
class ProceduralSource : public TensorSource {
 public:
  explicit ProceduralSource(std::filesystem::path path);  // InputError naming file and field

  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* find(const std::string& name) const override;
  Tensor read(const std::string& name) const override;
  std::string where() const override { return path_.string(); }

 private:
  struct Rule {
    std::string key_name;
    double center = 0, amp = 0;
  };
  std::filesystem::path path_;
  std::string tag_;
  std::vector<TensorInfo> infos_;
  std::vector<Rule> rules_;
  std::unordered_map<std::string, size_t> index_;
};

}  // namespace relume::parity
