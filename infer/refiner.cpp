#include "infer/refiner.h"

#include <fmt/format.h>

#include <algorithm>

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "base/interrupt.h"
#include "data/resize.h"
#include "data/tokenizer.h"
#include "infer/colour_fix.h"
#include "layers/finite.h"
#include "models/diffusion/restoration_guidance.h"

namespace relume {
namespace {

constexpr int64_t padding_multiple = 64;  // of the picture that guidance looks at (spec 5.3)

void check_finite(const Tensor& t, const std::string& what) {
  if (!is_finite(t))
    throw NotFinite(what +
                    " hold values that are no numbers; are the weights whole ('relume inspect'), and of the version that "
                    "was asked for?");
}

bool same_values(const Tensor& a, const Tensor& b) {  // both dense f32 on the CPU
  return a.shape() == b.shape() && std::equal(a.data<float>(), a.data<float>() + a.numel(), b.data<float>());
}

Tensor batch_of(const Tensor& picture) { return picture.reshape({1, picture.shape(0), picture.shape(1), picture.shape(2)}); }

StageTwoNoise noise_of(const Shape& shape, Device device, uint64_t seed, uint32_t sample) {
  const NoiseSource draws = seeded_noise(shape, DType::f32, device, seed, sample);
  return {.start = draws(0), .augmentation = draws(1), .steps = [draws](int64_t draw) { return draws(draw + 2); }};
}

}  // namespace

Refiner::Refiner(const StageTwoConfig& config, const ControlLdmSource& source, const std::vector<PromptPair>& prompts,
                 const std::filesystem::path& merges, Device device, DType compute)
    : config_(config), compute_(compute) {
  config_.validate();
  encode_prompts(source, prompts, merges, device, compute);
  networks_ = source.networks(config_.networks, device, compute);
  networks_->set_compute_type(compute);
  for (const Module* network : std::initializer_list<const Module*>{&networks_->unet, &networks_->control_net, &networks_->vae})
    network->set_trainable(false);
  stage_ = std::make_unique<StageTwo>(*networks_, config_.stage_two());
}

void Refiner::encode_prompts(const ControlLdmSource& source, const std::vector<PromptPair>& prompts,
                             const std::filesystem::path& merges, Device device, DType compute) {
  const NoGrad no_grad;
  const std::unique_ptr<ClipText> encoder = source.text_encoder(config_.networks.text, device, compute);
  encoder->set_compute_type(compute);
  std::unique_ptr<Tokenizer> tokenizer;
  std::vector<std::string> texts;  // each once
  const auto add = [&](const std::string& text) {
    if (states_.try_emplace(text).second) texts.push_back(text);
  };
  for (const PromptPair& pair : prompts) {
    add(pair.positive);
    if (config_.needs_negative()) add(pair.negative);
  }
  // The weights are read once for a call. Always as many, so that kernels are chosen alike and a text's states do not depend on
  // which others there are.
  constexpr size_t at_once = 2;
  for (size_t first = 0; first < texts.size(); first += at_once) {
    throw_if_interrupted();
    const size_t end = std::min(first + at_once, texts.size());
    std::vector<int64_t> ids;
    for (size_t i = first; i < end; ++i) {
      if (!texts[i].empty() && !tokenizer) tokenizer = std::make_unique<Tokenizer>(merges);
      const Tokenizer::Prompt prompt = texts[i].empty() ? Tokenizer::no_prompt() : tokenizer->prompt(texts[i]);
      if (!prompt.notice.empty()) notices_.push_back(prompt.notice);
      ids.insert(ids.end(), prompt.ids.begin(), prompt.ids.end());
    }
    ids.resize(at_once * size_t(Tokenizer::context));  // a missing one is all zeros
    const Tensor states = (*encoder)(Tensor::of({int64_t(at_once), Tokenizer::context}, ids).to(device));
    for (size_t i = first; i < end; ++i) {
      const auto row = int64_t(i - first);
      states_[texts[i]] = states.slice(row, row + 1);
    }
  }
}

TextCondition Refiner::texts_of(const PromptPair& prompt) const {
  const NoGrad no_grad;
  std::vector<Tensor> states;
  for (const std::string* text : {&prompt.positive, &prompt.negative}) {
    if (text == &prompt.negative && !config_.needs_negative()) break;
    const auto at = states_.find(*text);
    RELUME_CHECK(at != states_.end(), "stage two: the prompt '", *text, "' was not named when the networks were read");
    states.push_back(at->second);
  }
  const Tensor all = Tensor::empty(states[0].shape().with(0, int64_t(states.size())), DType::f32, states[0].device());
  for (size_t i = 0; i < states.size(); ++i) all.slice(int64_t(i), int64_t(i) + 1).copy_from(states[i]);
  return networks_->texts(all);
}

Tensor Refiner::operator()(const Tensor& cleaned, const PromptPair& prompt, uint64_t seed, uint32_t sample,
                           const RefineWatch& watch) const {
  const Tensor picture = batch_of(cleaned);
  const auto result = [&] { return refined(picture, prompt, seed, sample, watch).reshape(cleaned.shape()); };
  const auto with_layer = [&](const NotFinite& e) { return e.what() + failing_layer(picture, prompt, seed, sample); };
  try {
    return result();
  } catch (const NotFinite& e) {
    const std::string what = with_layer(e);
    if (compute_ == DType::f32) throw NotFinite(what);
    fmt::print(stderr, "{}\n  again in f32\n", what);
  }
  try {
    networks_->set_compute_type(DType::f32);
    const Tensor again = result();
    networks_->set_compute_type(compute_);
    return again;
  } catch (const NotFinite& e) {
    const std::string what = with_layer(e);
    networks_->set_compute_type(compute_);
    throw NotFinite(what);
  }
}

// The same course again, looking at what each layer makes.
std::string Refiner::failing_layer(const Tensor& picture, const PromptPair& prompt, uint64_t seed, uint32_t sample) const {
  const FiniteScope scope;
  try {
    refined(picture, prompt, seed, sample, {});
    return "";
  } catch (const NotFinite& e) {
    return std::string("\n  the first: ") + e.what();
  }
}

Tensor Refiner::refined(const Tensor& picture, const PromptPair& prompt, uint64_t seed, uint32_t sample,
                        const RefineWatch& watch) const {
  const TextCondition text = texts_of(prompt);
  const Tensor condition = stage_->condition(picture);
  check_finite(condition, "the latents of the cleaned picture");
  const auto shown = [&](const Tensor& latents) {
    return cropped(stage_->decode(latents), picture.shape(1), picture.shape(2));
  };
  // Most samplers end with their last estimate: it is decoded once.
  Tensor last_latents, last_shown;
  const auto shown_once = [&](const Tensor& latents) {
    const Tensor kept = latents.to(Device{}).clone();
    if (!last_latents || !same_values(kept, last_latents)) last_latents = kept, last_shown = shown(latents);
    return last_shown;
  };
  if (watch.condition) watch.condition(shown(condition));
  const StageTwoNoise noise = noise_of(stage_->start_shape(condition), networks_->device(), seed, sample);
  const Tensor latents = stage_->sample(condition, text, noise, hook_of(picture, shown_once, seed, sample, watch));
  const Tensor decoded = shown_once(latents);
  check_finite(decoded, "the pixels that the decoder makes");
  return colours_fixed(decoded, picture);
}

X0Hook Refiner::hook_of(const Tensor& picture, Shown shown, uint64_t seed, uint32_t sample, const RefineWatch& watch) const {
  return [shown = std::move(shown), guide = guidance_of(picture, seed, sample), &watch](const Tensor& x0,
                                                                                        const SampleStep& step) {
    throw_if_interrupted();
    check_finite(x0, fmt::format("in step {} of {} (time {:g}) the expected latents", step.index + 1, step.count, step.time));
    if (watch.progress) watch.progress(step.index + 1, step.count);
    const Tensor moved = guide ? guide(x0, step) : x0;
    const bool asked = watch.every > 0 && ((step.index + 1) % watch.every == 0 || step.index + 1 == step.count);
    if (asked && watch.estimate) watch.estimate(step.index + 1, shown(moved));
    return moved;
  };
}

X0Hook Refiner::guidance_of(const Tensor& picture, uint64_t seed, uint32_t sample) const {
  const GuidanceConfig& g = config_.guidance;
  if (g.loss == "none" || g.scale == 0) return {};
  const RestorationGuidanceOptions options{
      .scale = g.scale, .start = g.start, .stop = g.stop, .repeat = g.repeat, .region_adaptive = g.loss == "w_mse"};
  const Device device = networks_->device();
  const Tensor target = channel_affine(pad_to_multiple(picture, padding_multiple).to(device), {2, 2, 2}, {-1, -1, -1});
  const auto hook_with = [](RestorationGuidance guidance) -> X0Hook {
    const auto kept = std::make_shared<RestorationGuidance>(std::move(guidance));
    return [kept](const Tensor& x0, const SampleStep& step) { return (*kept)(x0, step); };
  };
  if (g.space == "rgb")
    return hook_with({target, [this](const Tensor& latents) { return networks_->decode(latents); }, options});
  const NoGrad no_grad;
  const DiagonalGaussian latents = networks_->distribution(target);
  const double factor = config_.networks.latent_scale_factor;
  return hook_with({[latents, device, seed, sample, factor](int64_t application) {
                      const RandomKey key{.seed = seed, .purpose = "guidance", .step = uint32_t(application), .sample = sample};
                      return scale(latents.sample(standard_normal(latents.mean.shape(), DType::f32, device, key)), factor);
                    },
                    options});
}

void Refiner::set_denoiser_tiles(const DenoiserTiles& tiles) {
  if (tiles.size == config_.cldm_tile_size && tiles.stride == config_.cldm_tile_stride) return;
  config_.cldm_tile_size = tiles.size, config_.cldm_tile_stride = tiles.stride;
  config_.validate();
  stage_ = std::make_unique<StageTwo>(*networks_, config_.stage_two());
}

Tensor Refiner::colours_fixed(const Tensor& picture, const Tensor& cleaned) const {
  if (config_.color_fix == "wavelet") return wavelet_colour_fix(picture, cleaned);
  if (config_.color_fix == "adain") return adain_colour_fix(picture, cleaned);
  return picture;
}

}  // namespace relume
