#include "tensor/cuda/families.h"
#include "tensor/cuda/loops.h"
#include "tensor/kernels/picture.h"
#include "tensor/scalar/picture.h"

namespace relume::cuda {
namespace {

struct Mask {
  float threshold;
  __device__ float operator()(float x, float blurred) const { return sharpen_mask_of(x, blurred, threshold); }
};
struct Blend {
  float weight;
  __device__ float operator()(float x, float blurred, float soft) const { return sharpen_blend_of(x, blurred, soft, weight); }
};

void sharpen_mask(const Tensor& mask, const Tensor& x, const Tensor& blurred, float threshold) {
  for_elements<float>("sharpen_mask", Mask{threshold}, mask, x, blurred);
}

void sharpen_blend(const Tensor& y, const Tensor& x, const Tensor& blurred, const Tensor& soft, float weight) {
  for_elements<float>("sharpen_blend", Blend{weight}, y, x, blurred, soft);
}

}  // namespace

void register_picture_sharpen_kernels() {
  kernels::sharpen_mask.set(DeviceKind::cuda, sharpen_mask);
  kernels::sharpen_blend.set(DeviceKind::cuda, sharpen_blend);
}

}  // namespace relume::cuda
