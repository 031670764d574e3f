// Kinds e2e_cldm, e2e_swinir, e2e_v20, tiled_vae: stage two, and stage one in front of it, up to the picture that is saved; its
// autoencoder in tiles (spec/diffbir.md 5.2, 5.3, 5.7, 5.8).
#include <algorithm>
#include <string>
#include <vector>

#include "autograd/elementwise.h"
#include "cli/parity/kinds.h"
#include "cli/parity/trace.h"
#include "data/convert.h"
#include "data/resize.h"
#include "data/tokenizer.h"
#include "infer/cleaner.h"
#include "infer/colour_fix.h"
#include "infer/stage_two.h"
#include "models/autoencoder_tiles.h"
#include "models/diffusion/start_point.h"

namespace relume::parity {
namespace {

constexpr int64_t published_short_side = 512;

template <class Network> void load(const Case& c, const Network& network, const std::string& prefix) {
  const auto weights = c.weights(prefix);
  load_strict(network, *weights);
}

std::unique_ptr<ControlLdm> networks_of(const Case& c) {
  const Json& config = c.config();
  ControlLdmConfig parts{.control = control_net_config_of(c, config.at("controlnet")),
                         .vae = autoencoder_config_of(c, config.at("vae")),
                         .text = clip_text_config_of(c, config.at("clip")),
                         .latent_scale_factor = c.option<double>("latent_scale_factor")};
  auto networks = std::make_unique<ControlLdm>(parts, c.device());
  load(c, networks->unet, "unet.");
  load(c, networks->control_net, "controlnet.");
  load(c, networks->vae, "vae.");
  return networks;
}

// The wanted and the unwanted text of the case.
TextCondition texts_of(const Case& c, const ControlLdm& networks) {
  const Tokenizer tokenizer(c.path("clip_bpe_merges.txt.gz"));
  std::vector<int64_t> ids;
  for (const char* name : {"pos_prompt", "neg_prompt"}) {
    const std::vector<int64_t> prompt = tokenizer.prompt(c.option_in<std::string>(c.config().at("args"), name)).ids;
    ids.insert(ids.end(), prompt.begin(), prompt.end());
  }
  const ClipText encoder(nullptr, "", networks.config().text, networks.device());
  load(c, encoder, "clip.model.");
  const NoGrad no_grad;
  return networks.texts(encoder(Tensor::of({2, Tokenizer::context}, ids).to(networks.device())));
}

// The draws of a case in the order of their use.
std::vector<Tensor> draws_of(const Case& c) {
  std::vector<Tensor> draws;
  std::vector<std::string> names = c.names("input.draw");
  std::ranges::sort(names);
  for (const std::string& name : names) draws.push_back(maps_of(c, name));
  return draws;
}

NoiseSource from_draw(const std::vector<Tensor>& draws, size_t first) {
  return [draws, first](int64_t draw) {
    RELUME_CHECK(first + size_t(draw) < draws.size(), "the course asks for draw ", draw, ", which is not recorded");
    return draws[first + size_t(draw)];
  };
}

// args of the newest code line; those of version 2.0 lack most.
StageTwoOptions options_of(const Case& c) {
  const Json &args = c.config().at("args"), &diffusion = c.config().at("diffusion");
  const auto arg = [&]<class T>(const char* name, T otherwise) {
    return args.contains(name) ? c.option_in<T>(args, name) : otherwise;
  };
  const bool zero_snr = diffusion.contains("zero_snr") && c.option_in<bool>(diffusion, "zero_snr");
  StageTwoOptions o{
      .schedule = NoiseSchedule(schedule_options(c, diffusion, zero_snr)),
      .prediction = c.option_in<std::string>(diffusion, "parameterization") == "v" ? Prediction::v : Prediction::eps,
      .sampler = {.name = arg("sampler_type", std::string("spaced")),
                  .steps = c.option_in<int64_t>(args, "steps"),
                  .s_churn = arg("s_churn", 0.0),
                  .s_tmin = arg("s_tmin", 0.0),
                  .s_tmax = arg("s_tmax", 300.0),
                  .s_noise = arg("s_noise", 1.0),
                  .eta = arg("eta", 1.0),
                  .order = arg("order", 1),
                  .exact_reference = true},
      .guidance = {.scale = c.option_in<double>(args, "cfg_scale"), .rescale = arg("rescale_cfg", false)},
      .start_from_condition = arg("start_point_type", std::string("noise")) == "cond",
      .noise_augmentation = arg("noise_aug", int64_t(0)),
      .strength = c.option_in<double>(args, "strength")};
  o.guidance.skip_negative = o.sampler.name == "spaced";
  constexpr int64_t reduction = 8;
  if (arg("vae_encoder_tiled", false)) o.encoder_tile = c.option_in<int64_t>(args, "vae_encoder_tile_size");
  if (arg("vae_decoder_tiled", false)) o.decoder_tile = c.option_in<int64_t>(args, "vae_decoder_tile_size") / reduction;
  if (arg("cldm_tiled", false)) {
    o.tile = c.option_in<int64_t>(args, "cldm_tile_size") / reduction;
    o.tile_stride = c.option_in<int64_t>(args, "cldm_tile_stride") / reduction;
  }
  return o;
}

// Stage two of a case and what is compared of it.
class Course {
 public:
  Course(const Case& c, Report& report)
      : case_(c),
        report_(report),
        networks_(networks_of(c)),
        options_(options_of(c)),
        stage_(*networks_, options_),
        text_(texts_of(c, *networks_)),
        draws_(draws_of(c)),
        trace_(pattern_of(options_.sampler.name)) {
    stage_.set_watch([this](const StageTwo::Predict& predict, const Tensor& x, double t, const Tensor& condition, Texts texts) {
      return watched(predict, x, t, condition, texts);
    });
  }

