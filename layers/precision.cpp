#include "layers/precision.h"

#include "base/error.h"

namespace relume {

DType compute_type(const std::string& option, const std::string& text, Device device) {
  if (text == "f32") return DType::f32;
  RELUME_CHECK(text == "bf16" || text == "f16", option, " '", text, "': expected f32, bf16 or f16");
  RELUME_CHECK(device.kind != DeviceKind::cpu, option, " ", text,
               " is for GPUs; the processor computes in f32 (relume doctor says why a GPU is not used)");
  return text == "bf16" ? DType::bf16 : DType::f16;
}

}  // namespace relume
