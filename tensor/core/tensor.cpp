#include "tensor/core/tensor.h"

#include <atomic>

#include "tensor/kernels/memory.h"

namespace relume {

namespace {
std::atomic<int64_t> copies{0};

int64_t last_size(const Shape& shape) { return shape.rank() == 0 ? 1 : shape[-1]; }
}  // namespace

Tensor Tensor::empty(const Shape& shape, DType dtype, Device device) {
  return Tensor(Impl{.storage = std::make_shared<Storage>(device, shape.numel() * size_of(dtype)),
                     .shape = shape,
                     .pitch = last_size(shape),
                     .dtype = dtype});
}

Tensor Tensor::scratch(const Shape& shape, DType dtype, Device device) {
  return Tensor(Impl{.storage = std::make_shared<Storage>(device, shape.numel() * size_of(dtype), MemoryUse::scratch),
                     .shape = shape,
                     .pitch = last_size(shape),
                     .dtype = dtype});
}

Tensor Tensor::zeros(const Shape& shape, DType dtype, Device device) { return full(shape, 0, dtype, device); }

Tensor Tensor::full(const Shape& shape, double value, DType dtype, Device device) {
  Tensor t = empty(shape, dtype, device);
  kernels::fill.on(device)(t, value);
  return t;
}

Tensor Tensor::wrap(const Shape& shape, DType dtype, void* pointer, std::shared_ptr<void> owner) {
  RELUME_BUG(owner != nullptr, "Tensor::wrap without an owner");
  return Tensor(Impl{.storage = std::make_shared<Storage>(Device{}, pointer, shape.numel() * size_of(dtype), std::move(owner)),
                     .shape = shape,
                     .pitch = last_size(shape),
                     .dtype = dtype});
}

int64_t Tensor::rows() const {
  const int64_t length = last_size(shape());
  return length == 0 ? 0 : numel() / length;
}

bool Tensor::is_dense() const { return pitch() == last_size(shape()) || rows() <= 1; }

void* Tensor::raw() const { return static_cast<char*>(impl().storage->data()) + byte_offset(); }

double Tensor::item() const {
  RELUME_CHECK(numel() == 1, "item: ", *this, " has ", numel(), " elements, expected one");
  const Tensor host = to(Device{}).to(DType::f64);
  return *host.data<double>();
}

Tensor Tensor::reshape(const Shape& shape) const {
  RELUME_CHECK(shape.numel() == numel(), "reshape: ", *this, " cannot become ", shape);
  const bool rows_kept = last_size(shape) == last_size(this->shape());
  RELUME_CHECK(rows_kept || is_dense(), "reshape: ", *this, " has pitched rows, so its last axis must stay; got ", shape);
  Impl view = impl();
  view.shape = shape;
  view.pitch = rows_kept ? pitch() : last_size(shape);
  view.grad = nullptr;
  return Tensor(std::move(view));
}

Tensor Tensor::columns(int64_t begin, int64_t end) const {
  RELUME_CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= shape(-1), "columns: ", begin, ":", end, " asked of ",
               *this);
  Impl view = impl();
  view.shape = shape().with(-1, end - begin);
  view.offset += begin;
  view.grad = nullptr;
  return Tensor(std::move(view));
}

Tensor Tensor::slice(int64_t begin, int64_t end) const {
  RELUME_CHECK(rank() >= 1 && 0 <= begin && begin <= end && end <= shape(0), "slice: ", begin, ":", end, " asked of ", *this);
  if (rank() == 1) return columns(begin, end);
  Impl view = impl();
  view.shape = shape().with(0, end - begin);
  view.offset += shape(0) == 0 ? 0 : begin * (rows() / shape(0)) * pitch();
  view.grad = nullptr;
  return Tensor(std::move(view));
}

Tensor Tensor::detach() const {
  Impl view = impl();
  view.grad = nullptr;
  return Tensor(std::move(view));
}

Tensor Tensor::clone() const {
  Tensor out = empty(shape(), dtype(), device());
  kernels::copy.on(device())(out, *this);
  return out;
}

Tensor Tensor::contiguous() const {
  if (is_dense()) return *this;
  copies.fetch_add(1, std::memory_order_relaxed);
  return clone();
}

Tensor Tensor::to(Device device) const {
  if (device == this->device()) return *this;
  Tensor out = empty(shape(), dtype(), device);
  kernels::transfer.on(device.kind == DeviceKind::cuda ? device : this->device())(out, contiguous());
  return out;
}

Tensor Tensor::to(DType dtype) const {
  if (dtype == this->dtype()) return *this;
  Tensor out = empty(shape(), dtype, device());
  kernels::copy.on(device())(out, *this);
  return out;
}

void Tensor::copy_from(const Tensor& source) const {
  RELUME_CHECK(source.shape() == shape() && source.dtype() == dtype() && source.device() == device(), "copy_from: ", source,
               " given, ", *this, " expected");
  RELUME_CHECK(storage()->writable(), "copy_from: ", *this, " is a read-only view of a file");
  kernels::copy.on(device())(*this, source);
  storage()->bump_version();
}

void Tensor::set_data(const Tensor& other) const {
  RELUME_CHECK(other.shape() == shape(), "set_data: ", other, " given, ", *this, " expected");
  Impl data = other.impl();
  data.grad = impl().grad;
  impl() = std::move(data);
}

int64_t contiguous_copies() { return copies.load(std::memory_order_relaxed); }

std::ostream& operator<<(std::ostream& out, const Tensor& t) {
  if (!t) return out << "undefined";
  return out << t.dtype() << ' ' << t.device() << ' ' << t.shape();
}

}  // namespace relume
