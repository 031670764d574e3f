#include "tensor/kernels/reduce.h"

#include <numeric>
#include <vector>

#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/cpu/reference/reference.h"
#include "tensor/kernels/elementwise.h"
#include "tensor/kernels/memory.h"

namespace relume::cpu {
namespace {

void set_scalar(const char* slot, const Tensor& out, double value) {
  visit_float(slot, out, [&]<class T>() { put(*out.data<T>(), Wide<T>(value)); });
}

// The sum of run(row, begin, end) over all runs: one partial sum per piece, then those in order.
template <class F> double sum_of_pieces(const Pieces& pieces, F&& run) {
  std::vector<double> partial(static_cast<size_t>(pieces.count()));
  parallel_for(pieces.count(), 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece)
      pieces.visit(piece, [&](int64_t row, int64_t begin, int64_t end) { partial[size_t(piece)] += run(row, begin, end); });
  });
  return std::accumulate(partial.begin(), partial.end(), 0.0);
}

void sum(const Tensor& out, const Tensor& x) {
  if (x.dtype() == DType::f64) return reference::sum(out, x);
  visit_float("sum", x, [&]<class T>() {
    const Strided<T> from(x);
    set_scalar("sum", out, sum_of_pieces(pieces_of(x), [&](int64_t row, int64_t begin, int64_t end) {
                 const T* p = from.at(row, 0);
                 double total = 0;
#pragma omp simd reduction(+ : total)
                 for (int64_t i = begin; i < end; ++i) total += double(get(p[i]));
                 return total;
               }));
  });
}

void squared_error(const Tensor& out, const Tensor& a, const Tensor& b) {
  if (a.dtype() == DType::f64) return reference::squared_error(out, a, b);
  visit_float("squared_error", a, [&]<class T>() {
    const Strided<T> left(a), right(b ? b : a);
    set_scalar("squared_error", out,
               sum_of_pieces(b ? pieces_of(a, b) : pieces_of(a), [&](int64_t row, int64_t begin, int64_t end) {
                 const T *p = left.at(row, 0), *q = right.at(row, 0);
                 double total = 0;
                 if (b) {
#pragma omp simd reduction(+ : total)
                   for (int64_t i = begin; i < end; ++i) {
                     const double difference = double(get(p[i])) - double(get(q[i]));
                     total += difference * difference;
                   }
                 } else {
#pragma omp simd reduction(+ : total)
                   for (int64_t i = begin; i < end; ++i) total += double(get(p[i])) * double(get(p[i]));
                 }
                 return total;
               }));
  });
}

void sum_backward(const Tensor& dx, const Tensor& dy) { kernels::fill.on({})(dx, dy.item()); }

void squared_error_backward(const Tensor& da, const Tensor& dy, const Tensor& a, const Tensor& b) {
  const double factor = 2 * dy.item();
  kernels::axpby.on({})(da, factor, a, -factor, b);
}

}  // namespace

void register_reduce_kernels() {
  kernels::sum.set(DeviceKind::cpu, sum);
  kernels::sum_backward.set(DeviceKind::cpu, sum_backward);
  kernels::squared_error.set(DeviceKind::cpu, squared_error);
  kernels::squared_error_backward.set(DeviceKind::cpu, squared_error_backward);
}

}  // namespace relume::cpu
