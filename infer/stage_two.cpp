#include "infer/stage_two.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "base/rounding.h"
#include "data/resize.h"
#include "infer/tiling.h"
#include "layers/finite.h"
#include "models/diffusion/start_point.h"
#include "tensor/kernels/memory.h"

namespace relume {
namespace {

constexpr int64_t whole_multiple = 64, tiled_multiple = 8;  // of pictures (spec 5.3)
constexpr int64_t latent_multiple = 8;                      // of latents that are sampled whole

// From [0, 1] to [-1, 1] and back.
Tensor to_signed(const Tensor& x) {
  return channel_affine(x, std::vector<double>(size_t(x.shape(-1)), 2), std::vector<double>(size_t(x.shape(-1)), -1));
}
Tensor from_signed(const Tensor& x) {
  return channel_affine(x, std::vector<double>(size_t(x.shape(-1)), 0.5), std::vector<double>(size_t(x.shape(-1)), 0.5));
}

}  // namespace

Tensor cropped(const Tensor& picture, int64_t height, int64_t width) {
  return pad(picture, 0, 0, height - picture.shape(1), width - picture.shape(2), Border::zero);
}

StageTwo::StageTwo(const ControlLdm& networks, StageTwoOptions options)
    : networks_(networks),
      options_(std::move(options)),
      predicted_(kernels::repeated.on(networks.device())(
          networks.device(), [&networks, strength = options_.strength](const std::vector<Tensor>& all) {
            const TextCondition text = networks.text_of(std::span(all).subspan(3));
            return networks.predict_at(all[1], all[0], all[2], text, strength);
          })) {
  const StageTwoOptions& o = options_;
  o.sampler.validate();
  RELUME_CHECK(!in_tiles() || (o.tile % latent_multiple == 0 && o.tile_stride >= 1 && o.tile_stride <= o.tile),
               "stage two: tiles of ", o.tile, " latent pixels every ", o.tile_stride, " given; expected a multiple of ",
               latent_multiple, ", and no more from tile to tile");
  RELUME_CHECK(o.encoder_tile >= 0 && o.decoder_tile >= 0, "stage two: tiles of the autoencoder of ", o.encoder_tile,
               " pixels and ", o.decoder_tile, " latents given");
  RELUME_CHECK(o.noise_augmentation >= 0 && o.noise_augmentation < o.schedule.steps(), "stage two: noise augmentation at time ",
               o.noise_augmentation, ", expected 0 to ", o.schedule.steps() - 1);
}

Tensor StageTwo::condition(const Tensor& cleaned) const {
  const NoGrad no_grad;
  const bool tiled = in_tiles() || options_.encoder_tile > 0;
  const Tensor padded = to_signed(pad_to_multiple(cleaned, tiled ? tiled_multiple : whole_multiple).to(networks_.device()));
  return networks_.encode(padded, options_.encoder_tile);
}

Shape StageTwo::start_shape(const Tensor& condition) const {
  if (in_tiles()) return condition.shape();
  const auto whole = [&](int axis) { return round_up(condition.shape(axis), latent_multiple); };
  return condition.shape().with(1, whole(1)).with(2, whole(2));
}

Tensor StageTwo::sample(const Tensor& condition, const TextCondition& text, const StageTwoNoise& noise,
                        const X0Hook& hook) const {
  const NoiseSchedule& schedule = options_.schedule;
  const Shape shape = start_shape(condition);
  RELUME_CHECK(noise.start.shape() == shape, "stage two: start ", noise.start, " given, expected ", shape);
  Tensor led_by = shape == condition.shape() ? condition : pad_to_multiple(condition, latent_multiple);
  const Tensor x = options_.start_from_condition ? start_from_condition(schedule, led_by, noise.start) : noise.start;
  if (options_.noise_augmentation > 0)
    led_by = augment_condition(schedule, led_by, noise.augmentation, options_.noise_augmentation);
  const DiffusionModel model{.schedule = schedule, .prediction = options_.prediction, .denoiser = denoiser(led_by, text)};
  const Tensor z = sample_by_name(model, options_.sampler, x, {.noise = noise.steps, .hook = hook});
  return shape == condition.shape() ? z : cropped(z, condition.shape(1), condition.shape(2));
}

Denoiser StageTwo::denoiser(const Tensor& condition, const TextCondition& text) const {
  const Predict plain = [this, &text](const Tensor& x, double t, const Tensor& part, Texts) {
    // Looking at what layers make waits for the device, which nothing may that is captured.
    if (FiniteScope::active()) return networks_.predict(x, t, part, text, options_.strength);
    std::vector<Tensor> all{x, networks_.waves(t, x.shape(0)), part};
    std::ranges::move(networks_.tensors_of(text), std::back_inserter(all));
    return (*predicted_)(all);
  };
  Predict predict = plain;
  if (watch_)
    predict = [this, plain](const Tensor& x, double t, const Tensor& part, Texts texts) {
      return watch_(plain, x, t, part, texts);
    };
  if (in_tiles()) predict = tiled(std::move(predict));
  return classifier_free([predict = std::move(predict), condition](const Tensor& x, double t,
                                                                   Texts texts) { return predict(x, t, condition, texts); },
                         options_.guidance);
}

StageTwo::Predict StageTwo::tiled(Predict predict) const {
  return [this, predict = std::move(predict)](const Tensor& x, double t, const Tensor& condition, Texts texts) {
    const Tensor led_by = condition.to(Device{});
    const auto one = [&](const Tensor& part, const TileWindow& window) {
      return predict(part.to(x.device()), t, cut_tile(led_by, window).to(x.device()), texts).to(Device{});
    };
    return run_tiled(x.to(Device{}), {.size = options_.tile, .stride = options_.tile_stride}, one).to(x.device());
  };
}

Tensor StageTwo::decode(const Tensor& latents) const {
  const NoGrad no_grad;
  return from_signed(networks_.decode(latents, options_.decoder_tile)).to(Device{});
}

}  // namespace relume
