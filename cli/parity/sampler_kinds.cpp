// Kinds sampler_spaced, sampler_ddim, sampler_dpm, sampler_edm: whole courses over the toy network that the cases describe,
// with recorded noise, every call compared; then replayed with the recorded outputs of the network (spec/diffbir.md 5.5, 5.6).
// Kind sampler_guided: spaced courses led by restoration guidance, every step compared (5.7).
#include <cmath>
#include <string>
#include <vector>

#include "autograd/elementwise.h"
#include "cli/parity/kinds.h"
#include "cli/parity/trace.h"
#include "infer/tiling.h"
#include "models/diffusion/classifier_free.h"
#include "models/diffusion/ddim.h"
#include "models/diffusion/dpm_solver.h"
#include "models/diffusion/edm.h"
#include "models/diffusion/restoration_guidance.h"
#include "models/diffusion/spaced.h"

namespace relume::parity {
namespace {

// The toy network of the cases, for latents [N, H, W, C]: w x + (1 - w) (0.4 tanh(x) + 0.2 c_img + m), w = 1 - ((999 - t) /
// 1000)^2, and m the mean of each sample's c_txt. With recorded outputs it gives those.
class ToyNetwork {
 public:
  ToyNetwork(const Case& c, Trace& trace, bool replay)
      : case_(c),
        trace_(trace),
        images_(stacked(to_channels_last(c.f32("input.c_img")), to_channels_last(c.f32("input.uncond_c_img")))),
        texts_(stacked(c.f32("input.c_txt"), c.f32("input.uncond_c_txt"))),
        recorded_(replay ? c.f32("output.model_out") : Tensor()) {}

  Tensor operator()(const Tensor& x, double t, Texts texts) const {
    const auto tiled = case_.option<Json>("tiled", nullptr);
    if (tiled.is_null()) {
      trace_.begin(1, texts, t);
      return evaluate(x, t, images_, 0);
    }
    RELUME_CHECK(tiled.is_array() && tiled.size() == 2, case_.name(), ": 'tiled' is not [size, stride]");
    const Tiling tiling{.size = tiled[0].get<int64_t>(), .stride = tiled[1].get<int64_t>()};
    trace_.begin(int64_t(tile_windows(x.shape(1), x.shape(2), tiling).size()), texts, t);
    int64_t tile = 0;
    return run_tiled(x, tiling, [&](const Tensor& part, const TileWindow& window) {
      return evaluate(part, t, cut_tile(images_, window), tile++);
    });
  }

 private:
  Tensor evaluate(const Tensor& x, double t, const Tensor& images, int64_t tile) const {
    trace_.put(trace_.xs, tile, x.clone());
    const Tensor out = recorded_ ? trace_.get(recorded_, tile) : compute(x, float(t), images);
    trace_.put(trace_.outs, tile, out);
    return out;
  }

  Tensor compute(const Tensor& x, float t, const Tensor& images) const {
    RELUME_CHECK(x.shape(0) <= images.shape(0) && x.shape(1) == images.shape(1) && x.shape(2) == images.shape(2), case_.name(),
                 ": latents ", x, " and their condition ", images, " do not fit");
    const float late = (999 - t) / 1000, w = 1 - late * late;
    const Tensor out = empty_like(x);
    const int64_t per_sample = x.numel() / x.shape(0), per_text = texts_.numel() / texts_.shape(0);
    for (int64_t n = 0; n < x.shape(0); ++n) {
      double sum = 0;
      for (int64_t i = 0; i < per_text; ++i) sum += texts_.data<float>()[n * per_text + i];
      const float mean = float(sum / double(per_text));
      for (int64_t i = n * per_sample; i < (n + 1) * per_sample; ++i) {
        const float v = x.data<float>()[i], image = images.data<float>()[i];
        out.data<float>()[i] = w * v + (1 - w) * (0.4f * std::tanh(v) + 0.2f * image + mean);
      }
    }
    return out;
  }

