#include "layers/precision.h"

#include "base/error.h"

namespace relume {

Precision precision_of(const std::string& option, const std::string& text, Device device) {
  if (text == "f32") return {};
  RELUME_CHECK(text == "tf32" || text == "bf16" || text == "f16", option, " '", text, "': expected f32, tf32, bf16 or f16");
  RELUME_CHECK(device.kind != DeviceKind::cpu, option, " ", text,
               " is for GPUs; the processor computes in f32 (relume doctor says why a GPU is not used)");
  if (text == "tf32") return {.products = FloatProducts::tf32};
  return {.type = text == "bf16" ? DType::bf16 : DType::f16};
}

}  // namespace relume