  const ControlLdm& networks() const { return *networks_; }
  const std::vector<Tensor>& draws() const { return draws_; }

  // From the cleaned picture, f32 [N, H, W, 3], to the restored one of that size, about [0, 1], with its colours. Noise begins
  // with the draw `first`; `start`, where it is given, is what sampling starts with.
  Tensor restored(const Tensor& cleaned, size_t first, const Tensor& start = {}, const X0Hook& hook = {}) {
    const Tensor condition = stage_.condition(cleaned);
    windows_ = options_.tile > 0 ? tile_windows(condition.shape(1), condition.shape(2),
                                                {.size = options_.tile, .stride = options_.tile_stride})
                                       .size()
                                 : 1;
    StageTwoNoise noise;
    noise.start = start ? start : draws_.at(first++);
    if (options_.noise_augmentation > 0) noise.augmentation = draws_.at(first++);
    noise.steps = from_draw(draws_, first);
    const Tensor z = stage_.sample(condition, text_, noise, hook);
    for (const char* name : {"cond.c_img", "uncond.c_img"}) report_.compare_output(name, to_channels_first(condition));
    report_.compare_output("cond.c_txt", text_.states.slice(0, 1));
    report_.compare_output("uncond.c_txt", text_.states.slice(1, 2));
    report_.compare("output.z", to_channels_first(z));
    trace_.compare(case_, report_);
    const Tensor decoded = stage_.decode(z), sample = cropped(decoded, cleaned.shape(1), cleaned.shape(2));
    compare_signed("decoded", decoded);
    if (case_.has("output.sample")) compare_signed("sample", sample);
    const Tensor fixed = wavelet_colour_fix(sample, cleaned);
    report_.compare_output("colour_fixed", to_channels_first(fixed));
    return fixed;
  }

 private:
  Tensor watched(const StageTwo::Predict& predict, const Tensor& x, double t, const Tensor& condition, Texts texts) {
    if (window_ == 0) trace_.begin(int64_t(windows_), texts, t);
    trace_.put(trace_.xs, int64_t(window_), x.to(Device{}).clone());
    const Tensor out = predict(x, t, condition, texts);
    trace_.put(trace_.outs, int64_t(window_), out.to(Device{}));
    window_ = (window_ + 1) % windows_;
    return out;
  }

  // The reference keeps pictures in [-1, 1].
  void compare_signed(const std::string& name, const Tensor& picture) {
    report_.compare_output(name, to_channels_first(channel_affine(picture, {2, 2, 2}, {-1, -1, -1})));
  }