  const Case& case_;
  Trace& trace_;
  const Tensor images_, texts_;  // of the positive samples, then of the negative ones
  const Tensor recorded_;
};

// The second of two increments of a Brownian motion, where the first and the one over both are recorded, each divided by the
// root of its length: `whole` from sigma a to b, `first` from a to `middle`.
Tensor second_increment(const Tensor& first, const Tensor& whole, double a, double middle, double b) {
  const Tensor out = empty_like(first);
  for (int64_t i = 0; i < out.numel(); ++i) {
    const double sum = whole.data<float>()[i] * std::sqrt(a - b) - first.data<float>()[i] * std::sqrt(a - middle);
    out.data<float>()[i] = float(sum / std::sqrt(middle - b));
  }
  return out;
}

// Recorded draws, one row each.
NoiseSource recorded_noise(const Case& c, bool increments_overlap) {
  if (c.has("input.noise")) return [noise = c.f32("input.noise")](int64_t draw) { return row_of(noise, draw); };
  if (!c.has("input.brownian_noise")) return {};
  const Tensor noise = c.f32("input.brownian_noise");
  if (!increments_overlap) return [noise](int64_t draw) { return row_of(noise, draw); };
  return [noise, sigmas = c.f32("input.brownian_sigma")](int64_t draw) {
    if (draw % 2 == 0) return row_of(noise, draw);
    const float* const first = sigmas.data<float>() + 2 * (draw - 1);  // from, middle; then from, to
    return second_increment(row_of(noise, draw - 1), row_of(noise, draw), first[0], first[1], first[3]);
  };
}

EdmOptions edm_options(const Case& c, const Json& solver) {
  return {.solver = edm_solver_named(c.option_in<std::string>(solver, "name")),
          .s_churn = c.option_in<double>(solver, "s_churn"),
          .s_tmin = c.option_in<double>(solver, "s_tmin"),
          .s_tmax = c.option_in<double>(solver, "s_tmax"),
          .s_noise = c.option_in<double>(solver, "s_noise"),
          .eta = c.option_in<double>(solver, "eta"),
          .order = c.option_in<int>(solver, "order"),
          .exact_reference = true};
}

Tensor sample(const Case& c, const DiffusionModel& model) {
  const Json& solver = c.config().at("solver");
  const std::string family = c.option_in<std::string>(solver, "family");
  const Tensor x = to_channels_last(c.f32("input.x_T"));
  const auto steps = c.option<int64_t>("steps");
  if (family == "spaced") return sample_spaced(model, steps, x, {.noise = recorded_noise(c, false)});
  if (family == "ddim")
    return sample_ddim(model, steps, c.option_in<double>(solver, "eta"), x, {.noise = recorded_noise(c, false)});
  if (family == "dpm") return sample_dpm(model, steps, dpm_options(c.option_in<std::string>(solver, "name")), x, {});
  RELUME_CHECK(family == "edm", c.name(), ": unknown family of samplers '", family, "'");
  const EdmOptions options = edm_options(c, solver);
  return sample_edm(model, steps, options, x, {.noise = recorded_noise(c, options.solver == EdmSolver::dpmpp_sde)});
}

// The course of a case over its toy network; its calls into `trace`.
Tensor run_course(const Case& c, Trace& trace, bool replay) {
  const std::string family = c.option_in<std::string>(c.config().at("solver"), "family");
  const std::string parameterization = c.option<std::string>("parameterization");
  RELUME_CHECK(parameterization == "eps" || parameterization == "v", c.name(), ": unknown parameterization '", parameterization,
               "'");
  const ToyNetwork network(c, trace, replay);
  const ClassifierFreeOptions guidance{
      .scale = c.option<double>("cfg_scale"), .rescale = c.option<bool>("rescale_cfg"), .skip_negative = family == "spaced"};
  const DiffusionModel model{
      .schedule = NoiseSchedule(schedule_options(c, c.config().at("diffusion"), c.option<bool>("zero_snr"))),
      .prediction = parameterization == "v" ? Prediction::v : Prediction::eps,
      .denoiser = classifier_free([&](const Tensor& x, double t, Texts texts) { return network(x, t, texts); }, guidance)};
  return to_channels_first(sample(c, model));
}

double relative_difference(const Tensor& a, const Tensor& b) {
  RELUME_CHECK(a.shape() == b.shape(), "replay: ours is ", a, ", stored is ", b);
  double difference = 0, size = 0;
  for (int64_t i = 0; i < a.numel(); ++i) {
    difference += std::pow(double(a.data<float>()[i]) - b.data<float>()[i], 2);
    size += std::pow(double(b.data<float>()[i]), 2);
  }
  return std::sqrt(difference / size);
}

// tolerance_rules.sampler_replay: with the recorded outputs of the network, every input and the result follow closely, also
// where the course itself is ill conditioned.
void check_replay(const Case& c, Report& report) {
  const Json& solver = c.config().at("solver");
  const bool loose =
      c.option_in<std::string>(solver, "family") == "edm" && edm_options(c, solver).solver == EdmSolver::dpmpp_sde;
  const double limit = loose ? 5e-4 : 2e-4;
  Trace trace(pattern_of(c.option_in<std::string>(solver, "family")));
  const Tensor z = run_course(c, trace, true), xs = calls_of(trace.xs), stored = c.f32("output.model_x");
  const auto check = [&](const std::string& name, const Tensor& ours, const Tensor& theirs) {
    const double error = relative_difference(ours, theirs);
    report.check("replay of " + name, error <= limit, detail::concat("error ", error, ", allowed ", limit));
  };
  check("output.z", z, c.f32("output.z"));
  RELUME_CHECK(xs.shape() == stored.shape(), "replay: the network was called with ", xs, ", stored is ", stored);
  for (int64_t i = 0; i < xs.shape(0); ++i)
    check("model_x of call " + std::to_string(i), xs.slice(i, i + 1), stored.slice(i, i + 1));
}

void run_sampler(const Case& c, Report& report) {
  Trace trace(pattern_of(c.option_in<std::string>(c.config().at("solver"), "family")));
  report.compare("output.z", run_course(c, trace, false));
  trace.compare(c, report);
  check_replay(c, report);
}

// The guidance of a case; what it refers to must live as long.
RestorationGuidance guidance_of(const Case& c, const AutoencoderKL& vae, const Tensor& target) {
  const auto factor = c.option<double>("latent_scale_factor");
  const auto loss = c.option<std::string>("g_loss"), space = c.option<std::string>("g_space");
  RELUME_CHECK(loss == "mse" || loss == "w_mse", c.name(), ": unknown g_loss '", loss, "'");
  RELUME_CHECK(space == "rgb" || space == "latent", c.name(), ": unknown g_space '", space, "'");
  const RestorationGuidanceOptions options{.scale = c.option<double>("g_scale"),
                                           .start = c.option<double>("g_start"),
                                           .stop = c.option<double>("g_stop"),
                                           .repeat = c.option<int>("g_repeat"),
                                           .region_adaptive = loss == "w_mse"};
  if (space == "rgb")
    return {target, [&vae, factor](const Tensor& latents) { return vae.decode(scale(latents, 1 / factor)); }, options};
  const auto encoded = [&vae, target, factor, noise = c.f32("input.vae_sample_noise")](int64_t application) {
    const NoGrad no_grad;
    return scale(vae.encode(target).sample(row_of(noise, application).to(target.device())), factor);
  };
  return {encoded, options};
}

void run_sampler_guided(const Case& c, Report& report) {
  Trace trace(CallPattern::apart);
  const ToyNetwork network(c, trace, false);
  const auto vae = autoencoder_of(c, c.config().at("vae"));
  RestorationGuidance guidance = guidance_of(c, *vae, maps_of(c, "input.target"));
  GuidanceRecord record;
  const DiffusionModel model{
      .schedule = NoiseSchedule(schedule_options(c, c.config().at("diffusion"), false)),
      .denoiser = classifier_free([&](const Tensor& x, double t, Texts texts) { return network(x, t, texts); },
                                  {.scale = c.option<double>("cfg_scale")})};
  const Tensor z = sample_spaced(model, c.option<int64_t>("steps"), to_channels_last(c.f32("input.x_T")),
                                 {.noise = recorded_noise(c, false), .hook = record.hook(guidance, c.device())});
  report.compare("output.z", to_channels_first(z));
  record.compare("output.", report);
}

}  // namespace

void register_sampler_kinds(Kinds& kinds) {
  kinds["sampler_spaced"] = run_sampler;
  kinds["sampler_ddim"] = run_sampler;
  kinds["sampler_dpm"] = run_sampler;
  kinds["sampler_edm"] = run_sampler;
  kinds["sampler_guided"] = run_sampler_guided;
}

}  // namespace relume::parity
