#include "models/diffusion/restoration_guidance.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "autograd/graph.h"
#include "models/diffusion/linear_combination.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/reduce.h"

namespace relume {
namespace {

// One grey picture with its border repeated outside.
class Grey {
 public:
  Grey(const float* rgb, int64_t height, int64_t width) : height_(height), width_(width), values_(size_t(height * width)) {
    for (float& v : values_) {
      const auto shifted = [&](int c) { return (rgb[c] + 1) / 2; };
      v = 0.2989f * shifted(0) + 0.5870f * shifted(1) + 0.1140f * shifted(2);
      rgb += 3;
    }
  }
  // Magnitude of Sobel's gradient at a pixel.
  float gradient(int64_t y, int64_t x) const {
    const float dx =
        at(y - 1, x - 1) - at(y - 1, x + 1) + 2 * (at(y, x - 1) - at(y, x + 1)) + at(y + 1, x - 1) - at(y + 1, x + 1);
    const float dy =
        at(y - 1, x - 1) - at(y + 1, x - 1) + 2 * (at(y - 1, x) - at(y + 1, x)) + at(y - 1, x + 1) - at(y + 1, x + 1);
    return std::sqrt(dx * dx + dy * dy);
  }

 private:
  float at(int64_t y, int64_t x) const {
    return values_[size_t(std::clamp<int64_t>(y, 0, height_ - 1) * width_ + std::clamp<int64_t>(x, 0, width_ - 1))];
  }
  int64_t height_, width_;
  std::vector<float> values_;
};

Tensor product(const Tensor& x, const Tensor& y) {
  const Tensor out = empty_like(x);
  kernels::multiply.on(x.device())(out, x, y);
  return out;
}

}  // namespace

Tensor region_weights(const Tensor& picture) {
  RELUME_CHECK(picture.rank() == 4 && picture.shape(3) == 3 && picture.dtype() == DType::f32 && picture.shape(1) % 2 == 0 &&
                   picture.shape(2) % 2 == 0,
               "region weights: ", picture, " given; expected an f32 picture [N, H, W, 3] with even H and W");
  const Tensor here = picture.to(Device{}).contiguous();
  const int64_t height = here.shape(1), width = here.shape(2);
  const Tensor weights = Tensor::empty(here.shape().with(3, 1));
  for (int64_t n = 0; n < here.shape(0); ++n) {
    const Grey grey(here.slice(n, n + 1).data<float>(), height, width);
    float* const out = weights.slice(n, n + 1).data<float>();
    for (int64_t y = 0; y < height; y += 2)
      for (int64_t x = 0; x < width; x += 2) {
        const float sum = grey.gradient(y, x) + grey.gradient(y, x + 1) + grey.gradient(y + 1, x) + grey.gradient(y + 1, x + 1);
        for (const int64_t row : {y, y + 1}) std::fill_n(out + row * width + x, 2, 1 - std::tanh(sum));
      }
  }
  return weights.to(picture.device());
}

Tensor repeat_channel(const Tensor& map, int64_t channels) {
  const Tensor out = Tensor::empty(map.shape().with(-1, channels), map.dtype(), map.device());
  for (int64_t c = 0; c < channels; ++c) out.columns(c, c + 1).copy_from(map);
  return out;
}

GuidanceMove guidance_move(const Tensor& y, const Tensor& target, const Tensor& weights, double scale) {
  RELUME_CHECK(y.shape() == target.shape() && y.rank() >= 2, "restoration guidance: the prediction is ", y, ", the target ",
               target, "; expected the same shape");
  const double count = double(y.numel() / y.shape(0));
  const Tensor error = linear_combination({{1 / count, y}, {-1 / count, target}});
  const Tensor weighted = weights ? product(error, weights) : error;
  const Tensor loss = Tensor::empty({}, y.dtype(), y.device());
  kernels::sum.on(y.device())(loss, product(weighted, error));
  return {.delta = linear_combination({{-2 * scale, weighted}}), .loss = linear_combination({{count, loss}})};
}

RestorationGuidance::RestorationGuidance(const Tensor& target, LatentDecoder decoder, const RestorationGuidanceOptions& options)
    : options_(options), target_(target), decoder_(std::move(decoder)) {
  if (options.region_adaptive) weights_ = repeat_channel(region_weights(target), target.shape(3));
}

RestorationGuidance::RestorationGuidance(LatentTarget target, const RestorationGuidanceOptions& options)
    : options_(options), latent_target_(std::move(target)) {
  RELUME_CHECK(!options.region_adaptive,
               "restoration guidance: regions are those of a picture; in latent space choose plain "
               "weights");
}

bool RestorationGuidance::active(double t) const { return options_.stop < t + 1 && t + 1 < options_.start; }

double RestorationGuidance::published_scale() const { return 3000 * options_.scale; }

GuidanceMove RestorationGuidance::move_in_pictures(const Tensor& x0) const {
  RELUME_CHECK(grad_enabled(), "restoration guidance: gradients are switched off, and it needs the decoder's");
  const Tensor latents = require_grad(x0);
  const Tensor picture = decoder_(latents);
  const GuidanceMove moved = guidance_move(picture.detach(), target_, weights_, published_scale());
  backward(picture, moved.delta);
  return {.delta = grad(latents), .loss = moved.loss};
}

GuidanceMove RestorationGuidance::move_in_latents(const Tensor& x0) {
  return guidance_move(x0, latent_target_(applications_++), {}, published_scale());
}

Tensor RestorationGuidance::operator()(const Tensor& x0, const SampleStep& step) {
  if (!active(step.time) || options_.scale == 0) return x0;
  Tensor moved = x0, losses;
  for (int i = 0; i < options_.repeat; ++i) {
    const GuidanceMove move = decoder_ ? move_in_pictures(moved) : move_in_latents(moved);
    moved = linear_combination({{1, moved}, {1 / step.x0_weight, move.delta}});
    losses = losses ? linear_combination({{1, losses}, {1, move.loss}}) : move.loss;
  }
  if (losses) loss_ = linear_combination({{1 / double(options_.repeat), losses}});
  return moved;
}

}  // namespace relume