  const Case& case_;
  Report& report_;
  std::unique_ptr<ControlLdm> networks_;
  StageTwoOptions options_;
  StageTwo stage_;
  TextCondition text_;
  std::vector<Tensor> draws_;
  Trace trace_;
  size_t windows_ = 1, window_ = 0;
};

void run_cldm(const Case& c, Report& report) {
  Course course(c, report);
  course.restored(to_channels_last(c.f32("input.cond_img")), 0);
}

Tensor batch_of(const Tensor& picture) { return picture.reshape({1, picture.shape(0), picture.shape(1), picture.shape(2)}); }

// Stage one on the case's 8-bit picture.
Tensor cleaned_of(const Case& c, Report& report) {
  const auto swinir = swinir_of(c, c.config().at("swinir"), "swinir.");
  const Tensor cleaned =
      clean(cleaner_of(*swinir), batch_of(to_float(c.tensor("input.lq_hwc"))), {.short_side = published_short_side});
  report.compare_output("cond_img", to_channels_first(cleaned));
  return cleaned;
}

// The picture that is saved, of the size of the case's.
void compare_saved(const Case& c, const Tensor& restored, Report& report) {
  const Shape& size = c.info("input.lq_hwc").shape;
  const Tensor picture = resize_torch(restored, size[0], size[1], TorchResize::bicubic, {.antialias = true});
  report.compare_truncated("output.image_u8_hwc", to_u8_truncated(picture).reshape(size));
}

void run_swinir_pipeline(const Case& c, Report& report) {
  Course course(c, report);
  compare_saved(c, course.restored(cleaned_of(c, report), 0), report);
}

RestorationGuidance guidance_of(const Case& c, const ControlLdm& networks, const Tensor& cleaned) {
  const Json& g = c.config().at("guidance");
  RELUME_CHECK(c.option_in<std::string>(g, "space") == "rgb", c.name(), ": guidance in another space than rgb");
  const Tensor padded = pad_to_multiple(cleaned, 64).to(networks.device());
  return {channel_affine(padded, {2, 2, 2}, {-1, -1, -1}),
          [&networks](const Tensor& latents) { return networks.decode(latents); },
          RestorationGuidanceOptions{.scale = c.option_in<double>(g, "scale"),
                                     .start = c.option_in<double>(g, "t_start"),
                                     .stop = c.option_in<double>(g, "t_stop"),
                                     .repeat = c.option_in<int>(g, "repeat"),
                                     .region_adaptive = c.option_in<std::string>(g, "kind") == "w_mse"}};
}

// What version 2.0 starts with: the low frequencies of the condition, sampled by the autoencoder and noised. They are encoded
// as they are, in [0, 1].
Tensor better_start(const Case& c, const Course& course, const Tensor& cleaned) {
  const NoGrad no_grad;
  const Tensor low = pad_to_multiple(wavelet_low(cleaned), 64).to(c.device());
  const Tensor z = course.networks().vae.encode(low).sample(course.draws().at(0));
  return start_from_condition(NoiseSchedule(schedule_options(c, c.config().at("diffusion"), false)),
                              scale(z, c.option<double>("latent_scale_factor")), course.draws().at(1));
}

void run_version_2_0(const Case& c, Report& report) {
  const bool whole = !c.config().at("swinir").is_null();
  Course course(c, report);
  const Tensor cleaned = whole ? cleaned_of(c, report) : to_channels_last(c.f32("input.cond_img"));
  const bool better = c.option_in<bool>(c.config().at("args"), "better_start");
  RestorationGuidance guidance = guidance_of(c, course.networks(), cleaned);
  GuidanceRecord record;
  const Tensor restored = course.restored(cleaned, better ? 2 : 0, better ? better_start(c, course, cleaned) : Tensor(),
                                          record.hook(guidance, c.device()));
  record.compare("output.guidance.", report);
  if (whole) compare_saved(c, restored, report);
}

// The reference's tiles, and the network whole beside them.
void run_tiled_vae(const Case& c, Report& report) {
  const auto net = autoencoder_of(c, c.config().at("vae"));
  const NoGrad no_grad;
  const auto map = [&](const char* name, const Tensor& x) { report.compare_output(name, to_channels_first(x)); };
  const Tensor image = maps_of(c, "input.image"), z = maps_of(c, "input.z");
  map("encoder_whole", net->encoder(image));
  map("encoder_tiled", encoded_in_tiles(*net, image, c.option<int64_t>("encoder_tile_size")));
  map("moments_tiled", moments_in_tiles(*net, image, c.option<int64_t>("encoder_tile_size")));
  map("decoder_whole", net->decode(z));
  map("decoder_tiled", decoded_in_tiles(*net, z, c.option<int64_t>("decoder_tile_size")));
}

}  // namespace

void register_pipeline_kinds(Kinds& kinds) {
  kinds["e2e_cldm"] = run_cldm;
  kinds["e2e_swinir"] = run_swinir_pipeline;
  kinds["e2e_v20"] = run_version_2_0;
  kinds["tiled_vae"] = run_tiled_vae;
}

}  // namespace relume::parity
