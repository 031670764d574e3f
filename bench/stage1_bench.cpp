// Our side of compare_torch.py: the paper's SwinIR behind the bench's line protocol (the PyTorch side is torch_stage1.py).
//
// Standard input takes one word a line and standard output gives one JSON object a line: the facts once the network stands,
// `run` -> {"seconds", "value"}, `memory` -> bytes, `quit`.
#include "autograd/reduce.h"
#include "base/version.h"
#include "bench/measured.h"
#include "bench/serve.h"
#include "data/checkpoint/safetensors.h"
#include "layers/precision.h"
#include "models/swinir.h"
#include "tensor/kernels/memory.h"
#include "train/adamw.h"

#include <omp.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <iostream>
#include <memory>
#include <optional>
#include <string>

namespace relume {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string mode = "forward", device = "cpu", precision = "f32", weights, pictures;
  int size = 512, threads = 2;
};

class Contender {
 public:
  // Stochastic depth is off on both sides, so that they compute the same numbers and neither saves the work of a dropped
  // branch.
  Contender(const Arguments& arguments, Device device)
      : device_(device),
        precision_(precision_of("--precision", arguments.precision, device)),
        products_(precision_.products),
        network_({.drop_path_rate = 0}, device),
        train_(arguments.mode == "train"),
        restore_(kernels::repeated.on(device)(device, [this](const std::vector<Tensor>& x) { return network_(x[0]); })) {
    load_strict(network_, SafetensorsFile(arguments.weights));
    network_.set_compute_type(precision_.type);
    const SafetensorsFile pictures(arguments.pictures);
    lq_ = pictures.read("lq").clone(), gt_ = pictures.read("gt").clone().to(device);
    if (train_) lq_ = lq_.to(device);
    RELUME_CHECK(lq_.shape() == Shape({1, arguments.size, arguments.size, 3}), arguments.pictures, ": lq is ", lq_,
                 " with --size ", arguments.size);
    network_.set_training(train_);
    if (train_) optimiser_.emplace(network_.parameters(), AdamWOptions{.lr = 1e-4});
  }

  Json run() { return train_ ? train_step() : forward(); }

  Json memory(int64_t baseline) const {
    return {{"peak_bytes", peak_bytes(device_)},
            {"weights_bytes", bytes_of(network_.parameters()) + bytes_of(network_.buffers())},
            {"optimizer_bytes", optimiser_ ? 2 * bytes_of(optimiser_->parameters()) : 0},
            {"baseline_bytes", baseline}};
  }

 private:
  // As a picture is restored: it comes from the CPU, and the result goes there.
  Json forward() {
    const NoGrad no_grad;
    Tensor restored;
    const double seconds = seconds_of(device_, [&] { restored = (*restore_)({lq_}); });
    return {{"seconds", seconds}, {"value", variation(restored)}};
  }

  Json train_step() {
    Tensor loss;
    const double seconds = seconds_of(device_, [&] {
      optimiser_->clear_gradients();
      loss = sum_squared_error(network_(lq_), gt_);
      backward(loss);
      optimiser_->step();
    });
    return {{"seconds", seconds}, {"value", loss.item()}};
  }

  Device device_;
  Precision precision_;
  FloatProductsScope products_;
  SwinIR network_;
  bool train_;
  std::unique_ptr<RepeatedFunction> restore_;
  Tensor lq_, gt_;
  std::optional<AdamW> optimiser_;
};

Arguments parse(CLI::App& app, int argc, char** argv) {
  Arguments a;
  app.add_option("--mode", a.mode)->check(CLI::IsMember({"forward", "train"}));
  app.add_option("--device", a.device, "where the network computes: cpu, cuda or cuda:INDEX");
  app.add_option("--precision", a.precision, "how the network computes: f32, tf32, bf16 or f16");
  app.add_option("--size", a.size, "height and width, a multiple of 64");
  app.add_option("--threads", a.threads)->check(CLI::PositiveNumber);
  app.add_option("--weights", a.weights, "safetensors file in the published layout")->required();
  app.add_option("--pictures", a.pictures, "safetensors file with lq and gt [1, size, size, 3]")->required();
  app.parse(argc, argv);
  return a;
}

void serve(const Arguments& arguments) {
  omp_set_num_threads(arguments.threads);
  const Device device = device_named(arguments.device);
  const int64_t baseline = device.kind == DeviceKind::cpu ? process_bytes("VmRSS") : 0;
  Contender contender(arguments, device);
  reset_peak(device);
  serve_lines({{"version", "relume " + version_number()}, {"threads", omp_get_max_threads()}}, [&](const std::string& word) {
    RELUME_CHECK(word == "run" || word == "memory", "unknown word '", word, "'; expected run, memory or quit");
    return word == "run" ? contender.run() : contender.memory(baseline);
  });
}

}  // namespace
}  // namespace relume

int main(int argc, char** argv) {
  using namespace relume;
  return bench_main("stage1_bench", "The paper's SwinIR, timed for compare_torch.py",
                    [&](CLI::App& app) { serve(parse(app, argc, argv)); });
}
