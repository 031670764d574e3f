// Convolution on the CPU. 3x3 kernels on maps of some size go through Winograd's filtering (winograd.cpp). All else is a
// product: the taps of a block of result pixels are gathered into rows of a matrix that stays in the second-level cache, and
// multiplied with the packed weight. The gradient towards the input is a convolution itself, with the kernel flipped and its
// channel axes exchanged.
#include "tensor/cpu/conv.h"

#include <algorithm>
#include <cstring>

#include "tensor/cpu/families.h"
#include "tensor/cpu/reference/reference.h"
#include "tensor/cpu/widen.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/resample.h"

namespace relume::cpu {
namespace {

Taps forward_taps(const Tensor& x, const Tensor& w, int64_t height, int64_t width, const kernels::ConvOptions& o) {
  Taps taps(x, height, width, w.shape(1), w.shape(2));
  taps.stride = o.stride, taps.top = o.top, taps.left = o.left, taps.enlarge = o.enlarge;
  return taps;
}

// Of the gradient dy towards the (enlarged) input, height x width.
Taps backward_taps(const Tensor& dy, const Tensor& w, int64_t height, int64_t width, const kernels::ConvOptions& o) {
  Taps taps(dy, height, width, w.shape(1), w.shape(2));
  taps.top = w.shape(1) - 1 - o.top, taps.left = w.shape(2) - 1 - o.left, taps.apart = o.stride;
  return taps;
}

// The taps of pixels begin .. end of the result as rows [end - begin, depth] of `to`.
void gather(float* to, const Taps& t, int64_t begin, int64_t end) {
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    const int64_t n = pixel / (t.rows * t.columns), i = pixel / t.columns % t.rows, j = pixel % t.columns;
    for (int64_t a = 0; a < t.kh; ++a) {
      const int64_t row = t.source_row(i * t.stride + a - t.top);
      for (int64_t b = 0; b < t.kw; ++b, to += t.c) {
        const int64_t column = row < 0 ? -1 : t.source_column(j * t.stride + b - t.left);
        if (column < 0)
          std::fill_n(to, t.c, 0.f);
        else
          std::memcpy(to, t.pixel(n, row, column), size_t(t.c) * sizeof(float));
      }
    }
  }
}

// A kernel of one tap without padding takes the pixels where they lie.
bool is_plain(const Taps& t) {
  return t.kh * t.kw == 1 && t.stride == 1 && t.enlarge == 1 && t.apart == 1 && t.top == 0 && t.left == 0;
}

// Pixels begin .. end of the channels first .. first + n.
void finish_rows(const Tensor& y, float* product, int64_t pitch, const ConvFinish& f, int64_t begin, int64_t end, int64_t first,
                 int64_t n) {
  const FloatRows to(y), residual(f.residual);
  const float* const bias = f.bias ? f.bias + first : nullptr;
  for (int64_t r = begin; r < end; ++r, product += pitch) {
    float* out = to[r] + first;
    const float slope = f.leaky ? f.slope : 1;
    if (bias) {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) product[i] += bias[i];
    }
    if (residual) {
      const float* add = residual[r] + first;
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] = (product[i] > 0 ? product[i] : product[i] * slope) + add[i];
    } else {
#pragma omp simd
      for (int64_t i = 0; i < n; ++i) out[i] = product[i] > 0 ? product[i] : product[i] * slope;
    }
  }
}

void convolve(const Tensor& y, const Taps& taps, const Tensor& w, WeightUse use, const ConvFinish& f) {
  if (winograd::fits(taps, f.leaky)) return winograd::forward(y, taps, w, use, f);
  constexpr int64_t most_bytes = int64_t(12) << 20;  // of gathered taps
  const WeightBlocks weight(w, use);
  const int64_t depth = taps.depth();
  const ProductTasks tasks(weight, taps.pixels(), std::min<int64_t>(768, most_bytes / (depth * int64_t(sizeof(float)))));
  const auto left = [&](int64_t begin, int64_t end) -> LeftRows {
    if (is_plain(taps)) return {{taps.data + begin * taps.pitch, taps.pitch, 1}};
    LeftRows gathered{{}, std::make_unique<Floats>((end - begin) * depth)};
    gather(gathered.memory->data(), taps, begin, end);
    gathered.factor = {gathered.memory->data(), depth, 1};
    return gathered;
  };
  tasks.run(left, [&](float* product, int64_t pitch, int64_t begin, int64_t end, int64_t first, int64_t count) {
    finish_rows(y, product, pitch, f, begin, end, first, count);
  });
}

