#include "tensor/cpu/gemm.h"

#include <algorithm>

#include "tensor/cpu/parallel.h"

namespace relume::cpu {

namespace {
// The first rows of a full panel whose columns lie along the depth, as many as are transposed in registers: returns how many.
int64_t pack_transposed(float* to, const float* from, int64_t column_step, int64_t count) {
  int64_t k = 0;
  for (; k + lanes <= count; k += lanes)
    for (int64_t half = 0; half < panel_width; half += lanes) {
      Vec x[lanes];
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) x[l] = load(from + (half + l) * column_step + k);
      transpose(x);
#pragma GCC unroll 16
      for (int l = 0; l < lanes; ++l) store(to + (k + l) * panel_width + half, x[l]);
    }
  return k;
}
}  // namespace

void pack(float* to, int64_t depth, int64_t columns, const Strided2d& from, int64_t first, int64_t count) {
  for (int64_t begin = 0; begin < columns; begin += panel_width, to += depth * panel_width) {
    const int64_t width = std::min<int64_t>(panel_width, columns - begin);
    const bool transposed = width == panel_width && from.depth_step == 1;
    int64_t k = transposed ? pack_transposed(to + first * panel_width, from.data + begin * from.column_step, from.column_step, count)
                           : 0;
    for (; k < count; ++k) {
      const float* row = from.data + k * from.depth_step + begin * from.column_step;
      float* line = to + (first + k) * panel_width;
      for (int64_t j = 0; j < width; ++j) line[j] = row[j * from.column_step];
      std::fill(line + width, line + panel_width, 0.f);
    }
  }
}

void multiply(float* c, int64_t c_pitch, int64_t rows, int64_t columns, int64_t depth, const LeftFactor& a,
              const RightFactor& b, Into into) {
  // Sums of many terms are made of sums of few: the error grows with the root of their number, and a panel of that depth stays
  // in the first-level cache.
  constexpr int64_t terms = 192;
  const auto zero = [](ptrdiff_t, ptrdiff_t) { return Vec{}; };
  for (int64_t k = 0; k < std::max<int64_t>(1, depth); k += terms) {
    const ProductShape shape{rows, round_up(columns, lanes), std::min(terms, depth - k)};
    const LeftFactor left{a.data + k * a.depth_step, a.row_step, a.depth_step};
    const RightFactor right{b.data + k * b.depth_step, b.depth_step, b.panel_step};
    if (k == 0 && into == Into::overwrite)
      product(shape, left, right, zero, [=](ptrdiff_t i, ptrdiff_t j, Vec sum) { store(c + i * c_pitch + j, sum); });
    else
      product(shape, left, right, zero, [=](ptrdiff_t i, ptrdiff_t j, Vec sum) {
        float* const to = c + i * c_pitch + j;
        store(to, load(to) + sum);
      });
  }
}

PackedWeight::PackedWeight(const Tensor& weight, WeightUse use) {
  const int64_t out = weight.shape(0), in = weight.shape(-1), taps = out * in > 0 ? weight.numel() / (out * in) : 1;
  const int64_t pitch = weight.rank() == 2 ? weight.pitch() : taps * in;  // from one output to the next
  RELUME_BUG(use != WeightUse::backward || taps == 1, "packing of ", weight);
  const int64_t depth = use == WeightUse::forward ? taps * in : taps * out, columns = use == WeightUse::forward ? out : in;
  const auto make = [&](MemoryUse memory) -> std::shared_ptr<void> {
    auto packed = std::make_shared<Floats>(packed_size(depth, columns), memory);
    const float* w = weight.data<float>();
    parallel_for(columns, 4 * panel_width, [&](int64_t begin, int64_t end) {
      float* const to = packed->data() + begin * depth;
      if (use == WeightUse::forward) return pack(to, depth, end - begin, {w + begin * pitch, 1, pitch}, 0, depth);
      for (int64_t t = 0; t < taps; ++t)
        pack(to, depth, end - begin, {w + (taps - 1 - t) * in + begin, pitch, 1}, t * out, out);
    });
    return packed;
  };
  const auto offset = uint64_t(weight.byte_offset());  // the data itself may be gone
  held_ = weight.storage()->derived_if_reused((offset * 31 + uint64_t(out)) * 8 + uint64_t(use), make);
  matrix_ = {static_cast<Floats*>(held_.get())->data(), depth, columns};
}

}  // namespace relume::cpu
