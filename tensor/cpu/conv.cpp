// Convolution on the CPU: oneDNN, channels last, weights packed once per version. The gradient towards the input of a
// convolution with stride 1 is itself a convolution, with the kernel flipped and its channel axes swapped; oneDNN's forward
// kernels run it at 106 to 170 GFLOP/s on one AVX-512 core where its own backward-data kernels reach 80 to 110.
#include "tensor/kernels/conv.h"

#include <algorithm>

#include "tensor/cpu/families.h"
#include "tensor/cpu/onednn.h"
#include "tensor/cpu/parallel.h"
#include "tensor/cpu/reference/reference.h"
#include "tensor/cpu/widen.h"
#include "tensor/kernels/elementwise.h"

namespace relume::cpu {
namespace {

using Memory = dnnl::memory;
using Tag = dnnl::memory::format_tag;
using Dims = dnnl::memory::dims;
constexpr auto f32 = dnnl::memory::data_type::f32;
constexpr auto direct = dnnl::algorithm::convolution_direct;

// One convolution problem: shapes, paddings, and what the epilogue adds. The key of the primitive caches.
struct Problem {
  int64_t n, h, w, in, oh, ow, out, kh, kw;
  kernels::ConvOptions options;
  bool bias = false, leaky = false, residual = false;
  float slope = 0;
  int64_t x_pitch = 0, y_pitch = 0;

  std::array<int64_t, 21> key() const {
    return {n,
            h,
            w,
            in,
            oh,
            ow,
            out,
            kh,
            kw,
            options.stride,
            options.top,
            options.left,
            options.bottom,
            options.right,
            bias,
            leaky,
            residual,
            std::bit_cast<int32_t>(slope),
            x_pitch,
            y_pitch,
            omp_get_max_threads()};
  }
  static Memory::desc map(int64_t n, int64_t h, int64_t w, int64_t c, int64_t pitch) {
    return pitch == c ? Memory::desc({n, c, h, w}, f32, Tag::nhwc)
                      : Memory::desc({n, c, h, w}, f32, Dims{h * w * pitch, 1, w * pitch, pitch});
  }
  Memory::desc source() const { return map(n, h, w, in, x_pitch); }
  Memory::desc target() const { return map(n, oh, ow, out, y_pitch); }
  Memory::desc any_weight() const { return {{out, in, kh, kw}, f32, Tag::any}; }
  Memory::desc plain_weight() const { return {{out, in, kh, kw}, f32, Tag::ohwi}; }
  Memory::desc bias_desc() const { return {{out}, f32, Tag::x}; }
  Dims strides() const { return {options.stride, options.stride}; }
  Dims before() const { return {options.top, options.left}; }
  Dims after() const { return {options.bottom, options.right}; }