void forward_f32(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::ConvOptions& options,
                 const kernels::ConvEpilogue& e) {
  // Leaky ReLU is fused; other activations are a pass of their own, and so is the residual that must come after them.
  const bool leaky = e.act.kind == ActivationKind::leaky_relu, pass = e.act.kind != ActivationKind::none && !leaky;
  ConvFinish finish{data_or_null(bias), leaky, float(leaky ? e.act.slope : 0), pass ? Tensor() : e.residual};
  const Tensor late = pass && e.residual ? e.residual.clone() : Tensor();
  convolve(y, forward_taps(x, w, y.shape(1), y.shape(2), options), w, WeightUse::forward, finish);
  if (pass) kernels::activation_forward.on(y.device())(y, y, e.act);
  if (late) kernels::axpby.on(y.device())(y, 1, y, 1, late);
}

void backward_data_f32(const Tensor& dx, const Tensor& dy, const Tensor& w, const kernels::ConvOptions& o) {
  const int64_t height = dx.shape(1) * o.enlarge, width = dx.shape(2) * o.enlarge;
  const Taps taps = backward_taps(dy, w, height, width, o);
  if (o.enlarge == 1) return convolve(dx, taps, w, WeightUse::flipped, {});
  if (o.enlarge == 2 && winograd::fits(taps)) return winograd::forward_halved(dx, taps, w, WeightUse::flipped);
  const Tensor enlarged = Tensor::empty({dx.shape(0), height, width, dx.shape(3)});
  convolve(enlarged, taps, w, WeightUse::flipped, {});
  kernels::upsample_nearest_backward.on(dx.device())(dx, enlarged, o.enlarge);
}

void backward_weight_f32(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x, const kernels::ConvOptions& o) {
  if (db) kernels::sum_rows.on(db.device())(db, dy);
  const Taps taps = forward_taps(x, dw, dy.shape(1), dy.shape(2), o);
  if (taps.stride == 1 && winograd::fits(taps)) return winograd::backward_weight(dw, dy, taps);
  const Groups groups(taps.pixels(), rows_together, 1024, 64);
  const Shares share(groups, dw);
  const int64_t depth = taps.depth();
  const FloatRows gradient(dy);
  groups.for_each_block([&](int64_t group, int64_t begin, int64_t end) {
    const Floats rows(rows_together * depth);
    gather(rows.data(), taps, begin, end);
    multiply(share.of(group), share.pitch(), dy.shape(3), depth, end - begin, {gradient[begin], 1, gradient.pitch},
             {rows.data(), depth}, Into::add);
  });
  share.add_up();
}

void conv2d_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::ConvOptions& options,
                    const kernels::ConvEpilogue& e) {
  if (y.numel() == 0) return;
  if (y.dtype() == DType::f64) return reference::conv2d_forward(y, x, w, bias, options, e);
  const WidenedOutput out(y);
  forward_f32(out.tensor(), widened(x), widened(w), widened(bias), options, {e.act, widened(e.residual)});
  out.store();
}

void conv2d_backward_data(const Tensor& dx, const Tensor& dy, const Tensor& w, const kernels::ConvOptions& options) {
  if (dx.dtype() == DType::f64) return reference::conv2d_backward_data(dx, dy, w, options);
  const WidenedOutput out(dx);
  backward_data_f32(out.tensor(), widened(dy), widened(w), options);
  out.store();
}

void conv2d_backward_weight(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x,
                            const kernels::ConvOptions& options) {
  if (dw.dtype() == DType::f64) return reference::conv2d_backward_weight(dw, db, dy, x, options);
  const WidenedOutput out_w(dw), out_b(db);
  backward_weight_f32(out_w.tensor(), out_b.tensor(), widened(dy), widened(x), options);
  out_w.store();
  out_b.store();
}

}  // namespace

void register_conv_kernels() {
  kernels::conv2d_forward.set(DeviceKind::cpu, conv2d_forward);
  kernels::conv2d_backward_data.set(DeviceKind::cpu, conv2d_backward_data);
  kernels::conv2d_backward_weight.set(DeviceKind::cpu, conv2d_backward_weight);
}

}  // namespace relume::cpu
