#include "tensor/cpu/onednn.h"

#include <cstring>

namespace relume::cpu {

dnnl::engine& onednn_engine() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

dnnl::stream& onednn_stream() {
  thread_local dnnl::stream stream(onednn_engine());
  return stream;
}

void execute(const dnnl::primitive& primitive, const dnnl::memory::desc& scratch,
             std::unordered_map<int, dnnl::memory> arguments) {
  Tensor space;
  if (const size_t bytes = scratch.get_size(); bytes > 0) {
    space = Tensor::empty({int64_t(bytes)}, DType::u8);
    arguments.emplace(DNNL_ARG_SCRATCHPAD, view(space, scratch));
  }
  primitive.execute(onednn_stream(), arguments);
  onednn_stream().wait();
}

uint64_t packing_key(int role, const Tensor& weight, const dnnl::memory::desc& packed) {
  uint64_t h = 0xcbf29ce484222325u ^ uint64_t(role);
  const auto mix = [&](uint64_t v) { h = (h ^ v) * 0x100000001b3u, h ^= h >> 31; };
  mix(uint64_t(static_cast<char*>(weight.raw()) - static_cast<char*>(weight.storage()->data())));
  mix(packed.get_size());
  const auto* bytes = reinterpret_cast<const unsigned char*>(&packed.data);  // zero-initialised by oneDNN, padding included
  for (size_t i = 0; i + 8 <= sizeof packed.data; i += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + i, 8);
    mix(word);
  }
  return h;
}

}  // namespace relume::cpu
