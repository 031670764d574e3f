#include "cli/device_option.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/text.h"
#include "tensor/backends.h"

namespace relume {

void add_device_option(CLI::App& command, std::string& text) {
  command
      .add_option(
          "--device", text,
          "Where to compute. auto: on a GPU where one can be used, else on the processor (relume doctor says why a GPU is "
          "not used). cuda: on the first GPU that can be used, cuda:1: on that one; an error where it cannot be")
      ->type_name("auto|cpu|cuda[:N]")
      ->capture_default_str();
}

Device chosen_device(const std::string& text) {
  const Device device = device_named(text);
  if (device.kind == DeviceKind::cuda) {
    const Gpu& gpu = gpus().found[size_t(device.index)];
    fmt::print(stderr, "computing on cuda:{}, {}, {}\n", device.index, gpu.name, human_bytes(double(gpu.memory)));
  }
  return device;
}

}  // namespace relume
