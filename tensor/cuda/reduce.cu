#include "tensor/kernels/reduce.h"

#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"

namespace relume::cuda {
namespace {

constexpr int reduce_threads = 256;
constexpr int64_t items_each = 16 * reduce_threads;  // of a block, at least
constexpr int64_t most_blocks = 1024;

// partial[block] = the sum of term(row, column) over what falls to the block; which that is depends on the size alone.
template <class F> static __global__ void partial_sums(int64_t rows, int64_t columns, double* partial, F term) {
  double sum = 0;
  for_each_item(rows * columns, [&](int64_t i) {
    const int64_t row = rows == 1 ? 0 : i / columns;
    sum += term(row, i - row * columns);
  });
  sum = block_sum<reduce_threads>(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

static __device__ void put_number(float* to, double x) { *to = float(x); }
static __device__ void put_number(double* to, double x) { *to = x; }
template <class T> static __device__ void put_number(T* to, double x) { put(*to, float(x)); }

template <class T> static __global__ void total_sum(int64_t count, T* out, const double* partial) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += reduce_threads) sum += partial[i];
  sum = block_sum<reduce_threads>(sum);
  if (threadIdx.x == 0) put_number(out, sum);
}

template <class F> void reduce(const char* name, const Tensor& out, const Tensor& x, bool one_row, F term) {
  const Device device = x.device();
  const int64_t blocks = std::clamp<int64_t>((x.numel() + items_each - 1) / items_each, 1, most_blocks);
  const Storage partial(device, blocks * int64_t(sizeof(double)), MemoryUse::scratch);
  auto* const sums = static_cast<double*>(partial.data());
  launch(name, partial_sums<F>, dim3(unsigned(blocks)), reduce_threads, 0, stream(device), one_row ? 1 : x.rows(),
         one_row ? x.numel() : columns_of(x), sums, term);
  const auto finish = [&]<class T>() {
    launch(name, total_sum<T>, 1, reduce_threads, 0, stream(device), blocks, out.data<T>(), sums);
  };
  out.dtype() == DType::f64 ? finish.template operator()<double>() : visit_float(name, out, finish);
}

template <class T> struct Term {
  Rows<T> x;
  __device__ double operator()(int64_t row, int64_t column) const { return double(get(*x.at(row, column))); }
};
template <class T> struct SquaredTerm {
  Rows<T> x;
  __device__ double operator()(int64_t row, int64_t column) const {
    const auto value = double(get(*x.at(row, column)));
    return value * value;
  }
};
template <class T> struct SquaredDifference {
  Rows<T> a, b;
  __device__ double operator()(int64_t row, int64_t column) const {
    const double difference = double(get(*a.at(row, column))) - double(get(*b.at(row, column)));
    return difference * difference;
  }
};

void sum(const Tensor& out, const Tensor& x) {
  visit_float("sum", x, [&]<class T>() { reduce("sum", out, x, x.is_dense(), Term<T>{Rows<T>(x)}); });
}

void squared_error(const Tensor& out, const Tensor& a, const Tensor& b) {
  visit_float("squared_error", a, [&]<class T>() {
    if (b)
      reduce("squared_error", out, a, a.is_dense() && b.is_dense(), SquaredDifference<T>{Rows<T>(a), Rows<T>(b)});
    else
      reduce("squared_error", out, a, a.is_dense(), SquaredTerm<T>{Rows<T>(a)});
  });
}

// The gradient towards the result stays on the device: nobody waits for it.
template <class T> struct Everywhere {
  const T* value;
  __device__ float operator()() const { return get(*value); }
};
template <class T> struct SquaredDifferenceSlope {
  const T* dy;
  __device__ float operator()(float a, float b) const { return 2 * get(*dy) * (a - b); }
};

void sum_backward(const Tensor& dx, const Tensor& dy) {
  visit_float("sum_backward", dx, [&]<class T>() { for_elements<T>("sum_backward", Everywhere<T>{dy.data<T>()}, dx); });
}

void squared_error_backward(const Tensor& da, const Tensor& dy, const Tensor& a, const Tensor& b) {
  visit_float("squared_error_backward", a,
              [&]<class T>() { for_elements<T>("squared_error_backward", SquaredDifferenceSlope<T>{dy.data<T>()}, da, a, b); });
}

}  // namespace

void register_reduce_kernels() {
  kernels::sum.set(DeviceKind::cuda, sum);
  kernels::sum_backward.set(DeviceKind::cuda, sum_backward);
  kernels::squared_error.set(DeviceKind::cuda, squared_error);
  kernels::squared_error_backward.set(DeviceKind::cuda, squared_error_backward);
}

}  // namespace relume::cuda
