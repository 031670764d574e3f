// Tensor: the one array type (design D3). A cheap handle: copying shares the data, clone() copies it; constness of the handle
// is not constness of the data. Data is dense, or dense rows with one row pitch (last axis contiguous), so slices of the last
// axis (packed qkv, GEGLU halves, the destination of a concatenation) are views. No gradients here: the differentiable
// operations live in autograd/, which keeps its state in the opaque gradient slot.
#pragma once

#include <initializer_list>
#include <memory>
#include <ostream>
#include <vector>

#include "base/error.h"
#include "tensor/core/dtype.h"
#include "tensor/core/shape.h"
#include "tensor/core/storage.h"

namespace relume {

struct GradNode;  // defined in autograd/graph.h

class Tensor {
 public:
  Tensor() = default;                                                                     // undefined: bool(t) is false
  static Tensor empty(const Shape& shape, DType dtype = DType::f32, Device device = {});  // contents are undefined
  static Tensor scratch(const Shape& shape, DType dtype, Device device);  // empty(), for a kernel while it runs
  static Tensor zeros(const Shape& shape, DType dtype = DType::f32, Device device = {});
  static Tensor full(const Shape& shape, double value, DType dtype = DType::f32, Device device = {});
  // A CPU tensor holding `values` in row-major order; their number must be shape.numel().
  template <class T> static Tensor of(const Shape& shape, const std::vector<T>& values);
  // A CPU tensor over memory owned by someone else, which `owner` keeps alive.
  static Tensor wrap(const Shape& shape, DType dtype, void* pointer, std::shared_ptr<void> owner);

  explicit operator bool() const { return impl_ != nullptr; }
  const Shape& shape() const { return impl().shape; }
  int64_t shape(int axis) const { return impl().shape[axis]; }  // shape(-1) is the last axis
  int rank() const { return impl().shape.rank(); }
  int64_t numel() const { return impl().shape.numel(); }
  DType dtype() const { return impl().dtype; }
  Device device() const { return impl().storage->device(); }

  // Rows are runs along the last axis: rows() of them, pitch() elements from the start of one to the start of the next.
  int64_t rows() const;
  int64_t pitch() const { return impl().pitch; }
  bool is_dense() const;

  // Pointer to the first element; throws when T is not the dtype or the tensor is undefined. void* gives raw access.
  template <class T> T* data() const;
  void* raw() const;
  double item() const;  // the value of a tensor with exactly one element, copied to the host

  // Views: share the data, no gradient. reshape needs a dense tensor unless only the leading axes change.
  Tensor reshape(const Shape& shape) const;
  Tensor columns(int64_t begin, int64_t end) const;  // [..., begin:end]
  Tensor slice(int64_t begin, int64_t end) const;    // [begin:end, ...] along the first axis
  Tensor detach() const;                             // the same data without the gradient slot

  Tensor clone() const;       // a dense copy
  Tensor contiguous() const;  // *this when dense, else a dense copy
  Tensor to(Device device) const;
  Tensor to(DType dtype) const;                // the only conversion of values there is; *this when nothing changes
  void copy_from(const Tensor& source) const;  // overwrites the data: same shape, dtype and device; bumps the version

  // All handles of this tensor have `other`'s data and type from now on; same shape. The gradient slot stays.
  void set_data(const Tensor& other) const;

  const std::shared_ptr<Storage>& storage() const { return impl().storage; }
  int64_t byte_offset() const { return impl().offset * size_of(dtype()); }  // of the first element in the storage
  std::shared_ptr<GradNode>& grad_slot() const { return impl().grad; }
  bool is_sole_owner() const { return impl_.use_count() == 1 && impl_->storage.use_count() == 1; }  // no other handle or view
  bool same_storage(const Tensor& other) const { return impl_ && other.impl_ && impl().storage == other.impl().storage; }

 private:
  struct Impl {
    std::shared_ptr<Storage> storage;
    int64_t offset = 0;  // in elements
    Shape shape;
    int64_t pitch = 0;  // in elements
    DType dtype = DType::f32;
    std::shared_ptr<GradNode> grad;
  };
  explicit Tensor(Impl impl) : impl_(std::make_shared<Impl>(std::move(impl))) {}
  Impl& impl() const {
    RELUME_CHECK(impl_, "tensor: an undefined tensor was used");
    return *impl_;
  }
  std::shared_ptr<Impl> impl_;
};

// How often contiguous() has had to copy since the start: slots take pitched rows so that it seldom does (design D2).
int64_t contiguous_copies();

// f32 cpu [1, 32, 32, 64]; "undefined" for an undefined tensor.
std::ostream& operator<<(std::ostream& out, const Tensor& t);

inline Tensor empty_like(const Tensor& t) { return Tensor::empty(t.shape(), t.dtype(), t.device()); }
inline Tensor zeros_like(const Tensor& t) { return Tensor::zeros(t.shape(), t.dtype(), t.device()); }

template <class T> T* Tensor::data() const {
  RELUME_CHECK(dtype() == dtype_of<T>, "tensor: ", *this, " was read as ", dtype_of<T>);
  return static_cast<T*>(raw());
}
template <class T> Tensor Tensor::of(const Shape& shape, const std::vector<T>& values) {
  RELUME_CHECK(shape.numel() == int64_t(values.size()), "tensor: ", values.size(), " values given for shape ", shape);
  Tensor t = empty(shape, dtype_of<T>);
  std::copy(values.begin(), values.end(), t.data<T>());
  return t;
}

}  // namespace relume
