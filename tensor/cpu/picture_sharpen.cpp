#include "tensor/cpu/families.h"
#include "tensor/cpu/loops.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/picture.h"

namespace relume::cpu {
namespace {

void sharpen_mask(const Tensor& mask, const Tensor& x, const Tensor& blurred, float threshold) {
  for_runs<float>(
      [=](int64_t n, float* to, const float* value, const float* smooth) {
        for (int64_t i = 0; i < n; ++i) to[i] = sharpen_mask_of(value[i], smooth[i], threshold);
      },
      mask, x, blurred);
}

void sharpen_blend(const Tensor& y, const Tensor& x, const Tensor& blurred, const Tensor& soft, float weight) {
  for_runs<float>(
      [=](int64_t n, float* to, const float* value, const float* smooth, const float* share) {
        for (int64_t i = 0; i < n; ++i) to[i] = sharpen_blend_of(value[i], smooth[i], share[i], weight);
      },
      y, x, blurred, soft);
}

}  // namespace

void register_picture_sharpen_kernels() {
  kernels::sharpen_mask.set(DeviceKind::cpu, sharpen_mask);
  kernels::sharpen_blend.set(DeviceKind::cpu, sharpen_blend);
}

}  // namespace relume::cpu
