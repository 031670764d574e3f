#include "tensor/kernels/elementwise.h"

#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"

namespace relume::cpu {
namespace {

// y = f.value(x)
template <class T, class F> void apply(const Tensor& y, const Tensor& x, F f) {
  for_runs<T>(
      [f](int64_t n, T* to, const T* from) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) put(to[i], f.value(get(from[i])));
      },
      y, x);
}

// dx = dy * f.slope(x)
template <class T, class F> void apply_slope(const Tensor& dx, const Tensor& dy, const Tensor& x, F f) {
  for_runs<T>(
      [f](int64_t n, T* to, const T* gradient, const T* input) {
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) put(to[i], get(gradient[i]) * f.slope(get(input[i])));
      },
      dx, dy, x);
}

void activation_forward(const Tensor& y, const Tensor& x, Activation act) {
  visit_float("activation_forward", x, [&]<class T>() { visit_activation(act, [&](auto f) { apply<T>(y, x, f); }); });
}

void activation_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, Activation act) {
  visit_float("activation_backward", x,
              [&]<class T>() { visit_activation(act, [&](auto f) { apply_slope<T>(dx, dy, x, f); }); });
}

void clamp_forward(const Tensor& y, const Tensor& x, double low, double high) {
  visit_float("clamp_forward", x, [&]<class T>() { apply<T>(y, x, Clamp{low, high}); });
}

void clamp_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, double low, double high) {
  visit_float("clamp_backward", x, [&]<class T>() { apply_slope<T>(dx, dy, x, Clamp{low, high}); });
}

void exponential(const Tensor& y, const Tensor& x) {
  visit_float("exponential", x, [&]<class T>() { apply<T>(y, x, Exp{}); });
}

void gated_activation_forward(const Tensor& y, const Tensor& x, Activation act) {
  const int64_t channels = columns_of(y);
  const Tensor value = x.columns(0, channels), gate = x.columns(channels, 2 * channels);
  visit_float("gated_activation_forward", x, [&]<class T>() {
    visit_activation(act, [&](auto f) {
      for_runs<T>(
          [f](int64_t n, T* to, const T* v, const T* g) {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) put(to[i], get(v[i]) * f.value(get(g[i])));
          },
          y, value, gate);
    });
  });
}

// Both halves at once: dx may be x.
void gated_activation_backward(const Tensor& dx, const Tensor& dy, const Tensor& x, Activation act) {
  const int64_t channels = columns_of(dy);
  visit_float("gated_activation_backward", x, [&]<class T>() {
    const Strided<T> to(dx), gradients(dy), inputs(x);
    visit_activation(act, [&](auto f) {
      Pieces(dy.rows(), channels).visit_all([&](int64_t row, int64_t begin, int64_t end) __attribute__((flatten)) {
        T *const dvalue = to.at(row, 0), *const dgate = dvalue + channels;
        const T *const gradient = gradients.at(row, 0), *const value = inputs.at(row, 0), *const gate = value + channels;
#pragma omp simd
        for (int64_t c = begin; c < end; ++c) {
          const Wide<T> d = get(gradient[c]), v = get(value[c]), g = get(gate[c]);
          put(dvalue[c], d * f.value(g));
          put(dgate[c], d * v * f.slope(g));
        }
      });
    });
  });
}

void axpby(const Tensor& out, double a_in, const Tensor& x, double b_in, const Tensor& y) {
  visit_float("axpby", x, [&]<class T>() {
    const Wide<T> a = Wide<T>(a_in), b = Wide<T>(b_in);
    if (!y) {
      return for_runs<T>(
          [=](int64_t n, T* to, const T* p) {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) put(to[i], a * get(p[i]));
          },
          out, x);
    }
    for_runs<T>(
        [=](int64_t n, T* to, const T* p, const T* q) {
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) put(to[i], math::fma(a, get(p[i]), b * get(q[i])));
        },
        out, x, y);
  });
}

void multiply(const Tensor& out, const Tensor& x, const Tensor& y) {
  visit_float("multiply", x, [&]<class T>() {
    for_runs<T>(
        [](int64_t n, T* to, const T* p, const T* q) {
#pragma omp simd
          for (int64_t i = 0; i < n; ++i) put(to[i], get(p[i]) * get(q[i]));
        },
        out, x, y);
  });
}

void add_rows(const Tensor& out, const Tensor& x, const Tensor& table) {
  visit_float("add_rows", x, [&]<class T>() {
    const Strided<T> to(out), from(x), added(table);
    const int64_t period = table.rows();
    Pieces(x.rows(), columns_of(x)).visit_all([&](int64_t row, int64_t begin, int64_t end) {
      T* o = to.at(row, 0);
      const T *p = from.at(row, 0), *q = added.at(row % period, 0);
#pragma omp simd
      for (int64_t c = begin; c < end; ++c) put(o[c], get(p[c]) + get(q[c]));
    });
  });
}

