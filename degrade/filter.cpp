#include "degrade/filter.h"

#include <algorithm>
#include <vector>

#include "data/picture_batch.h"
#include "tensor/kernels/picture.h"

namespace relume {
namespace {

Tensor floats(std::span<const double> values, const Shape& shape, Device device) {
  return Tensor::of<float>(shape, {values.begin(), values.end()}).to(device);
}

bool is_pulse(const BlurKernel& k) {
  const auto zeros = std::count(k.weights.begin(), k.weights.end(), 0.0);
  return zeros == k.size * k.size - 1 && k.weights[size_t(k.size * k.size / 2)] == 1;
}

void blur_into(const Tensor& out, const Tensor& x, const BlurKernel& k, std::span<const int64_t> rows) {
  const Device device = x.device();
  if (is_pulse(k)) return out.copy_from(x);
  if (k.line.empty()) return kernels::correlate.on(device)(out, x, floats(k.weights, {1, k.size, k.size}, device), rows);
  const Tensor line = floats(k.line, {1, k.size}, device);
  kernels::correlate_separable.on(device)(out, x, line, line, rows);
}

}  // namespace

Tensor filter2d(const Tensor& pictures, const Tensor& kernels) {
  const Tensor x = as_batch(pictures, "filter2d");
  RELUME_CHECK(kernels && (kernels.rank() == 2 || kernels.rank() == 3) && is_float(kernels.dtype()) && kernels.numel() > 0 &&
                   (kernels.rank() == 2 || kernels.shape(0) == 1 || kernels.shape(0) == x.shape(0)),
               "filter2d: kernels ", kernels, " for pictures ", pictures, ", expected floats [kh, kw] or one [kh, kw] each");
  const int64_t count = kernels.rank() == 2 ? 1 : kernels.shape(0);
  const Tensor weights = kernels.contiguous().reshape({count, kernels.shape(-2), kernels.shape(-1)});
  const Tensor out = empty_like(x);
  relume::kernels::correlate.on(x.device())(out, x, weights.to(DType::f32).to(x.device()), {});
  return with_rank_of(pictures, out);
}

Tensor filter_separable(const Tensor& pictures, std::span<const double> column, std::span<const double> row) {
  RELUME_CHECK(!column.empty() && !row.empty(), "filter_separable: empty kernel");
  const Tensor x = as_batch(pictures, "filter_separable"), out = empty_like(x);
  kernels::correlate_separable.on(x.device())(out, x, floats(column, {1, int64_t(column.size())}, x.device()),
                                              floats(row, {1, int64_t(row.size())}, x.device()), {});
  return with_rank_of(pictures, out);
}

Tensor blur(const Tensor& pictures, std::span<const BlurKernel> kernels, std::span<const int64_t> rows) {
  const Tensor x = as_batch(pictures, "blur");
  RELUME_CHECK(kernels.size() == 1 || int64_t(kernels.size()) == x.shape(0), "blur: ", kernels.size(), " kernels for pictures ",
               pictures, "; expected one, or one each");
  if (std::all_of(kernels.begin(), kernels.end(), is_pulse)) return pictures;
  int64_t next = 0;
  for (const int64_t row : rows) {
    RELUME_CHECK(row >= next && row < x.shape(1), "blur: row ", row, " of pictures ", pictures,
                 "; expected increasing rows within them");
    next = row + 1;
  }
  const Tensor out = rows.empty() ? empty_like(x) : zeros_like(x);
  if (kernels.size() == 1)
    blur_into(out, x, kernels[0], rows);
  else
    for (int64_t n = 0; n < x.shape(0); ++n) blur_into(out.slice(n, n + 1), x.slice(n, n + 1), kernels[size_t(n)], rows);
  return with_rank_of(pictures, out);
}

}  // namespace relume
