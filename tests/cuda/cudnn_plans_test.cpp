// What cuDNN itself, not the fake of the simulator, says to what is asked of it: it has a plan for every convolution and an
// engine for every attention, on an H100 that is only described, so that no device is needed.
#include <cudnn_graph.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tensor/cuda/cudnn_attention.h"
#include "tensor/cuda/cudnn_conv.h"

namespace relume::test {
namespace {

using cuda::Convolution;
using cuda::ConvPass;
using cuda::GraphTensor;

// What cuDNN writes when it is asked for a device's properties.
constexpr char h100[] = R"({
  "deviceName": "NVIDIA H100 80GB HBM3", "deviceVer": 900, "driverVer": 13000, "cudaDeviceId": 0, "pciDeviceId": 0,
  "multiProcessorCount": 132, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000, "l2CacheSize": 52428800,
  "totalGlobalMem": 85052030976, "warpSize": 32, "maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
  "regsPerBlock": 65536, "maxRegistersPerSM": 65536, "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
  "reservedSharedMemoryPerBlock": 1024, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
  "isTccDriver": 0, "supportCoopLaunch": 1})";

struct Case {
  std::array<int64_t, 4> x, w;  // [N, H, W, I], [O, kh, kw, I]
  int64_t stride = 1;
  std::array<int64_t, 2> before = {1, 1}, after = {1, 1};
  int64_t pitch = 0;  // of x, where it is not dense
};

GraphTensor channels_last(const std::array<int64_t, 4>& t, int64_t pitch, int64_t alignment) {
  return {{t[0], t[3], t[1], t[2]}, {t[1] * t[2] * pitch, 1, t[2] * pitch, pitch}, alignment};
}

Convolution convolution(const Case& c, ConvPass pass, cudnnDataType_t type, bool bias) {
  const auto size = [&](size_t axis) {
    return (c.x[axis] + c.before[axis - 1] + c.after[axis - 1] - c.w[axis]) / c.stride + 1;
  };
  const int64_t element = type == CUDNN_DATA_FLOAT ? 4 : 2;
  return {.pass = pass,
          .type = type,
          .x = c.pitch ? channels_last(c.x, c.pitch, element) : channels_last(c.x, c.x[3], 16),
          .w = channels_last(c.w, c.w[3], 16),
          .y = channels_last({c.x[0], size(1), size(2), c.w[0]}, c.w[0], 16),
          .stride = {c.stride, c.stride},
          .before = c.before,
          .after = c.after,
          .bias_alignment = bias ? element : 0};
}

std::vector<Case> cases() {
  return {{{1, 1, 1, 1}, {1, 1, 1, 1}, 1, {0, 0}, {0, 0}},
          {{2, 5, 7, 3}, {5, 3, 3, 3}},
          {{1, 9, 6, 18}, {17, 3, 3, 18}},
          {{2, 3, 4, 7}, {3, 1, 1, 7}, 1, {0, 0}, {0, 0}},
          {{1, 7, 8, 4}, {6, 3, 3, 4}, 2},
          {{1, 6, 8, 3}, {5, 3, 3, 3}, 2, {0, 0}, {1, 1}},
          {{1, 6, 7, 2}, {3, 5, 3, 2}, 1, {1, 2}, {3, 0}},
          {{1, 6, 7, 2}, {3, 5, 3, 2}, 1, {1, 2}, {3, 0}, 9},
          {{1, 64, 64, 64}, {64, 3, 3, 64}, 1, {1, 1}, {1, 1}, 69},
          {{1, 64, 64, 64}, {64, 3, 3, 64}, 1, {1, 1}, {1, 1}, 72},
          {{1, 64, 64, 192}, {180, 3, 3, 192}},
          {{1, 64, 64, 180}, {180, 3, 3, 180}},
          {{16, 24, 24, 32}, {32, 3, 3, 32}},
          {{1, 512, 512, 64}, {64, 3, 3, 64}},
          {{1, 512, 512, 64}, {3, 3, 3, 64}},
          {{1, 512, 512, 3}, {128, 3, 3, 3}},
          {{1, 64, 64, 640}, {320, 3, 3, 640}},
          {{1, 513, 513, 128}, {128, 3, 3, 128}, 2, {0, 0}, {0, 0}}};
}

