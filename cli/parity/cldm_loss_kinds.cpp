// Kind cldm_loss: steps of stage two's training, on one batch (spec/diffbir.md 4.2, 4.3).
#include "autograd/elementwise.h"
#include "autograd/reduce.h"
#include "cli/parity/kinds.h"
#include "cli/parity/optimizer.h"
#include "models/control_net.h"

namespace relume::parity {
namespace {

constexpr int64_t steps = 3;

// The frozen U-Net and the control network that learns, with the batch that they see.
class Training {
 public:
  explicit Training(const Case& c)
      : control_net(control_net_config_of(c, c.config().at("controlnet")), c.device()),
        unet_(unet_config_of(c, c.config().at("unet")), c.device()),
        condition_(maps_of(c, "input.c_img")),
        text_(c.f32("input.c_txt").to(c.device())),
        times_(c.f32("input.t")),
        strength_(c.option<double>("control_scale")) {
    load_strict(unet_, *c.weights("unet."));
    load_strict(control_net, *c.weights("controlnet."));
    unet_.set_trainable(false);
    const Json& diffusion = c.config().at("diffusion");
    const NoiseSchedule schedule(schedule_options(c, diffusion, c.option_in<bool>(diffusion, "zero_snr")));
    const bool v = c.option_in<std::string>(diffusion, "parameterization") == "v";
    std::vector<int64_t> t;
    for (int64_t i = 0; i < times_.numel(); ++i) t.push_back(int64_t(times_.data<float>()[i]));
    batch = noised_latents(schedule, v ? Prediction::v : Prediction::eps, maps_of(c, "input.x0"), maps_of(c, "input.noise"), t);
  }

  Tensor prediction() const {
    UNetControl control{.maps = control_net(batch.x, condition_, times_, control_net.keys_and_values(text_)), .strengths = {}};
    control.strengths.assign(control.maps.size(), strength_);
    return unet_(batch.x, times_, unet_.keys_and_values(text_), control);
  }
  // The mean over everything.
  Tensor loss(const Tensor& prediction) const {
    return scale(sum_squared_error(prediction, batch.target), 1 / double(prediction.numel()));
  }

  ControlNet control_net;
  NoisedLatents batch;

 private:
  UNet unet_;
  Tensor condition_, text_, times_;
  double strength_;
};

void run_cldm_loss(const Case& c, Report& report) {
  RELUME_CHECK(c.loss() == "mean_squared_error", c.name(), ": unknown loss '", c.loss(), "'");
  const Training training(c);
  report.compare_output("x_noisy", to_channels_first(training.batch.x));
  report.compare_output("target", to_channels_first(training.batch.target));
  AdamW adamw(training.control_net.parameters(), adamw_of(c));
  std::vector<double> losses;
  for (int64_t step = 0; step < steps; ++step) {
    const Tensor prediction = training.prediction(), loss = training.loss(prediction);
    adamw.clear_gradients();
    backward(loss);
    losses.push_back(loss.item());
    if (step == 0) {
      report.compare_output("pred", to_channels_first(prediction.detach()));
      report.compare_output("loss", losses[0]);
      compare_stored_gradients(training.control_net, report, "controlnet.");
    }
    adamw.step();
  }
  report.compare_output("adamw_losses", Tensor::of({steps}, losses));
  for (const NamedTensor& p : adamw.parameters())
    if (const std::string name = "final.param.controlnet." + p.name; c.has(name))
      report.compare(name, to_stored(p.tensor.detach(), p.stored_as));
}

}  // namespace

void register_cldm_loss_kinds(Kinds& kinds) { kinds["cldm_loss"] = run_cldm_loss; }

}  // namespace relume::parity
