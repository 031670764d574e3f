#include "tensor/cpu/onednn.h"

#include <omp.h>

#include <cstring>

#include "tensor/cpu/register.h"

namespace relume {

namespace {

std::string name_of(dnnl::cpu_isa isa) {
  switch (isa) {
    case dnnl::cpu_isa::sse41: return "SSE4.1";
    case dnnl::cpu_isa::avx: return "AVX";
    case dnnl::cpu_isa::avx2: return "AVX2";
    case dnnl::cpu_isa::avx2_vnni: return "AVX2 with VNNI";
    case dnnl::cpu_isa::avx512_core: return "AVX-512";
    case dnnl::cpu_isa::avx512_core_vnni: return "AVX-512 with VNNI";
    case dnnl::cpu_isa::avx512_core_bf16: return "AVX-512 with VNNI and BF16";
    case dnnl::cpu_isa::avx512_core_amx: return "AVX-512 with AMX";
    default: return detail::concat("set ", int(isa));
  }
}

}  // namespace

CpuBackend describe_cpu_backend() {
  const dnnl_version_t* version = dnnl_version();
  return {.onednn = detail::concat(version->major, ".", version->minor, ".", version->patch),
          .instructions = name_of(dnnl::get_effective_cpu_isa()),
          .threads = omp_get_max_threads()};
}

}  // namespace relume

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