class CudnnPlansOfAnH100 : public testing::Test {
 protected:
  void SetUp() override {
    properties.set_text(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, h100);
    if (!properties.try_finalize()) GTEST_SKIP() << "this cuDNN describes devices in another way: " << cudnnGetVersion();
  }
  cuda::Descriptor properties{CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR};
};

TEST_F(CudnnPlansOfAnH100, ThereIsOneForEveryConvolution) {
  for (const Case& c : cases())
    for (const cudnnDataType_t type : {CUDNN_DATA_FLOAT, CUDNN_DATA_HALF, CUDNN_DATA_BFLOAT16})
      for (const ConvPass pass : {ConvPass::forward, ConvPass::backward_data, ConvPass::backward_weight})
        for (const bool bias : {false, true}) {
          if (bias && pass != ConvPass::forward) continue;
          SCOPED_TRACE(testing::Message() << "channels " << c.w[3] << " to " << c.w[0] << ", height " << c.x[1] << ", stride "
                                          << c.stride << ", pitch " << c.pitch << ", type " << type << ", pass " << int(pass)
                                          << ", bias " << bias);
          EXPECT_NO_THROW(cuda::plan_of(convolution(c, pass, type, bias), {.properties = &properties}));
        }
}

struct AttentionCase {
  int64_t samples, queries, keys, heads, head_dim;
  int64_t extra = 0;  // elements between the rows that do not belong to them
};

cuda::SequenceAttention sequence_attention(const AttentionCase& c, cudnnDataType_t type, bool denominators) {
  const auto rows = [&](int64_t count) {
    const int64_t pitch = c.heads * c.head_dim + c.extra;
    return GraphTensor({c.samples, c.heads, count, c.head_dim}, {count * pitch, c.head_dim, pitch, 1}, 16);
  };
  return {type, rows(c.queries), rows(c.keys), rows(c.keys), rows(c.queries), denominators};
}

// cuDNN compiles its attention for the device, and wants a driver's library before it says whether it can. The toolkit's
// stand-in will do where there is no driver; it cannot load what was compiled, so that a plan is not made.
bool load_driver() {
  constexpr int mode = RTLD_NOW | RTLD_GLOBAL;
  return dlopen("libcuda.so.1", mode) != nullptr || dlopen(RELUME_CUDA_DRIVER, mode) != nullptr;
}

// Engines that cuDNN offers for an operation on the device.
size_t engines_offered(const cuda::Descriptor& operation, const cuda::Descriptor& properties) {
  cuda::Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR), heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  graph.finalize();
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_HEUR_MODE_A);
  heuristics.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, properties);
  heuristics.finalize();
  return heuristics.read_descriptors(CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).size();
}

TEST_F(CudnnPlansOfAnH100, ThereIsAnEngineForEveryAttention) {
  ASSERT_TRUE(load_driver()) << dlerror();
  for (const AttentionCase& c :
       {AttentionCase{1, 1, 1, 1, 8}, AttentionCase{2, 13, 7, 3, 24}, AttentionCase{1, 4096, 4096, 5, 64},
        AttentionCase{2, 4096, 4096, 5, 64, 640}, AttentionCase{8, 1024, 77, 10, 64}, AttentionCase{1, 16384, 16384, 5, 64},
        AttentionCase{1, 4096, 77, 8, 40}, AttentionCase{1, 1024, 1024, 8, 80}, AttentionCase{3, 101, 211, 2, 128, 8}})
    for (const cudnnDataType_t type : {CUDNN_DATA_HALF, CUDNN_DATA_BFLOAT16})
      for (const bool denominators : {false, true})
        EXPECT_GT(engines_offered(cuda::operation_of(sequence_attention(c, type, denominators)), properties), 0u)
            << c.queries << " queries, " << c.keys << " keys, " << c.heads << " heads of " << c.head_dim << ", type " << type
            << ", denominators " << denominators;
  EXPECT_EQ(engines_offered(cuda::operation_of(sequence_attention({1, 64, 64, 1, 60}, CUDNN_DATA_HALF, false)), properties), 0u)
      << "heads of 60 channels, which it does not have";
}

}  // namespace
}  // namespace relume::test
