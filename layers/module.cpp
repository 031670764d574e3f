#include "layers/module.h"

#include <algorithm>
#include <unordered_set>

#include "base/machine.h"
#include "base/workers.h"

namespace relume {

Module::Module(Module* parent, std::string name, Device device)
    : parent_(parent), name_(std::move(name)), device_(parent ? parent->device_ : device) {
  if (parent_) parent_->entries_.push_back({Entry::Kind::child, {}, this});
}

std::string Module::path() const {
  const std::string above = parent_ ? parent_->path() : "";
  return above.empty() || name_.empty() ? above + name_ : above + "." + name_;
}

void Module::collect(const std::string& prefix, Entry::Kind kind, std::vector<NamedTensor>& out) const {
  for (const Entry& e : entries_) {
    if (e.kind == Entry::Kind::child)
      e.child->collect(e.child->name_.empty() ? prefix : prefix + e.child->name_ + ".", kind, out);
    else if (e.kind == kind)
      out.push_back({prefix + e.tensor.name, e.tensor.tensor, e.tensor.stored_as});
  }
}

std::vector<NamedTensor> Module::parameters() const {
  std::vector<NamedTensor> out;
  collect("", Entry::Kind::parameter, out);
  return out;
}

std::vector<NamedTensor> Module::buffers() const {
  std::vector<NamedTensor> out;
  collect("", Entry::Kind::buffer, out);
  return out;
}

int64_t Module::parameter_count() const {
  int64_t count = 0;
  for (const NamedTensor& p : parameters()) count += p.tensor.numel();
  return count;
}

void Module::set_trainable(bool on) const {
  for (const NamedTensor& p : parameters()) set_requires_grad(p.tensor, on);
}

void Module::set_parameter_type(DType type) const {
  RELUME_CHECK(is_float(type), "parameters of ", type, " were asked for, expected a float type");
  for (const NamedTensor& p : parameters())
    if (p.tensor.dtype() != type) p.tensor.set_data(p.tensor.detach().to(type));
}

void Module::set_training(bool training) {
  training_ = training;
  for (const Entry& e : entries_)
    if (e.child) e.child->set_training(training);
}

Tensor Module::parameter(const std::string& name, const Shape& shape, StoredAs stored_as) {
  const Tensor t = require_grad(Tensor::empty(shape, DType::f32, device_));
  entries_.push_back({Entry::Kind::parameter, {name, t, stored_as}});
  return t;
}

void Module::buffer(const std::string& name, Tensor value) {
  entries_.push_back({Entry::Kind::buffer, {name, std::move(value)}});
}

Shape stored_shape(const Shape& shape, StoredAs stored_as) {
  switch (stored_as) {
    case StoredAs::same: return shape;
    case StoredAs::conv: return {shape[0], shape[3], shape[1], shape[2]};
    case StoredAs::last_first: break;
  }
  std::vector<int64_t> sizes(shape.sizes().begin(), shape.sizes().end());
  std::rotate(sizes.begin(), sizes.end() - 1, sizes.end());
  return Shape(std::span<const int64_t>(sizes));
}

namespace {
// [a, b, c] to [a, c, b], as numbers of one size that nothing is computed with. The longer of the two axes goes innermost.
template <class T> void swap_axes(const T* from, T* to, int64_t a, int64_t b, int64_t c) {
  for (int64_t i = 0; i < a; ++i, from += b * c, to += b * c) {
    if (b > c) {
      for (int64_t k = 0; k < c; ++k)
        for (int64_t j = 0; j < b; ++j) to[k * b + j] = from[j * c + k];
    } else {
      for (int64_t j = 0; j < b; ++j)
        for (int64_t k = 0; k < c; ++k) to[k * b + j] = from[j * c + k];
    }
  }
}

// The same of tensors: [O, taps, I] and [O, I, taps]. Large networks are converted while somebody waits for their first result.
Tensor swapped(const Tensor& t, int64_t a, int64_t b, int64_t c, const Shape& shape) {
  constexpr int64_t numbers_together = int64_t(1) << 18;
  Tensor out = Tensor::empty(shape, t.dtype());
  const int64_t rows = std::max<int64_t>(1, numbers_together / std::max<int64_t>(1, b * c));
  const auto swap = [&]<class T>(T) {
    const T* const from = static_cast<const T*>(t.raw());
    T* const to = static_cast<T*>(out.raw());
    const auto part = [&](int64_t i) {
      const int64_t begin = i * rows, end = std::min(a, begin + rows);
      swap_axes(from + begin * b * c, to + begin * b * c, end - begin, b, c);
    };
    const int64_t parts = (a + rows - 1) / rows;
    if (parts <= 1) return swap_axes(from, to, a, b, c);
    for_each_on_threads(parts, processors().usable(), part);
  };
  switch (size_of(t.dtype())) {
    case 1: swap(uint8_t()); break;
    case 2: swap(uint16_t()); break;
    case 4: swap(uint32_t()); break;
    default: swap(uint64_t()); break;
  }
  return out;
}
}  // namespace

Tensor to_stored(const Tensor& t, StoredAs stored_as) {
  const Tensor host = t.to(Device{}).contiguous();
  if (stored_as == StoredAs::same) return host;
  const Shape &s = t.shape(), on_disk = stored_shape(s, stored_as);
  if (stored_as == StoredAs::conv) return swapped(host, s[0], s[1] * s[2], s[3], on_disk);
  return swapped(host, 1, t.numel() / s[-1], s[-1], on_disk);
}

Tensor from_stored(const Tensor& stored, const Shape& shape, StoredAs stored_as) {
  if (stored_as == StoredAs::same) return stored.contiguous();
  const Tensor dense = stored.contiguous();
  if (stored_as == StoredAs::conv) return swapped(dense, shape[0], shape[3], shape[1] * shape[2], shape);
  return swapped(dense, 1, shape[-1], shape.numel() / shape[-1], shape);
}

namespace {

// All missing, unexpected and mis-shaped names in one InputError.
void check_fit(const Module& module, const TensorSource& source) {
  const std::vector<NamedTensor> parameters = module.parameters(), buffers = module.buffers();
  std::unordered_set<std::string> known;
  std::string problems;
  const auto note = [&](const std::string& line) { problems += "\n  " + line; };
  const auto compare = [&](const NamedTensor& expected, bool required) {
    known.insert(expected.name);
    const TensorInfo* found = source.find(expected.name);
    const Shape shape = stored_shape(expected.tensor.shape(), expected.stored_as);
    if (!found && required) note(detail::concat("missing: ", expected.name, " ", shape));
    if (found && !(found->shape == shape))
      note(detail::concat("shape of ", expected.name, ": ", found->shape, ", expected ", shape));
    else if (found && required && !is_float(found->dtype))
      note(detail::concat("type of ", expected.name, ": ", found->dtype, ", expected a float"));
  };
  for (const NamedTensor& p : parameters) compare(p, true);
  for (const NamedTensor& b : buffers) compare(b, false);
  for (const TensorInfo& t : source.tensors())
    if (!known.contains(t.name)) note(detail::concat("unexpected: ", t.name, " ", t.shape));
  RELUME_CHECK(problems.empty(), source.where(), ": does not fit this network; is it the checkpoint of another configuration?",
               problems);
}

// Data that a file or a tensor holds; pages of a file are let go with it.
std::shared_ptr<void> held(const Tensor& t) {
  return {t.raw(), [t](void*) { t.storage()->drop_pages(); }};
}

// A parameter's value in memory order, f32 on the CPU: a view of the file where that holds the very numbers.
Tensor value_of(const Tensor& stored, const Shape& shape, StoredAs stored_as) {
  return from_stored(stored.to(DType::f32), shape, stored_as);
}

}  // namespace

void load_strict(const Module& module, const TensorSource& source) {
  check_fit(module, source);
  for (const NamedTensor& p : module.parameters()) {
    const Tensor stored = source.read(p.name);
    const Tensor ordered = from_stored(stored, p.tensor.shape(), p.stored_as);
    p.tensor.copy_from(ordered.to(p.tensor.device()).to(p.tensor.dtype()));
    stored.storage()->drop_pages();
  }
}

void load_lazily(const Module& module, const std::shared_ptr<const TensorSource>& source) {
  if (module.device() != Device{}) return load_strict(module, *source);
  check_fit(module, *source);
  for (const NamedTensor& p : module.parameters()) {
    const auto read_value = [source, name = p.name, shape = p.tensor.shape(), stored_as = p.stored_as] {
      const Tensor stored = source->read(name), value = value_of(stored, shape, stored_as);
      if (value.same_storage(stored)) return held(value);
      stored.storage()->drop_pages();
      return std::shared_ptr<void>(value.raw(), [value](void*) {});
    };
    const auto read_stored = [source, name = p.name, stored_as = p.stored_as] {
      const Tensor stored = source->read(name);
      return StoredForm{held(stored), stored.dtype(), stored_as == StoredAs::conv};
    };
    const DType dtype = source->find(p.name)->dtype;
    const bool as_stored = size_of(dtype) <= size_of(DType::f32) && p.stored_as != StoredAs::last_first;
    p.tensor.storage()->set_source(read_value, as_stored ? Storage::Stored(read_stored) : Storage::Stored());
  }
  allocator({}).trim();  // the blocks that the parameters had, which were never written
}

std::vector<NamedTensor> stored_state(const Module& module) {
  std::vector<NamedTensor> out;
  for (const NamedTensor& p : module.parameters()) out.push_back({p.name, to_stored(p.tensor.detach(), p.stored_as)});
  for (const NamedTensor& b : module.buffers()) out.push_back(b);
  return out;
}

}  // namespace relume
