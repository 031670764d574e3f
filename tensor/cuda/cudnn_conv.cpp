#include "tensor/cuda/cudnn_conv.h"

namespace relume::cuda {
namespace {

enum Id : int64_t { x_id = 1, w_id, y_id, bias_id, sum_id };

struct ConvAttributes {
  cudnnBackendDescriptorType_t operation;
  cudnnBackendAttributeName_t options, x, w, y, alpha, beta;
};
constexpr ConvAttributes attributes_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvPass::backward_data:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvPass::backward_weight:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  }
  return {};
}

Descriptor convolution_descriptor(const Convolution& c) {
  Descriptor d(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  d.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  d.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_CROSS_CORRELATION);
  d.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t(2));
  d.set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::array<int64_t, 2>{1, 1});
  d.set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, c.stride);
  d.set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, c.before);
  d.set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, c.after);
  d.finalize();
  return d;
}

Descriptor convolution_operation(const Convolution& c, const Descriptor& y) {
  const ConvAttributes a = attributes_of(c.pass);
  Descriptor d(a.operation);
  d.set(a.options, convolution_descriptor(c));
  d.set(a.x, tensor_descriptor(x_id, c.type, c.x));
  d.set(a.w, tensor_descriptor(w_id, c.type, c.w));
  d.set(a.y, y);
  // In the type that the convolution computes in: some engines read a double's bytes as a float, and multiply by 0.
  d.set(a.alpha, 1.f);
  d.set(a.beta, 0.f);
  d.finalize();
  return d;
}

Descriptor add_operation(const Descriptor& out, const Descriptor& x, const Descriptor& bias) {
  Descriptor add(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  add.set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_POINTWISE_ADD);
  add.set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  add.finalize();
  Descriptor d(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  d.set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, add);
  d.set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, x);
  d.set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, bias);
  d.set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
  d.finalize();
  return d;
}

}  // namespace

Plan plan_of(const Convolution& c, const PlanTarget& target) {
  const Descriptor y = tensor_descriptor(y_id, c.type, c.y);
  std::vector<Descriptor> operations;
  if (c.bias_alignment == 0) {
    operations.push_back(convolution_operation(c, y));
  } else {
    const int64_t channels = c.y.sizes[1];
    const Descriptor sum = tensor_descriptor(sum_id, CUDNN_DATA_FLOAT, {c.y.sizes, c.y.strides, 16}, TensorKind::virtual_only);
    const GraphTensor bias({1, channels, 1, 1}, {channels, 1, channels, channels}, c.bias_alignment);
    operations.push_back(convolution_operation(c, sum));
    operations.push_back(add_operation(y, sum, tensor_descriptor(bias_id, c.type, bias)));
  }
  return Plan(target, operations, c.type == CUDNN_DATA_FLOAT && !c.tf32);
}

void run(const Convolution& c, Device device, const ConvPointers& pointers) {
  const cudnnHandle_t handle = cudnn_handle(device);
  thread_local PlanCache<Convolution> plans;
  const Plan& plan = plans.find(device, c, [&] { return plan_of(c, {.handle = handle}); });
  const std::array<int64_t, 4> ids{x_id, w_id, y_id, bias_id};
  const std::array<void*, 4> memory{pointers.x, pointers.w, pointers.y, pointers.bias};
  const size_t count = c.bias_alignment == 0 ? 3 : 4;
  plan.run(handle, device, std::span(ids).first(count), std::span(memory).first(count));
}

}  // namespace relume::cuda
