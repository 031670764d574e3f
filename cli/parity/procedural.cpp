#include "cli/parity/procedural.h"

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

#include <nlohmann/json.hpp>

#include <cmath>

namespace relume::parity {
namespace {

constexpr int64_t max_elements = int64_t(1) << 34;      // of one tensor: 64 GB
constexpr int64_t max_description = int64_t(64) << 20;  // bytes of JSON; the largest network known takes 70 kB

Shape read_shape(const nlohmann::json& value, const std::string& what) {
  RELUME_CHECK(value.is_array(), what, ": shape is not a list");
  std::vector<int64_t> sizes;
  for (const auto& size : value) {
    RELUME_CHECK(size.is_number_unsigned() && size.get<uint64_t>() <= uint64_t(INT64_MAX), what, ": shape holds ", size.dump(),
                 ", expected non-negative integers");
    sizes.push_back(size.get<int64_t>());
  }
  const Shape shape{std::span<const int64_t>(sizes)};
  int64_t count = 1;
  for (const int64_t size : sizes)
    RELUME_CHECK(!__builtin_mul_overflow(count, size, &count) && count <= max_elements, what, ": shape ", value.dump(),
                 " has more than ", max_elements, " elements");
  return shape;
}

double read_number(const nlohmann::json& entry, const char* field, const std::string& what) {
  const auto at = entry.find(field);
  RELUME_CHECK(at != entry.end() && at->is_number() && std::isfinite(at->get<double>()), what, ": ", field, " is not a number");
  return at->get<double>();
}

}  // namespace

uint64_t fnv1a(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (const char c : bytes) hash = (hash ^ uint8_t(c)) * 0x100000001b3u;
  return hash;
}

Tensor generate(std::string_view tag, std::string_view name, const Shape& shape, double center, double amp) {
  const uint64_t seed = fnv1a(std::string(tag) + ":" + std::string(name));
  Tensor out = Tensor::empty(shape);
  float* values = out.data<float>();
  for (int64_t i = 0, n = out.numel(); i < n; ++i) {
    uint64_t z = seed + uint64_t(i + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    const double scaled = amp * (double(z >> 40) * 0x1p-23 - 1);  // a statement of its own: no contraction with the sum
    values[i] = float(center + scaled);
  }
  return out;
}

ProceduralSource::ProceduralSource(std::filesystem::path path) : path_(std::move(path)) {
  const std::string where = path_.string();
  nlohmann::json file;
  try {
    file = nlohmann::json::parse(read_file(path_, max_description));
  } catch (const nlohmann::json::exception& error) {
    throw InputError(where + ": not valid JSON (" + error.what() + ")");
  }
  RELUME_CHECK(file.is_object() && file.contains("tag") && file["tag"].is_string(), where, ": no text under 'tag'");
  tag_ = file["tag"].get<std::string>();
  for (const char* list : {"params", "inputs"}) {
    RELUME_CHECK(file.contains(list) && file[list].is_array(), where, ": no list under '", list, "'");
    for (const auto& entry : file[list]) {
      RELUME_CHECK(entry.is_object() && entry.contains("name") && entry["name"].is_string(), where, ": an entry of '", list,
                   "' has no name");
      const auto key = entry["name"].get<std::string>();
      const std::string what = where + ": '" + key + "'", name = list == std::string_view("params") ? "param." + key : key;
      RELUME_CHECK(name.starts_with("param.") || name.starts_with("input."), what, ": an input's name begins with 'input.'");
      RELUME_CHECK(entry.contains("shape"), what, ": shape is missing");
      RELUME_CHECK(index_.emplace(name, infos_.size()).second, what, " is described twice");
      infos_.push_back({name, DType::f32, read_shape(entry["shape"], what)});
      rules_.push_back({key, read_number(entry, "center", what), read_number(entry, "amp", what)});
    }
  }
}

const TensorInfo* ProceduralSource::find(const std::string& name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &infos_[at->second];
}

Tensor ProceduralSource::read(const std::string& name) const {
  const auto at = index_.find(name);
  RELUME_CHECK(at != index_.end(), where(), ": no tensor named '", name, "'");
  const Rule& rule = rules_[at->second];
  return generate(tag_, rule.key_name, infos_[at->second].shape, rule.center, rule.amp);
}

}  // namespace relume::parity
