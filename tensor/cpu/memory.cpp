#include "tensor/kernels/memory.h"

#include <cstring>
#include <deque>

#include "tensor/core/visit_type.h"
#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/scalar/convert.h"

namespace relume::cpu {
namespace {

void copy_bytes(const Tensor& out, const Tensor& x) {
  const int64_t size = size_of(x.dtype());
  char *to = static_cast<char*>(out.raw()), *from = static_cast<char*>(x.raw());
  pieces_of(out, x).visit_all([&](int64_t row, int64_t begin, int64_t end) {
    std::memcpy(to + (row * out.pitch() + begin) * size, from + (row * x.pitch() + begin) * size, size_t((end - begin) * size));
  });
}

void copy(const Tensor& out, const Tensor& x) {
  if (out.dtype() == x.dtype()) return copy_bytes(out, x);
  visit_type(out.dtype(), [&]<class To>() {
    visit_type(x.dtype(), [&]<class From>() {
      const Strided<To> target(out);
      const Strided<From> source(x);
      pieces_of(out, x).visit_all([&](int64_t row, int64_t begin, int64_t end) {
        To* to = target.at(row, 0);
        const From* from = source.at(row, 0);
#pragma omp simd
        for (int64_t i = begin; i < end; ++i) convert(to[i], from[i]);
      });
    });
  });
}

void fill(const Tensor& out, double value) {
  visit_type(out.dtype(), [&]<class T>() {
    T element;
    convert(element, value);
    const Strided<T> to(out);
    pieces_of(out).visit_all(
        [&](int64_t row, int64_t begin, int64_t end) { std::fill(to.at(row, begin), to.at(row, end), element); });
  });
}

class HostUploads final : public Uploads {
 public:
  void begin(const std::vector<Tensor>& batch) override {
    RELUME_BUG(begun_.size() < most_begun, "uploads: ", most_begun, " batches are begun and none is taken");
    begun_.push_back(batch);
  }
  std::vector<Tensor> take() override {
    RELUME_BUG(!begun_.empty(), "uploads: no batch is begun");
    std::vector<Tensor> batch = std::move(begun_.front());
    begun_.pop_front();
    return batch;
  }

 private:
  std::deque<std::vector<Tensor>> begun_;
};

std::unique_ptr<Uploads> uploads(Device) { return std::make_unique<HostUploads>(); }

class PlainFunction final : public RepeatedFunction {
 public:
  explicit PlainFunction(Function f) : f_(std::move(f)) {}
  Tensor operator()(const std::vector<Tensor>& inputs) override { return f_(inputs); }

 private:
  Function f_;
};

std::unique_ptr<RepeatedFunction> repeated(Device, RepeatedFunction::Function f) {
  return std::make_unique<PlainFunction>(std::move(f));
}

}  // namespace

void register_memory_kernels() {
  kernels::copy.set(DeviceKind::cpu, copy);
  kernels::fill.set(DeviceKind::cpu, fill);
  kernels::transfer.set(DeviceKind::cpu, copy);
  kernels::uploads.set(DeviceKind::cpu, uploads);
  kernels::repeated.set(DeviceKind::cpu, repeated);
}

}  // namespace relume::cpu
