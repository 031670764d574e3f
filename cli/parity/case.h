// One case of a folder of reference numbers: an entry of manifest.json, the tensors of its safetensors file, and the weights
// and inputs its procedural file describes. The folder is hostile input: whatever is missing or of the wrong type is an
// InputError that names the case and the field.
#pragma once

#include "base/error.h"
#include "cli/parity/procedural.h"
#include "data/checkpoint/safetensors.h"
#include "tensor/core/source.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace relume::parity {

using Json = nlohmann::ordered_json;  // keeps the order of the file

class Case {
 public:
  // Checks the entry's fields; load() opens its files.
  Case(std::filesystem::path folder, Json entry);
  void load();
  void set_device(Device device) { device_ = device; }

  const std::string& name() const { return name_; }
  const std::string& kind() const { return kind_; }
  Device device() const { return device_; }          // where its network computes; what the case holds is on the CPU
  const std::string& loss() const { return loss_; }  // the scalar that was differentiated (manifest conventions); empty if none
  const Json& config() const { return entry_.at("config"); }
  const Json& entry() const { return entry_; }
  std::filesystem::path path() const { return folder_ / file_; }  // the case's main file
  std::filesystem::path path(const std::string& file) const;      // another file of the case's folder, never one outside of it

  // config[key] as a T; InputError naming case, key and JSON type when it is absent or of another type. The second form gives
  // `otherwise` when the key is absent.
  template <class T> T option(const std::string& key) const { return option_in<T>(config(), key); }
  template <class T> T option(const std::string& key, T otherwise) const {
    return config().contains(key) ? option<T>(key) : otherwise;
  }
  // The same for any object inside the entry ("model" of config, one sample of a list).
  template <class T> T option_in(const Json& object, const std::string& key) const;

  // Tensors by their full name ("param.conv.weight", "input.lq", "output.pred"), as stored (NCHW, original dtype), or generated
  // by the procedural rule (f32). info() and tensor() throw an InputError with the nearest name when there is none.
  bool has(const std::string& full_name) const { return find(full_name) != nullptr; }
  const TensorInfo& info(const std::string& full_name) const;
  Tensor tensor(const std::string& full_name) const;
  Tensor f32(const std::string& full_name) const { return tensor(full_name).to(DType::f32); }
  std::vector<std::string> names(std::string_view prefix) const;  // full names that begin with `prefix`, in file order

  // What a module tree loads strictly: param.<network><name> and buffer.<network><name> as <name> (network: "" or "unet."),
  // f16 weights upcast to f32, generated when read. The case must outlive it.
  std::unique_ptr<TensorSource> weights(const std::string& network = "") const;

 private:
  [[noreturn]] void wrong_option(const std::string& key, const Json* value, const char* why) const;
  void check_listed_tensors() const;
  const TensorInfo* find(const std::string& full_name) const;
  std::filesystem::path folder_;
  Json entry_;
  Device device_;
  std::string name_, kind_, loss_, file_;
  std::unique_ptr<SafetensorsFile> stored_;      // null when the main file is of another type, or not loaded yet
  std::unique_ptr<ProceduralSource> generated_;  // null when the case has none
};

// The same values with the channel axis moved: [N, C, H, W] <-> [N, H, W, C]. The same permutation takes a stored convolution
// weight [O, I, kh, kw] to the layout in memory [O, kh, kw, I] and back. Any dtype, rank 4, any device, to the CPU.
Tensor to_channels_last(const Tensor& x);
Tensor to_channels_first(const Tensor& x);

template <class T> T Case::option_in(const Json& object, const std::string& key) const {
  const auto at = object.find(key);
  if (at == object.end()) wrong_option(key, nullptr, "is missing");
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>)
    if (at->is_number_float() && at->template get<double>() != std::floor(at->template get<double>()))
      wrong_option(key, &*at, "an integer is expected");
  try {
    return at->template get<T>();
  } catch (const nlohmann::json::exception& error) {
    wrong_option(key, &*at, error.what());
  }
}

}  // namespace relume::parity