  dnnl::convolution_forward::desc forward_desc() const {
    using dnnl::convolution_forward;
    const auto kind = dnnl::prop_kind::forward_training;
    return bias ? convolution_forward::desc(kind, direct, source(), any_weight(), bias_desc(), target(), strides(), before(),
                                            after())
                : convolution_forward::desc(kind, direct, source(), any_weight(), target(), strides(), before(), after());
  }
};

Problem problem_of(const Tensor& x, const Tensor& w, const Tensor& y, const kernels::ConvOptions& options) {
  return {.n = x.shape(0),
          .h = x.shape(1),
          .w = x.shape(2),
          .in = x.shape(3),
          .oh = y.shape(1),
          .ow = y.shape(2),
          .out = y.shape(3),
          .kh = w.shape(1),
          .kw = w.shape(2),
          .options = options,
          .x_pitch = x.pitch(),
          .y_pitch = y.pitch()};
}

struct Convolution {  // forward or one of its gradients
  dnnl::primitive primitive;
  Memory::desc weight, scratch;
};

std::shared_ptr<const Convolution> forward_of(const Problem& p) {
  static PrimitiveCache<21, Convolution> cache;
  return cache.get(p.key(), [&] {
    dnnl::post_ops post;
    if (p.leaky) post.append_eltwise(1.f, dnnl::algorithm::eltwise_relu, p.slope, 0.f);
    if (p.residual) post.append_sum(1.f);
    dnnl::primitive_attr attributes = onednn_attributes();
    attributes.set_post_ops(post);
    const dnnl::convolution_forward::primitive_desc pd(p.forward_desc(), attributes, onednn_engine());
    return Convolution{dnnl::convolution_forward(pd), pd.weights_desc(), pd.scratchpad_desc()};
  });
}

template <class Prepare> void run_forward(const Problem& p, const Tensor& y, const Tensor& x, const Tensor& w, int role,
                                          const Tensor& bias, Prepare&& prepare) {
  const auto forward = forward_of(p);
  std::unordered_map<int, Memory> arguments{
      {DNNL_ARG_SRC, view(x, p.source())},
      {DNNL_ARG_WEIGHTS, packed_weight(w, role, p.plain_weight(), forward->weight, prepare)},
      {DNNL_ARG_DST, view(y, p.target())}};
  if (bias) arguments.emplace(DNNL_ARG_BIAS, view(bias, p.bias_desc()));
  execute(forward->primitive, forward->scratch, std::move(arguments));
}

enum Role { forward_role = 11, flipped_role = 12, backward_role = 13 };

void forward_f32(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::ConvOptions& options,
                 const kernels::ConvEpilogue& e) {
  // Leaky ReLU is exact in oneDNN and fused; other activations are our functors in a pass of their own, and so the residual
  // that must come after them.
  const bool leaky = e.act.kind == ActivationKind::leaky_relu, pass = e.act.kind != ActivationKind::none && !leaky;
  Problem p = problem_of(x, w, y, options);
  p.bias = bool(bias), p.leaky = leaky, p.slope = float(leaky ? e.act.slope : 0);
  p.residual = e.residual && !pass;
  const Tensor late = pass && e.residual ? e.residual.clone() : Tensor();
  if (p.residual && y.raw() != e.residual.raw()) kernels::copy.on(y.device())(y, e.residual);
  with_onednn("conv2d_forward", [&] { run_forward(p, y, x, w, forward_role, bias, [](const Tensor& t) { return t; }); });
  if (pass) kernels::activation_forward.on(y.device())(y, y, e.act);
  if (late) kernels::axpby.on(y.device())(y, 1, y, 1, late);
}

// [O, kh, kw, I] to [I, kh, kw, O], taps in reverse order.
Tensor flipped(const Tensor& w) {
  const int64_t out = w.shape(0), taps = w.shape(1) * w.shape(2), in = w.shape(3);
  Tensor t = Tensor::empty({in, w.shape(1), w.shape(2), out});
  const float* from = w.data<float>();
  float* to = t.data<float>();
  parallel_for(in, 16, [&](int64_t begin, int64_t end) {
    for (int64_t o = 0; o < out; ++o)
      for (int64_t k = 0; k < taps; ++k)
        for (int64_t i = begin; i < end; ++i) to[(i * taps + taps - 1 - k) * out + o] = from[(o * taps + k) * in + i];
  });
  return t;
}

bool is_flippable(const Problem& p) {
  const auto& o = p.options;
  return o.stride == 1 && std::max(o.top, o.bottom) < p.kh && std::max(o.left, o.right) < p.kw;
}

void backward_data_flipped(const Tensor& dx, const Tensor& dy, const Tensor& w, const Problem& p) {
  const auto& o = p.options;
  const int rows = int(p.kh) - 1, columns = int(p.kw) - 1;
  Problem q{.n = p.n,
            .h = p.oh,
            .w = p.ow,
            .in = p.out,
            .oh = p.h,
            .ow = p.w,
            .out = p.in,
            .kh = p.kh,
            .kw = p.kw,
            .options = {1, rows - o.top, columns - o.left, rows - o.bottom, columns - o.right},
            .x_pitch = dy.pitch(),
            .y_pitch = dx.pitch()};
  run_forward(q, dx, dy, w, flipped_role, {}, flipped);
}

void backward_data_f32(const Tensor& dx, const Tensor& dy, const Tensor& w, const kernels::ConvOptions& options) {
  const Problem p = problem_of(dx, w, dy, options);
  with_onednn("conv2d_backward_data", [&] {
    if (is_flippable(p)) return backward_data_flipped(dx, dy, w, p);
    static PrimitiveCache<21, Convolution> cache;
    const auto backward = cache.get(p.key(), [&] {
      const dnnl::convolution_forward::primitive_desc hint(p.forward_desc(), onednn_engine());
      const dnnl::convolution_backward_data::primitive_desc pd(
          {direct, p.source(), p.any_weight(), p.target(), p.strides(), p.before(), p.after()}, onednn_attributes(),
          onednn_engine(), hint);
      return Convolution{dnnl::convolution_backward_data(pd), pd.weights_desc(), pd.scratchpad_desc()};
    });
    const Memory weight =
        packed_weight(w, backward_role, p.plain_weight(), backward->weight, [](const Tensor& t) { return t; });
    execute(backward->primitive, backward->scratch,
            {{DNNL_ARG_DIFF_DST, view(dy, p.target())}, {DNNL_ARG_WEIGHTS, weight}, {DNNL_ARG_DIFF_SRC, view(dx, p.source())}});
  });
}

void backward_weight_f32(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x,
                         const kernels::ConvOptions& options) {
  Problem p = problem_of(x, dw, dy, options);
  p.bias = bool(db);
  with_onednn("conv2d_backward_weight", [&] {
    static PrimitiveCache<21, Convolution> cache;
    const auto backward = cache.get(p.key(), [&] {
      using Gradient = dnnl::convolution_backward_weights;
      const dnnl::convolution_forward::primitive_desc hint(p.forward_desc(), onednn_engine());
      const auto desc =
          p.bias ? Gradient::desc(direct, p.source(), p.any_weight(), p.bias_desc(), p.target(), p.strides(), p.before(),
                                  p.after())
                 : Gradient::desc(direct, p.source(), p.any_weight(), p.target(), p.strides(), p.before(), p.after());
      const Gradient::primitive_desc pd(desc, onednn_attributes(), onednn_engine(), hint);
      return Convolution{Gradient(pd), pd.diff_weights_desc(), pd.scratchpad_desc()};
    });
    const Tensor packed = Tensor::empty({int64_t(backward->weight.get_size())}, DType::u8);
    Memory from = view(packed, backward->weight), to = view(dw, p.plain_weight());
    std::unordered_map<int, Memory> arguments{
        {DNNL_ARG_SRC, view(x, p.source())}, {DNNL_ARG_DIFF_DST, view(dy, p.target())}, {DNNL_ARG_DIFF_WEIGHTS, from}};
    if (db) arguments.emplace(DNNL_ARG_DIFF_BIAS, view(db, p.bias_desc()));
    execute(backward->primitive, backward->scratch, std::move(arguments));
    dnnl::reorder(from, to).execute(onednn_stream(), from, to);
    onednn_stream().wait();
  });
}

void conv2d_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const kernels::ConvOptions& options,
                    const kernels::ConvEpilogue& e) {
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
