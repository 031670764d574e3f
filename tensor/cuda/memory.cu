#include "tensor/kernels/memory.h"

#include "tensor/core/visit_type.h"
#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/scalar/convert.h"

namespace relume::cuda {
namespace {

template <class To, class From> static __global__ void convert_rows(int64_t rows, int64_t columns, Rows<To> out, Rows<From> x) {
  for_each_item(rows * columns, [&](int64_t i) {
    const int64_t row = rows == 1 ? 0 : i / columns, column = i - row * columns;
    convert(*out.at(row, column), *x.at(row, column));
  });
}

void copy_bytes(const Tensor& out, const Tensor& x) {
  const auto size = size_t(size_of(x.dtype()));
  const cudaStream_t on = stream(out.device());
  if (out.is_dense() && x.is_dense())
    return check(cudaMemcpyAsync(out.raw(), x.raw(), size_t(x.numel()) * size, cudaMemcpyDeviceToDevice, on),
                 "cudaMemcpyAsync");
  check(cudaMemcpy2DAsync(out.raw(), size_t(out.pitch()) * size, x.raw(), size_t(x.pitch()) * size,
                          size_t(columns_of(x)) * size, size_t(x.rows()), cudaMemcpyDeviceToDevice, on),
        "cudaMemcpy2DAsync");
}

void copy(const Tensor& out, const Tensor& x) {
  if (x.numel() == 0) return;
  if (out.dtype() == x.dtype()) return copy_bytes(out, x);
  const bool one_row = out.is_dense() && x.is_dense();
  visit_type(out.dtype(), [&]<class To>() {
    visit_type(x.dtype(), [&]<class From>() {
      launch("copy", convert_rows<To, From>, loop_grid(x.numel(), x.device()), loop_threads, 0, stream(x.device()),
             one_row ? 1 : x.rows(), one_row ? x.numel() : columns_of(x), Rows<To>(out), Rows<From>(x));
    });
  });
}

template <class T> static __global__ void fill_rows(int64_t rows, int64_t columns, Rows<T> out, T value) {
  for_each_item(rows * columns, [&](int64_t i) {
    const int64_t row = rows == 1 ? 0 : i / columns;
    *out.at(row, i - row * columns) = value;
  });
}

void fill(const Tensor& out, double value) {
  if (out.numel() == 0) return;
  const bool one_row = out.is_dense();
  visit_type(out.dtype(), [&]<class T>() {
    T element;
    convert(element, value);
    launch("fill", fill_rows<T>, loop_grid(out.numel(), out.device()), loop_threads, 0, stream(out.device()),
           one_row ? 1 : out.rows(), one_row ? out.numel() : columns_of(out), Rows<T>(out), element);
  });
}

// To the host it waits: whoever asks for the numbers wants to read them.
void transfer(const Tensor& out, const Tensor& x) {
  if (x.numel() == 0) return;
  const bool to_device = out.device().kind == DeviceKind::cuda, from_device = x.device().kind == DeviceKind::cuda;
  const cudaStream_t on = stream(to_device ? out.device() : x.device());
  if (!to_device || !from_device) refuse_capture(on, "a copy between host and device");
  const cudaMemcpyKind kind = !to_device    ? cudaMemcpyDeviceToHost
                              : from_device ? cudaMemcpyDeviceToDevice
                                            : cudaMemcpyHostToDevice;
  check(cudaMemcpyAsync(out.raw(), x.raw(), size_t(x.numel() * size_of(x.dtype())), kind, on), "cudaMemcpyAsync");
  if (!to_device) wait_for(on);
}

}  // namespace

void register_memory_kernels() {
  kernels::copy.set(DeviceKind::cuda, copy);
  kernels::fill.set(DeviceKind::cuda, fill);
  kernels::transfer.set(DeviceKind::cuda, transfer);
}

}  // namespace relume::cuda
