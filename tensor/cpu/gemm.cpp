#include "tensor/cpu/gemm.h"

#include <algorithm>
#include <type_traits>

#include "tensor/core/visit_type.h"
#include "tensor/scalar/convert.h"

namespace relume::cpu {

void pack(float* to, int64_t depth, int64_t columns, const Strided2d& from, int64_t first, int64_t count) {
  for (int64_t begin = 0; begin < columns; begin += panel_width, to += depth * panel_width) {
    const int64_t width = std::min<int64_t>(panel_width, columns - begin);
    int64_t k = 0;
    if (width == panel_width && from.depth_step == 1) {  // the columns lie along the depth
      k = count / lanes * lanes;
      transpose(to + first * panel_width, panel_width, from.data + begin * from.column_step, from.column_step, panel_width, k);
    }
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

namespace {
constexpr int64_t stored_together = 64;  // numbers of one output

// A panel of outputs: rows [outputs, depth] of numbers in any float type, depth (in, taps) where taps are last.
template <class T> void pack_panel(float* to, const T* from, int64_t outputs, int64_t depth, int64_t taps) {
  float buffer[panel_width][stored_together] = {};
  const float* rows[panel_width];
  for (int r = 0; r < panel_width; ++r) rows[r] = buffer[r];
  int64_t tap = 0, channel = 0;  // of the next number
  const int64_t in = depth / taps;
  for (int64_t begin = 0; begin < depth; begin += stored_together) {
    const int64_t count = std::min(stored_together, depth - begin);
    for (int64_t r = 0; r < outputs; ++r) {
      const T* const row = from + r * depth + begin;
      if constexpr (std::is_same_v<T, float>) {
        if (count == stored_together) {
          rows[r] = row;
          continue;
        }
        rows[r] = buffer[r];
      }
#pragma omp simd
      for (int64_t i = 0; i < count; ++i) convert(buffer[r][i], row[i]);
    }
    for (int64_t j = 0; j < count; j += lanes) {
      Vec x[2][lanes];
      for (int half = 0; half < 2; ++half) {
#pragma GCC unroll 16
        for (int l = 0; l < lanes; ++l) x[half][l] = load(rows[half * lanes + l] + j);
        transpose(x[half]);
      }
      for (int64_t i = 0; i < std::min<int64_t>(lanes, count - j); ++i) {
        float* const line = to + (tap * in + channel) * panel_width;
        store(line, x[0][i]), store(line + lanes, x[1][i]);
        if (++tap == taps) tap = 0, ++channel;
      }
    }
  }
}
}  // namespace

WeightBlocks::WeightBlocks(const Tensor& weight, WeightUse use) : weight_(weight) {
  const int64_t out = weight.shape(0);
  const StoredForm* const form = weight.storage()->stored();
  const bool whole = weight.byte_offset() == 0 && weight.numel() * int64_t(sizeof(float)) == weight.storage()->bytes();
  if (form && whole && use == WeightUse::forward) {
    form_ = form;
    columns_ = out, depth_ = out > 0 ? weight.numel() / out : 0;
    taps_ = form->taps_last && depth_ > 0 ? depth_ / weight.shape(-1) : 1;
    return;
  }
  packed_.emplace(weight, use);
  depth_ = packed_->matrix().depth, columns_ = packed_->matrix().columns, taps_ = 1;
}

PackedMatrix WeightBlocks::block(int64_t first, int64_t count, float* scratch) const {
  if (packed_) return {packed_->matrix().data + first * depth_, depth_, count};
  visit_type(form_->dtype, [&]<class T>() {
    const T* const numbers = static_cast<const T*>(form_->data.get());
    for (int64_t panel = first; panel < first + count; panel += panel_width)
      pack_panel(scratch + (panel - first) * depth_, numbers + panel * depth_, std::min<int64_t>(panel_width, columns_ - panel),
                 depth_, taps_);
  });
  return {scratch, depth_, count};
}

}  // namespace relume::cpu
