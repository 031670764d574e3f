// Everything oneDNN of the CPU backend: engine and streams, a cache of primitives, packed weights. Written against oneDNN 2.6
// (Debian 12); no other file of the project includes its header.
#pragma once

#include <array>
#include <dnnl.hpp>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "tensor/core/tensor.h"

namespace relume::cpu {

dnnl::engine& onednn_engine();
dnnl::stream& onednn_stream();  // of the calling thread

// Runs f and turns oneDNN's exceptions into an Error that names the operation.
template <class F> auto with_onednn(const char* operation, F&& f) {
  try {
    return f();
  } catch (const dnnl::error& e) {
    throw Error(detail::concat(operation, ": oneDNN failed: ", e.what(), " (status ", int(e.status), ")"));
  }
}

// Values built once per key and kept. Bounded: pictures of ever new sizes must not grow it without end.
template <size_t N, class Value> class PrimitiveCache {
 public:
  using Key = std::array<int64_t, N>;
  template <class Make> std::shared_ptr<const Value> get(const Key& key, Make&& make) {
    const std::lock_guard lock(mutex_);
    if (const auto found = values_.find(key); found != values_.end()) return found->second;
    if (values_.size() >= 512) values_.clear();
    return values_[key] = std::make_shared<const Value>(make());
  }

 private:
  struct Hash {
    size_t operator()(const Key& key) const {
      uint64_t h = 0xcbf29ce484222325u;
      for (const int64_t v : key) h = (h ^ uint64_t(v)) * 0x100000001b3u;
      return h ^ h >> 29;
    }
  };
  std::mutex mutex_;
  std::unordered_map<Key, std::shared_ptr<const Value>, Hash> values_;
};

// Identifies one packing of a weight inside its storage: what for, from which offset, in which layout.
uint64_t packing_key(int role, const Tensor& weight, const dnnl::memory::desc& packed);

// prepare(weight) (a Tensor laid out as `plain`) reordered to `packed`: made once per version of the weight's storage, and kept
// there (design D1).
template <class Prepare> dnnl::memory packed_weight(const Tensor& weight, int role, const dnnl::memory::desc& plain,
                                                    const dnnl::memory::desc& packed, Prepare&& prepare) {
  const auto made = weight.storage()->derived(packing_key(role, weight, packed), [&]() -> std::shared_ptr<void> {
    const Tensor source = prepare(weight);
    Tensor target = Tensor::empty({int64_t(packed.get_size())}, DType::u8);
    dnnl::memory from(plain, onednn_engine(), source.raw()), to(packed, onednn_engine(), target.raw());
    dnnl::reorder(from, to).execute(onednn_stream(), from, to);
    onednn_stream().wait();
    return std::make_shared<Tensor>(target);
  });
  return {packed, onednn_engine(), static_cast<Tensor*>(made.get())->raw()};
}

// Attributes every primitive starts from. Scratch memory is ours: oneDNN's own belongs to the thread that made the primitive,
// and primitives here are made once and run by any thread.
inline dnnl::primitive_attr onednn_attributes() {
  dnnl::primitive_attr attributes;
  attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attributes;
}

// Runs a primitive with scratch memory of the size it asks for.
void execute(const dnnl::primitive& primitive, const dnnl::memory::desc& scratch,
             std::unordered_map<int, dnnl::memory> arguments);

// oneDNN memory over a tensor's data.
inline dnnl::memory view(const Tensor& t, const dnnl::memory::desc& desc) { return {desc, onednn_engine(), t.raw()}; }

}  // namespace relume::cpu
