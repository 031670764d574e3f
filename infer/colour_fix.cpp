#include "infer/colour_fix.h"

#include <cmath>
#include <vector>

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "tensor/kernels/elementwise.h"

namespace relume {
namespace {

void check_picture(const char* name, const Tensor& picture) {
  RELUME_CHECK(picture.dtype() == DType::f32 && picture.rank() == 4 && picture.numel() > 0, name, ": ", picture,
               " given; expected f32 [N, H, W, C]");
}

void check_pair(const char* name, const Tensor& content, const Tensor& style) {
  check_picture(name, content);
  RELUME_CHECK(style.shape() == content.shape() && style.dtype() == content.dtype() && style.device() == content.device(), name,
               ": the colours of ", style, " do not fit ", content, "; expected pictures of one size");
}

// out = (before + 2 * at + behind) / 4
void blend(const Tensor& out, const Tensor& before, const Tensor& at, const Tensor& behind) {
  const auto axpby = kernels::axpby.on(out.device());
  axpby(out, 0.25, before, 0.5, at);
  axpby(out, 1, out, 0.25, behind);
}

// Along the rows: a row of the padded map read at three places.
Tensor blurred_across(const Tensor& x, int64_t radius) {
  const int64_t rows = x.shape(0) * x.shape(1), length = x.shape(2) * x.shape(3), step = radius * x.shape(3);
  const Tensor padded = pad(x, 0, radius, 0, radius, Border::replicate).reshape({rows, length + 2 * step});
  const auto read_at = [&](int64_t begin) { return padded.columns(begin, begin + length); };
  const Tensor out = empty_like(x);
  blend(out.reshape({rows, length}), read_at(0), read_at(step), read_at(2 * step));
  return out;
}

// The same along the columns, sample by sample.
Tensor blurred_down(const Tensor& x, int64_t radius) {
  const int64_t height = x.shape(1), length = x.shape(2) * x.shape(3);
  const Tensor padded = pad(x, radius, 0, radius, 0, Border::replicate);
  const Tensor out = empty_like(x);
  for (int64_t n = 0; n < x.shape(0); ++n) {
    const Tensor rows = padded.slice(n, n + 1).reshape({height + 2 * radius, length});
    const auto read_at = [&](int64_t begin) { return rows.slice(begin, begin + height); };
    blend(out.slice(n, n + 1).reshape({height, length}), read_at(0), read_at(radius), read_at(2 * radius));
  }
  return out;
}

struct Statistics {
  std::vector<double> mean, deviation;  // per channel
};
Statistics statistics_of(const Tensor& sample, double eps) {
  const int64_t channels = sample.shape(-1), pixels = sample.rows();
  const float* const x = sample.data<float>();
  Statistics s{std::vector<double>(size_t(channels)), std::vector<double>(size_t(channels))};
  for (int64_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (int64_t i = c; i < pixels * channels; i += channels) sum += x[i];
    const double mean = sum / double(pixels);
    for (int64_t i = c; i < pixels * channels; i += channels) squares += (x[i] - mean) * (x[i] - mean);
    s.mean[size_t(c)] = mean;
    s.deviation[size_t(c)] = std::sqrt(squares / double(pixels - 1) + eps);
  }
  return s;
}

}  // namespace

Tensor wavelet_blur(const Tensor& picture, int64_t radius) {
  check_picture("wavelet_blur", picture);
  RELUME_CHECK(radius >= 1, "wavelet_blur: radius ", radius, " given; expected 1 or more");
  const NoGrad no_grad;
  return blurred_down(blurred_across(picture.contiguous(), radius), radius);
}

Tensor wavelet_low(const Tensor& picture, int levels) {
  RELUME_CHECK(levels >= 1 && levels <= 16, "wavelet_low: ", levels, " levels given; expected 1 to 16");
  Tensor low = picture;
  for (int level = 0; level < levels; ++level) low = wavelet_blur(low, int64_t(1) << level);
  return low;
}

Tensor wavelet_colour_fix(const Tensor& content, const Tensor& style, int levels) {
  check_pair("wavelet_colour_fix", content, style);
  const NoGrad no_grad;
  return add(sub(content, wavelet_low(content, levels)), wavelet_low(style, levels));
}

Tensor adain_colour_fix(const Tensor& content, const Tensor& style, double eps) {
  check_pair("adain_colour_fix", content, style);
  RELUME_CHECK(content.device() == Device{} && content.shape(1) * content.shape(2) >= 2, "adain_colour_fix: ", content,
               " given; expected pictures of two pixels or more on the CPU");
  const int64_t channels = content.shape(3);
  const Tensor out = empty_like(content), factor = Tensor::empty({channels}, DType::f64), offset = empty_like(factor);
  for (int64_t n = 0; n < content.shape(0); ++n) {
    const Tensor sample = content.slice(n, n + 1).contiguous();
    const Statistics own = statistics_of(sample, eps), wanted = statistics_of(style.slice(n, n + 1).contiguous(), eps);
    for (int64_t c = 0; c < channels; ++c) {
      const auto at = size_t(c);
      factor.data<double>()[c] = wanted.deviation[at] / own.deviation[at];
      offset.data<double>()[c] = wanted.mean[at] - own.mean[at] * factor.data<double>()[c];
    }
    kernels::channel_affine.on({})(out.slice(n, n + 1), sample, factor, offset);
  }
  return out;
}

}  // namespace relume
