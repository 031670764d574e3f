#include "tensor/kernels/elementwise.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/cuda/row_sums.h"

namespace relume::cuda {
namespace {

template <class F> struct Value {
  F f;
  __device__ float operator()(float x) const { return f.value(x); }
};
template <class F> struct TimesSlope {
  F f;
  __device__ float operator()(float dy, float x) const { return dy * f.slope(x); }
};
struct Scale {
  float a;
  __device__ float operator()(float x) const { return a * x; }
};
struct ScaledSum {
  float a, b;
  __device__ float operator()(float x, float y) const { return math::fma(a, x, b * y); }
};
struct Product {
  __device__ float operator()(float x, float y) const { return x * y; }
};

void activation_forward(const Tensor& y, const Tensor& x, Activation act) {
  visit_float("activation_forward", x, [&]<class T>() {
    visit_activation(act, [&]<class F>(F f) { for_elements<T>("activation_forward", Value<F>{f}, y, x); });
  });
}

void activation_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, Activation act) {
  visit_float("activation_backward", x, [&]<class T>() {
    visit_activation(act, [&]<class F>(F f) { for_elements<T>("activation_backward", TimesSlope<F>{f}, dx, dy, x); });
  });
}

void clamp_forward(const Tensor& y, const Tensor& x, double low, double high) {
  visit_float("clamp_forward", x, [&]<class T>() { for_elements<T>("clamp_forward", Value<Clamp>{{low, high}}, y, x); });
}

void clamp_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, double low, double high) {
  visit_float("clamp_backward", x, [&]<class T>() {
    for_elements<T>("clamp_backward", TimesSlope<Clamp>{{low, high}}, dx, dy, x);
  });
}

void exponential(const Tensor& y, const Tensor& x) {
  visit_float("exponential", x, [&]<class T>() { for_elements<T>("exponential", Value<Exp>{}, y, x); });
}

template <class F> struct TimesValue {
  F f;
  __device__ float operator()(float value, float gate) const { return value * f.value(gate); }
};
void gated_activation_forward(const Tensor& y, const Tensor& x, Activation act) {
  const int64_t channels = columns_of(y);
  visit_float("gated_activation_forward", x, [&]<class T>() {
    visit_activation(act, [&]<class F>(F f) {
      for_elements<T>("gated_activation_forward", TimesValue<F>{f}, y, x.columns(0, channels),
                      x.columns(channels, 2 * channels));
    });
  });
}

// Both halves at once: dx may be x.
template <int N, class T, class F>
static __global__ void gated_backward(int64_t rows, int64_t channels, Rows<T> dx, Rows<T> dy, Rows<T> x, F f) {
  const int64_t packs = channels / N;
  for_each_item(rows * packs, [&](int64_t i) {
    const int64_t row = i / packs, column = (i - row * packs) * N;
    using Packed = Pack<T, N>;
    Packed value = *reinterpret_cast<const Packed*>(x.at(row, column));
    Packed gate = *reinterpret_cast<const Packed*>(x.at(row, channels + column));
    const Packed gradient = *reinterpret_cast<const Packed*>(dy.at(row, column));
    RELUME_UNROLL
    for (int k = 0; k < N; ++k) {
      const float d = get(gradient.at[k]), v = get(value.at[k]), g = get(gate.at[k]);
      put(value.at[k], d * f.value(g));
      put(gate.at[k], d * v * f.slope(g));
    }
    *reinterpret_cast<Packed*>(dx.at(row, column)) = value;
    *reinterpret_cast<Packed*>(dx.at(row, channels + column)) = gate;
  });
}
void gated_activation_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, Activation act) {
  if (dy.numel() == 0) return;
  const int64_t channels = columns_of(dy);
  visit_float("gated_activation_backward", x, [&]<class T>() {
    constexpr int N = pack_size<T>;
    const bool packed =
        channels % N == 0 && packs_fit<T, N>(dx, false) && packs_fit<T, N>(dy, false) && packs_fit<T, N>(x, false);
    visit_activation(act, [&]<class F>(F f) {
      const auto run = [&](auto width) {
        constexpr int n = decltype(width)::value;
        launch("gated_activation_backward", gated_backward<n, T, F>, loop_grid(dy.numel() / n, x.device()), loop_threads, 0,
               stream(x.device()), dy.rows(), channels, Rows<T>(dx), Rows<T>(dy), Rows<T>(x), f);
      };
      packed ? run(std::integral_constant<int, N>{}) : run(std::integral_constant<int, 1>{});
    });
  });
}

