// Our side of compare_torch.py stage2: the networks of stage two behind the bench's line protocol (the PyTorch side is
// torch_stage2.py).
//
// Standard input takes one word a line and standard output gives one JSON object a line: the facts once the networks stand,
// `run` -> {"seconds", "value"}, `memory` -> bytes, `quit`.
#include "base/version.h"
#include "bench/measured.h"
#include "bench/serve.h"
#include "data/checkpoint/part_source.h"
#include "data/checkpoint/safetensors.h"
#include "layers/precision.h"
#include "models/control_net.h"
#include "models/diffusion/classifier_free.h"
#include "models/vae.h"
#include "tensor/kernels/memory.h"

#include <omp.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <functional>
#include <iostream>
#include <memory>
#include <string>

namespace relume {
namespace {

using Json = nlohmann::ordered_json;

struct Arguments {
  std::string mode = "unet_control_step", device = "cpu", precision = "f32", weights, inputs;
  int threads = 2;
};

class Contender {
 public:
  Contender(const Arguments& a, Device device)
      : device_(device),
        precision_(precision_of("--precision", a.precision, device)),
        products_(precision_.products),
        weights_(std::make_shared<SafetensorsFile>(a.weights)),
        inputs_(std::make_shared<SafetensorsFile>(a.inputs)) {
    if (a.mode == "unet_control_step") prepare_step();
    if (a.mode == "vae_encode") prepare_encode();
    if (a.mode == "vae_decode") prepare_decode();
  }

  Json run() const {
    const NoGrad no_grad;
    Tensor result;
    const double seconds = seconds_of(device_, [&] { result = work_(); });
    return {{"seconds", seconds}, {"value", variation(result.to(Device{}).contiguous())}};
  }

  Json memory(int64_t baseline) const {
    return {{"peak_bytes", peak_bytes(device_)},
            {"weights_bytes", weight_bytes_},
            {"optimizer_bytes", 0},
            {"baseline_bytes", baseline}};
  }

 private:
  // One denoising step with guidance: both texts in one batch. Keys and values of the texts are made before, as in a course.
  void prepare_step() {
    unet_ = std::make_unique<UNet>(UNetConfig(), device_);
    control_net_ = std::make_unique<ControlNet>(ControlNetConfig(), device_);
    load(*unet_, "model.diffusion_model."), load(*control_net_, "control_model.");
    unet_->set_compute_type(precision_.type), control_net_->set_compute_type(precision_.type);
    const NoGrad no_grad;
    const Tensor x = twice(input("x")), hint = twice(input("hint")), text = input("text");
    const Tensor waves = timestep_embedding(Tensor::full({2}, 500), UNetConfig().model_channels).to(device_);
    const auto of_unet = unet_->keys_and_values(text), of_control = control_net_->keys_and_values(text);
    repeat({x, hint, waves}, [=, this](const std::vector<Tensor>& in) {
      const UNetControl control{.maps = (*control_net_)(in[0], in[1], in[2], of_control), .strengths = {}};
      return (*unet_)(in[0], in[2], of_unet, control);
    });
  }
  void prepare_encode() {
    load_autoencoder();
    repeat({input("picture")}, [this](const std::vector<Tensor>& in) { return of_autoencoder(vae_->moments(narrow(in[0]))); });
  }
  void prepare_decode() {
    load_autoencoder();
    repeat({input("x")}, [this](const std::vector<Tensor>& in) { return of_autoencoder(vae_->decode(narrow(in[0]))); });
  }
  void load_autoencoder() {
    vae_ = std::make_unique<AutoencoderKL>(AutoencoderConfig(), device_);
    load(*vae_, "first_stage_model.");
  }
  Tensor narrow(const Tensor& x) const { return cast(x, precision_.type); }
  static Tensor of_autoencoder(const Tensor& y) { return cast(y, DType::f32); }
  Tensor input(const std::string& name) const { return inputs_->read(name).clone().to(device_); }
  void repeat(const std::vector<Tensor>& inputs, const RepeatedFunction::Function& f) {
    const std::shared_ptr<RepeatedFunction> repeated = kernels::repeated.on(device_)(device_, f);
    work_ = [=] { return (*repeated)(inputs); };
  }
  // As restoring does.
  void load(const Module& network, const std::string& prefix) {
    if (device_ != Device{}) network.set_parameter_type(precision_.type);
    load_lazily(network, std::make_shared<PartSource>(weights_, prefix));
    network.set_trainable(false);
    weight_bytes_ += bytes_of(network.parameters());
  }

  Device device_;
  Precision precision_;
  FloatProductsScope products_;
  std::shared_ptr<SafetensorsFile> weights_, inputs_;
  std::unique_ptr<UNet> unet_;
  std::unique_ptr<ControlNet> control_net_;
  std::unique_ptr<AutoencoderKL> vae_;
  int64_t weight_bytes_ = 0;
  std::function<Tensor()> work_;
};

Arguments parse(CLI::App& app, int argc, char** argv) {
  Arguments a;
  app.add_option("--mode", a.mode)->check(CLI::IsMember({"unet_control_step", "vae_encode", "vae_decode"}));
  app.add_option("--device", a.device, "where the networks compute: cpu, cuda or cuda:INDEX");
  app.add_option("--precision", a.precision, "f32, tf32, bf16 or f16");
  app.add_option("--threads", a.threads)->check(CLI::PositiveNumber);
  app.add_option("--weights", a.weights, "safetensors file of all networks, as `relume init` writes it")->required();
  app.add_option("--inputs", a.inputs, "safetensors file with x, hint, text, picture")->required();
  app.parse(argc, argv);
  return a;
}

void serve(const Arguments& arguments) {
  omp_set_num_threads(arguments.threads);
  const Device device = device_named(arguments.device);
  const int64_t baseline = device.kind == DeviceKind::cpu ? process_bytes("VmRSS") : 0;
  const Contender contender(arguments, device);
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
  return bench_main("stage2_bench", "The networks of stage two, timed for compare_torch.py",
                    [&](CLI::App& app) { serve(parse(app, argc, argv)); });
}
