// Convolutions: cuDNN's, with the bias in its graph. What cuDNN is slow or wrong with is laid out anew before it, by kernels of
// our own; so is nearest enlargement, and activation and residual come behind.
#include "tensor/kernels/conv.h"

#include "tensor/cuda/conv_strips.h"
#include "tensor/cuda/cudnn_conv.h"
#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/memory.h"
#include "tensor/kernels/resample.h"

namespace relume::cuda {
namespace {

using kernels::ConvEpilogue;
using kernels::ConvOptions;

template <class F> struct ActivationPlus {
  F f;
  __device__ float operator()(float x, float add) const { return f.value(x) + add; }
};

// out = act(x) + residual; out may be either of them.
void finish(const Tensor& out, const Tensor& x, const ConvEpilogue& e) {
  if (!e.residual) return kernels::activation_forward.on(out.device())(out, x, e.act);
  visit_float("conv2d_forward", out, [&]<class T>() {
    visit_activation(e.act, [&]<class F>(F f) { for_elements<T>("conv2d_forward", ActivationPlus<F>{f}, out, x, e.residual); });
  });
}

// ---- Laying out
// ---------------------------------------------------------------------------------------------------------------

// Tensor cores take 16-bit channels in eights. 180 channels fall to engines that take three times as long as 184 (H200).
constexpr int channels_together = 8;
int64_t whole_channels(int64_t channels, DType type) {
  return size_of(type) == 2 ? (channels + channels_together - 1) / channels_together * channels_together : channels;
}

// out [out_rows, out_columns], dense: x with zeros behind its rows and its columns.
template <class T>
static __global__ void extend_rows(int64_t out_rows, int64_t out_columns, T* out, int64_t rows, int64_t columns, Rows<T> x) {
  using Channels = Pack<T, channels_together>;
  for_each_item(out_rows * out_columns / channels_together, [&](int64_t i) {
    const int64_t row = i * channels_together / out_columns, first = i * channels_together - row * out_columns;
    Channels pack{};
    if (row < rows)
      for (int k = 0; k < channels_together && first + k < columns; ++k) pack.at[k] = *x.at(row, first + k);
    reinterpret_cast<Channels*>(out)[i] = pack;
  });
}

// x with zeros behind its first and last axis, up to `shape`; x itself where nothing is to be added.
Tensor extended(const Tensor& x, const Shape& shape) {
  if (!x || x.shape() == shape) return x;
  const Tensor out = Tensor::empty(shape, x.dtype(), x.device());
  visit_float("conv2d", x, [&]<class T>() {
    launch("conv2d", extend_rows<T>, loop_grid(out.numel() / channels_together, x.device()), loop_threads, 0,
           stream(x.device()), out.rows(), columns_of(out), out.data<T>(), x.rows(), columns_of(x), Rows<T>(x));
  });
  return out;
}
Tensor extended(const Tensor& x) { return x ? extended(x, x.shape().with(-1, whole_channels(x.shape(-1), x.dtype()))) : x; }
Shape whole_shape(const Tensor& weight) {
  const auto whole = [&](int axis) { return whole_channels(weight.shape(axis), weight.dtype()); };
  return weight.shape().with(0, whole(0)).with(-1, whole(-1));
}

// The input of a convolution on its way to cuDNN: enlarged, with a border of zeros where the paddings of two sides differ (the
// engines of cuDNN 9.14 get some gradients of weights wrong there), or without the rows that are left out, channels in eights.
class Layout {
 public:
  Layout(const Tensor& x, const ConvOptions& o) : enlarge_(o.enlarge), top_(o.top), left_(o.left), options_(o) {
    enlarged_ = {x.shape(0), x.shape(1) * enlarge_, x.shape(2) * enlarge_, x.shape(3)};
    padded_ = enlarged_;
    if (o.top != o.bottom || o.left != o.right || std::min(o.top, o.left) < 0) {
      padded_ = enlarged_.with(1, enlarged_[1] + o.top + o.bottom).with(2, enlarged_[2] + o.left + o.right);
      options_.top = options_.bottom = options_.left = options_.right = 0;
    }
  }
  const ConvOptions& options() const { return options_; }  // what is left to cuDNN

  Tensor of(const Tensor& x) const {
    Tensor y = x;
    if (enlarge_ > 1) kernels::upsample_nearest_forward.on(x.device())(y = empty(enlarged_, x), x.contiguous(), enlarge_);
    if (padded_ != enlarged_) {
      const Tensor inner = y.contiguous();
      kernels::pad_forward.on(x.device())(y = empty(padded_, x), inner, top_, left_, kernels::Border::zero);
    }
    return extended(y);
  }

