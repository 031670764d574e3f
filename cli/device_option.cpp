#include "cli/device_option.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/text.h"
#include "tensor/backends.h"
#include "tensor/kernels/matmul.h"

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

void add_tune_option(CLI::App& command, bool& tune) {
  command.add_flag("--tune", tune,
                   "On a GPU: time the algorithms for each kind of matrix product at its first use, and take the fastest; what "
                   "was found is kept in files for later runs. Another algorithm may give other last bits");
}

void tune_products(Device device) {
  RELUME_CHECK(device.kind != DeviceKind::cpu,
               "--tune is for GPUs; the processor has one way to compute a product (relume doctor says why a GPU is not used)");
  fmt::print(stderr, "matrix products are timed at their first use; results in {}\n",
             kernels::tune_products.on(device)(device).string());
}

}  // namespace relume