void axpby(const Tensor& out, double a, const Tensor& x, double b, const Tensor& y) {
  visit_float("axpby", x, [&]<class T>() {
    if (y)
      for_elements<T>("axpby", ScaledSum{float(a), float(b)}, out, x, y);
    else
      for_elements<T>("axpby", Scale{float(a)}, out, x);
  });
}

void multiply(const Tensor& out, const Tensor& x, const Tensor& y) {
  visit_float("multiply", x, [&]<class T>() { for_elements<T>("multiply", Product{}, out, x, y); });
}

template <class T>
static __global__ void add_table(int64_t rows, int64_t columns, int64_t period, Rows<T> out, Rows<T> x, Rows<T> table) {
  for_each_item(rows * columns, [&](int64_t i) {
    const int64_t row = i / columns, column = i - row * columns;
    put(*out.at(row, column), get(*x.at(row, column)) + get(*table.at(row % period, column)));
  });
}
void add_rows(const Tensor& out, const Tensor& x, const Tensor& table) {
  if (x.numel() == 0) return;
  visit_float("add_rows", x, [&]<class T>() {
    launch("add_rows", add_table<T>, loop_grid(x.numel(), x.device()), loop_threads, 0, stream(x.device()), x.rows(),
           columns_of(x), table.rows(), Rows<T>(out), Rows<T>(x), Rows<T>(table));
  });
}

void sum_rows(const Tensor& table, const Tensor& x) {
  visit_float("sum_rows", x, [&]<class T>() { sum_over_rows<T>("sum_rows", table, x.rows(), RowValue<T>{Rows<T>(x)}); });
}

// Some channels' constants, handed over with the launch.
constexpr int channels_together = 64;
struct ChannelConstants {
  float scale[channels_together], shift[channels_together];
};

template <class T>
static __global__ void affine(int64_t rows, int first, int channels, Rows<T> out, Rows<T> x, ChannelConstants constants) {
  for_each_item(rows * channels, [&](int64_t i) {
    const int64_t row = i / channels;
    const int c = int(i - row * channels);
    put(*out.at(row, first + c), math::fma(get(*x.at(row, first + c)), constants.scale[c], constants.shift[c]));
  });
}
void channel_affine(const Tensor& out, const Tensor& x, const Tensor& scale, const Tensor& shift) {
  if (x.numel() == 0) return;
  const int all = int(columns_of(x));
  visit_float("channel_affine", x, [&]<class T>() {
    for (int first = 0; first < all; first += channels_together) {
      const int channels = std::min(channels_together, all - first);
      ChannelConstants constants{};
      for (int c = 0; c < channels; ++c) {
        constants.scale[c] = float(scale.data<double>()[first + c]);
        constants.shift[c] = shift ? float(shift.data<double>()[first + c]) : 0;
      }
      launch("channel_affine", affine<T>, loop_grid(x.rows() * channels, x.device()), loop_threads, 0, stream(x.device()),
             x.rows(), first, channels, Rows<T>(out), Rows<T>(x), constants);
    }
  });
}

}  // namespace

void register_elementwise_kernels() {
  kernels::activation_forward.set(DeviceKind::cuda, activation_forward);
  kernels::activation_backward.set(DeviceKind::cuda, activation_backward);
  kernels::gated_activation_forward.set(DeviceKind::cuda, gated_activation_forward);
  kernels::gated_activation_backward.set(DeviceKind::cuda, gated_activation_backward);
  kernels::clamp_forward.set(DeviceKind::cuda, clamp_forward);
  kernels::clamp_backward.set(DeviceKind::cuda, clamp_backward);
  kernels::exponential.set(DeviceKind::cuda, exponential);
  kernels::axpby.set(DeviceKind::cuda, axpby);
  kernels::multiply.set(DeviceKind::cuda, multiply);
  kernels::add_rows.set(DeviceKind::cuda, add_rows);
  kernels::sum_rows.set(DeviceKind::cuda, sum_rows);
  kernels::channel_affine.set(DeviceKind::cuda, channel_affine);
}

}  // namespace relume::cuda
