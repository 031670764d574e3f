#include "tensor/backends.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "base/error.h"
#include "tensor/cpu/register.h"
#if defined(RELUME_CUDA_LINKED)
#include "tensor/cuda/register.h"
#elif defined(RELUME_CUDA_MODULE)
#include "tensor/cuda_module.h"
#endif

namespace relume {
namespace {

#if defined(RELUME_CUDA_LINKED)
Gpus find_gpus() { return cuda_gpus(); }
#elif defined(RELUME_CUDA_MODULE)
Gpus find_gpus() {
  if (Obstacle missing = missing_driver()) return {.found = {}, .obstacle = std::move(missing)};
  return load_cuda_module(cuda_module_path());
}
#else
Gpus find_gpus() {
  return {.found = {},
          .obstacle = {"this build has no CUDA backend",
                       "install nvcc and cuDNN 9, and build again with RELUME_CMAKE_ARGS=-DRELUME_CUDA=ON (docs/cuda.md)"}};
}
#endif

[[noreturn]] void refuse(const std::string& text, const Obstacle& o) {
  throw InputError("--device " + text + ": " + o.reason + "; " + o.remedy + ", or compute on the processor with --device cpu");
}

std::optional<int> first_usable(const Gpus& gpus) {
  const auto at = std::ranges::find_if(gpus.found, [](const Gpu& g) { return !g.obstacle; });
  if (at == gpus.found.end()) return {};
  return int(at - gpus.found.begin());
}

// i of "cuda:i".
int index_in(const std::string& text) {
  constexpr std::string_view before = "cuda:";
  int index = -1;
  const char *begin = text.data() + std::min(before.size(), text.size()), *end = text.data() + text.size();
  const auto [last, error] = std::from_chars(begin, end, index);
  RELUME_CHECK(text.starts_with(before) && error == std::errc() && last == end && index >= 0, "--device '", text,
               "': expected auto, cpu, cuda, or cuda:0, cuda:1, ... for one of several GPUs");
  return index;
}

}  // namespace

void register_backends() {
  register_cpu_kernels();
#ifdef RELUME_CUDA_LINKED
  register_cuda_kernels();
#endif
}

CpuBackend cpu_backend() { return describe_cpu_backend(); }

const Gpus& gpus() {
  static const Gpus all = find_gpus();
  return all;
}

Device device_named(const std::string& text, const Gpus& gpus) {
  if (text == "cpu") return {};
  if (text == "auto" || text == "cuda") {
    if (const std::optional<int> index = first_usable(gpus)) return {DeviceKind::cuda, *index};
    if (text == "auto") return {};
    refuse(text, gpus.found.empty() ? gpus.obstacle : gpus.found.front().obstacle);
  }
  const int index = index_in(text);
  if (gpus.found.empty()) refuse(text, gpus.obstacle);
  if (index >= int(gpus.found.size()))
    refuse(text, {"this process sees " + std::to_string(gpus.found.size()) + (gpus.found.size() == 1 ? " GPU" : " GPUs"),
                  "give an index from 0 to " + std::to_string(gpus.found.size() - 1)});
  if (const Obstacle& o = gpus.found[size_t(index)].obstacle) refuse(text, o);
  return {DeviceKind::cuda, index};
}

Device device_named(const std::string& text) {
  if (text == "cpu") return {};  // what the GPUs are need not be known
  return device_named(text, gpus());
}

}  // namespace relume