// Blocks of rows are summed side by side, then their sums in order and in double: the same result for any number of threads.
template <class T> void sum_rows_of(const Tensor& table, const Tensor& x) {
  const int64_t period = table.rows(), columns = columns_of(table), rows = x.rows();
  if (columns == 0 || period == 0) return;
  const int64_t terms = (rows + period - 1) / period, block = std::clamp<int64_t>(grain / columns, 16, 128);
  const int64_t blocks = (terms + block - 1) / block;
  const Strided<T> from(x), to(table);
  std::vector<Wide<T>> partial(size_t(period * blocks * columns));
  const auto items_worth_a_thread = [&](int64_t elements_each) {
    return std::max<int64_t>(1, grain / std::max<int64_t>(1, elements_each));
  };
  parallel_for(period * blocks, items_worth_a_thread(std::min(terms, block) * columns), [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      Wide<T>* sum = &partial[size_t(item * columns)];
      const int64_t first = item % blocks * block, last = std::min(terms, first + block);
      for (int64_t row = first * period + item / blocks; row < std::min(rows, last * period); row += period) {
        const T* p = from.at(row, 0);
#pragma omp simd
        for (int64_t c = 0; c < columns; ++c) sum[c] += get(p[c]);
      }
    }
  });
  parallel_for(period, items_worth_a_thread(blocks * columns), [&](int64_t begin, int64_t end) {
    std::vector<double> total(static_cast<size_t>(columns));
    for (int64_t t = begin; t < end; ++t) {
      std::fill(total.begin(), total.end(), 0.0);
      for (int64_t b = 0; b < blocks; ++b)
        for (int64_t c = 0; c < columns; ++c) total[size_t(c)] += double(partial[size_t((t * blocks + b) * columns + c)]);
      for (int64_t c = 0; c < columns; ++c) put(*to.at(t, c), Wide<T>(total[size_t(c)]));
    }
  });
}
void sum_rows(const Tensor& table, const Tensor& x) {
  visit_float("sum_rows", x, [&]<class T>() { sum_rows_of<T>(table, x); });
}

void channel_affine(const Tensor& out, const Tensor& x, const Tensor& scale, const Tensor& shift) {
  const int64_t channels = columns_of(x), numel = x.numel();
  if (numel == 0) return;
  const bool dense = out.is_dense() && x.is_dense();
  const int64_t repeats =
      dense ? (channels + 63) / channels : 1;  // pictures have three channels: loops as short do not vectorise
  const int64_t length = channels * repeats, rows = dense ? (numel + length - 1) / length : x.rows();
  visit_float("channel_affine", x, [&]<class T>() {
    std::vector<Wide<T>> a(static_cast<size_t>(length)), b(static_cast<size_t>(length));
    for (int64_t i = 0; i < length; ++i) {
      a[size_t(i)] = Wide<T>(scale.data<double>()[i % channels]);
      b[size_t(i)] = shift ? Wide<T>(shift.data<double>()[i % channels]) : 0;
    }
    const Strided<T> to(out), from(x);
    Pieces(rows, length).visit_all([&](int64_t row, int64_t begin, int64_t end) {
      T* o = to.data + row * (dense ? length : to.pitch);
      const T* p = from.data + row * (dense ? length : from.pitch);
      if (dense) end = std::min(end, numel - row * length);
#pragma omp simd
      for (int64_t i = begin; i < end; ++i) put(o[i], math::fma(get(p[i]), a[size_t(i)], b[size_t(i)]));
    });
  });
}

}  // namespace

void register_elementwise_kernels() {
  kernels::activation_forward.set(DeviceKind::cpu, activation_forward);
  kernels::activation_backward.set(DeviceKind::cpu, activation_backward);
  kernels::gated_activation_forward.set(DeviceKind::cpu, gated_activation_forward);
  kernels::gated_activation_backward.set(DeviceKind::cpu, gated_activation_backward);
  kernels::clamp_forward.set(DeviceKind::cpu, clamp_forward);
  kernels::clamp_backward.set(DeviceKind::cpu, clamp_backward);
  kernels::exponential.set(DeviceKind::cpu, exponential);
  kernels::axpby.set(DeviceKind::cpu, axpby);
  kernels::multiply.set(DeviceKind::cpu, multiply);
  kernels::add_rows.set(DeviceKind::cpu, add_rows);
  kernels::sum_rows.set(DeviceKind::cpu, sum_rows);
  kernels::channel_affine.set(DeviceKind::cpu, channel_affine);
}

}  // namespace relume::cpu