  // Where the gradient of x is written first; dx itself where it has that layout.
  Tensor room_for(const Tensor& dx) const {
    const Shape shape = padded_.with(-1, whole_channels(padded_[-1], dx.dtype()));
    return shape == dx.shape() ? dx : empty(shape, dx);
  }
  void take_back(const Tensor& dx, const Tensor& room) const {
    if (dx.same_storage(room)) return;
    Tensor g = room.columns(0, dx.shape(3));
    if (padded_ != enlarged_) {
      const Tensor outer = g.contiguous();
      g = empty(enlarged_, dx);
      kernels::pad_forward.on(dx.device())(g, outer, -top_, -left_, kernels::Border::zero);
    }
    if (enlarge_ > 1)
      kernels::upsample_nearest_backward.on(dx.device())(dx, g.contiguous(), enlarge_);
    else
      kernels::copy.on(dx.device())(dx, g);
  }

 private:
  static Tensor empty(const Shape& shape, const Tensor& like) { return Tensor::empty(shape, like.dtype(), like.device()); }

  int enlarge_, top_, left_;
  Shape enlarged_, padded_;
  ConvOptions options_;
};

// ---- Passes -----------------------------------------------------------------------------------------------------------------

// All tensors as cuDNN takes them.
void convolve(ConvPass pass, const Tensor& x, const Tensor& w, const Tensor& y, const Tensor& bias, const ConvOptions& o) {
  const Convolution c{.pass = pass,
                      .type = cudnn_type(slot_of(pass), x),
                      .x = GraphTensor(x),
                      .w = GraphTensor(w),
                      .y = GraphTensor(y),
                      .stride = {o.stride, o.stride},
                      .before = {o.top, o.left},
                      .after = {o.bottom, o.right},
                      .bias_alignment = bias ? alignment_of(bias.raw()) : 0,
                      .tf32 = rounds_to_tf32(x.dtype())};
  try {
    run(c, x.device(), {x.raw(), w.raw(), y.raw(), bias ? bias.raw() : nullptr});
  } catch (Error& e) {
    e.add_context(relume::detail::concat("in ", slot_of(pass), " between ", x, " and ", y, ", weight ", w.shape(), ", stride ",
                                         o.stride, ", padding ", o.top, " ", o.left, " ", o.bottom, " ", o.right));
    throw;
  }
}

void check_types(ConvPass pass, const Tensor& x, const Tensor& w, const Tensor& y, const Tensor& bias = {}) {
  cudnn_type(slot_of(pass), x);
  for (const Tensor& t : {w, y, bias})
    RELUME_CHECK(!t || t.dtype() == x.dtype(), slot_of(pass), ": ", t, " given with ", x,
                 "; expected one type, convert with to()");
}

void conv2d_forward(const Tensor& y, const Tensor& x, const Tensor& w, const Tensor& bias, const ConvOptions& options,
                    const ConvEpilogue& epilogue) {
  check_types(ConvPass::forward, x, w, y, bias);
  if (y.numel() == 0) return;
  const Layout layout(x, options);
  const int64_t channels = whole_channels(y.shape(3), y.dtype());
  // Where the residual lies in y, the sum must not be written over it.
  const bool aside = channels != y.shape(3) || (epilogue.residual && epilogue.residual.same_storage(y));
  const Tensor sum = aside ? Tensor::empty(y.shape().with(-1, channels), y.dtype(), y.device()) : y;
  convolve(ConvPass::forward, layout.of(x), extended(w, whole_shape(w)), sum, extended(bias), layout.options());
  if (aside || epilogue.act.kind != ActivationKind::none || epilogue.residual) finish(y, sum.columns(0, y.shape(3)), epilogue);
}

void conv2d_backward_data(const Tensor& dx, const Tensor& dy, const Tensor& w, const ConvOptions& options) {
  check_types(ConvPass::backward_data, dx, w, dy);
  if (dx.numel() == 0) return;
  const Layout layout(dx, options);
  const Tensor room = layout.room_for(dx);
  convolve(ConvPass::backward_data, room, extended(w, whole_shape(w)), extended(dy), {}, layout.options());
  layout.take_back(dx, room);
}

void conv2d_backward_weight(const Tensor& dw, const Tensor& db, const Tensor& dy, const Tensor& x, const ConvOptions& options) {
  check_types(ConvPass::backward_weight, x, dw, dy);
  if (db) kernels::sum_rows.on(db.device())(db, dy);
  if (x.numel() == 0) return kernels::fill.on(dw.device())(dw, 0);
  if (strips_suit(dw, dy)) return weight_gradient_in_strips(dw, dy, x, options);
  const Layout layout(x, options);
  const Shape shape = whole_shape(dw);
  const Tensor room = shape == dw.shape() ? dw : Tensor::empty(shape, dw.dtype(), dw.device());
  convolve(ConvPass::backward_weight, layout.of(x), room, extended(dy), {}, layout.options());
  if (!dw.same_storage(room)) kernels::copy.on(dw.device())(dw, room.slice(0, dw.shape(0)).columns(0, dw.shape(-1)));
}

}  // namespace

void register_conv_kernels() {
  kernels::conv2d_forward.set(DeviceKind::cuda, conv2d_forward);
  kernels::conv2d_backward_data.set(DeviceKind::cuda, conv2d_backward_data);
  kernels::conv2d_backward_weight.set(DeviceKind::cuda, conv2d_backward_weight);
}

}  // namespace relume::cuda
