#include "degrade/noise.h"

#include <cmath>
#include <span>

#include "data/picture_batch.h"
#include "tensor/kernels/picture.h"
#include "tensor/kernels/random.h"

namespace relume {
namespace {

// The numbers of one picture, [1, H, W, 1 or C]: given, or the stream they come from.
struct Numbers {
  Shape shape;
  Tensor given;
  RandomKey key;
};

Numbers numbers_of(const NoiseFields& fields, bool grey, int64_t picture, const Tensor& x, const char* operation) {
  const NoiseField& field = grey ? fields.plane : fields.colour;
  const bool shared = grey && fields.shared_plane;
  const int64_t count = shared ? 1 : x.shape(0), at = shared ? 0 : picture;
  Numbers numbers{.shape = {1, x.shape(1), x.shape(2), grey ? 1 : x.shape(3)}};
  if (const FieldSeed* seed = std::get_if<FieldSeed>(&field)) {
    numbers.key = field_key(*seed);
    numbers.key.sample = uint32_t(at);
    return numbers;
  }
  const Tensor batch = as_batch(std::get<Tensor>(field), operation).to(x.device());
  const Shape expected{count, numbers.shape[1], numbers.shape[2], numbers.shape[3]};
  RELUME_CHECK(batch.shape() == expected, operation, ": got the field ", std::get<Tensor>(field), " for pictures ", x,
               ", expected ", expected);
  numbers.given = batch.slice(at, at + 1);
  return numbers;
}

// Calls noise_of(picture [1, H, W, C], numbers) for each picture, and adds what it gives times strength * unit.
template <class NoiseOf> Tensor add_noise(const Tensor& pictures, const std::vector<double>& strength, double unit,
                                          const std::vector<bool>& grey, const NoiseFields& fields, NoiseRange range,
                                          const char* operation, NoiseOf&& noise_of) {
  const Tensor x = as_batch(pictures, operation), out = empty_like(x);
  const int64_t count = x.shape(0);
  RELUME_CHECK(int64_t(strength.size()) == count && int64_t(grey.size()) == count, operation, ": ", strength.size(),
               " strengths and ", grey.size(), " grey flags for pictures ", pictures);
  for (int64_t n = 0; n < count; ++n) {
    RELUME_CHECK(std::isfinite(strength[size_t(n)]) && strength[size_t(n)] >= 0, operation, ": strength ", strength[size_t(n)],
                 ", expected 0 or more");
    const Tensor picture = x.slice(n, n + 1), to = out.slice(n, n + 1);
    const Tensor noise = noise_of(picture, numbers_of(fields, grey[size_t(n)], n, x, operation));
    const Tensor scale = Tensor::full({1}, strength[size_t(n)] * unit, DType::f32, x.device());
    kernels::add_noise.on(x.device())(to, picture, noise, scale, range == NoiseRange::clipped);
  }
  const Tensor result = with_rank_of(pictures, out);
  return range == NoiseRange::levels ? round_to_levels(result) : result;
}

}  // namespace

Tensor add_gaussian_noise(const Tensor& pictures, const std::vector<double>& sigma, const std::vector<bool>& grey,
                          const NoiseFields& fields, const NoiseOptions& options) {
  return add_noise(pictures, sigma, 1.0 / 255, grey, fields, options.range, "add_gaussian_noise",
                   [](const Tensor& picture, const Numbers& numbers) {
                     if (numbers.given) return numbers.given;
                     const Tensor noise = Tensor::empty(numbers.shape, DType::f32, picture.device());
                     kernels::fill_normal.on(picture.device())(noise, 0, 1, numbers.key);
                     return noise;
                   });
}

Tensor add_poisson_noise(const Tensor& pictures, const std::vector<double>& factor, const std::vector<bool>& grey,
                         const NoiseFields& fields, const NoiseOptions& options) {
  return add_noise(
      pictures, factor, 1, grey, fields, options.range, "add_poisson_noise",
      [&](const Tensor& picture, const Numbers& numbers) {
        RELUME_CHECK(numbers.shape[3] == picture.shape(3) || picture.shape(3) == 3,
                     "add_poisson_noise: grey noise of pictures ", picture, ", expected three channels");
        const Tensor noise = Tensor::empty(numbers.shape, DType::f32, picture.device());
        kernels::poisson_noise.on(picture.device())(noise, picture, numbers.given, {&numbers.key, 1}, options.luma_weights);
        return noise;
      });
}

Tensor round_to_levels(const Tensor& pictures) {
  const Tensor x = as_batch(pictures, "round_to_levels"), out = empty_like(x);
  kernels::round_to_levels.on(x.device())(out, x);
  return with_rank_of(pictures, out);
}

Tensor clamp_to_unit(const Tensor& pictures) {
  const Tensor x = as_batch(pictures, "clamp_to_unit"), out = empty_like(x);
  kernels::clamp_to_unit.on(x.device())(out, x);
  return with_rank_of(pictures, out);
}

}  // namespace relume
