// Calls captured as CUDA graphs: the same numbers as the call itself, memory that nobody else gets, and what cannot be
// captured.
#include "tensor/cuda/captured_call.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "autograd/conv.h"
#include "autograd/elementwise.h"
#include "autograd/matmul.h"
#include "autograd/norm.h"
#include "tensor/kernels/memory.h"
#include "tests/cuda/runs.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

using cuda::CapturedCall;

class CudaGraphs : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

// Convolution, norm, activation, product: kernels of ours, cuDNN's and cuBLASLt's, with memory that comes and goes.
struct Network {
  Tensor operator()() const {
    const NoGrad no_grad;
    const Tensor y = gelu(conv2d(x, w, b, kernels::ConvOptions::same(3)));
    return add(linear(layer_norm(y, norm_weight, b, 1e-5), projection, {}), y);
  }
  CapturedCall::Call call() const {
    return [*this] { return std::vector{(*this)()}; };
  }
  static Tensor there(const Shape& shape, uint64_t seed) { return uniform(shape, seed).to(cuda_device); }
  Tensor x = there({1, 5, 6, 3}, 1), w = there({8, 3, 3, 3}, 2), b = there({8}, 3), norm_weight = there({8}, 4),
         projection = there({8, 8}, 5);
};

TEST_F(CudaGraphs, GiveWhatTheCallGives) {
  for_each_run([&](const std::string& run) {
    const Network network;
    const CapturedCall captured(cuda_device, network.call());
    for (uint64_t i = 10; i < 13; ++i) {
      network.x.copy_from(network.there(network.x.shape(), i));
      const int64_t waits = cuda::host_waits();
      const Tensor y = captured().at(0);
      EXPECT_EQ(cuda::host_waits(), waits);
      EXPECT_TRUE(same_bits(y.to(Device{}), network().to(Device{}))) << "input " << i << ", " << run;
    }
  });
}

TEST_F(CudaGraphs, WorkInMemoryOfTheirOwn) {
  const Network network;
  const Tensor expected = network().to(Device{});
  const int64_t before = allocator(cuda_device).bytes_in_use();
  Tensor kept;
  {
    const CapturedCall captured(cuda_device, network.call());
    EXPECT_GT(allocator(cuda_device).bytes_in_use(), before) << "what the graph works in counts";
    kept = captured().at(0);
    std::vector<Tensor> others;  // of the sizes that the graph works with
    for (int i = 0; i < 20; ++i) others.push_back(Tensor::full(kept.shape(), std::nan(""), DType::f32, cuda_device));
    captured();
    EXPECT_TRUE(same_bits(kept.to(Device{}), expected));
    for (const Tensor& t : others) EXPECT_TRUE(std::isnan(t.slice(0, 1).to(Device{}).data<float>()[0]));
  }
  EXPECT_TRUE(same_bits(kept.to(Device{}), expected)) << "results outlive the graph";
  kept = {};
  EXPECT_EQ(allocator(cuda_device).bytes_in_use(), before);
}

// The same bits as from the network itself, for shapes that come often and seldom; a graph's memory is held only while its
// shape comes again.
TEST_F(CudaGraphs, AreReplayedForShapesThatComeAgain) {
  const NoGrad no_grad;
  Network network;
  const int64_t before = allocator(cuda_device).bytes_in_use();
  int calls = 0;
  const auto f = kernels::repeated.on(cuda_device)(cuda_device, [&](const std::vector<Tensor>& x) {
    network.x = x[0], ++calls;
    return network();
  });
  uint64_t seed = 20;
  const auto expect_same = [&](const Shape& shape) {
    const Tensor x = uniform(shape, ++seed), found = (*f)({x});
    Network plain = network;
    plain.x = x.to(cuda_device);
    EXPECT_TRUE(same_bits(found, plain().to(Device{}))) << "seed " << seed;
  };
  const Shape often{1, 5, 6, 3}, seldom{1, 4, 4, 3};
  for (int i = 0; i < 4; ++i) expect_same(often);
  EXPECT_EQ(calls, 4);
  network.x = {};
  EXPECT_LE(allocator(cuda_device).bytes_in_use(), before) << "plain calls hold nothing";
  for (int i = 0; i < 4; ++i) expect_same(often);
  EXPECT_EQ(calls, 7) << "two to warm up, one to capture, then replays";
  network.x = {};
  EXPECT_GT(allocator(cuda_device).bytes_in_use(), before) << "what the graph works in";
  expect_same(seldom);
  network.x = {};
  EXPECT_LE(allocator(cuda_device).bytes_in_use(), before);
  expect_same(often);
  EXPECT_EQ(calls, 9) << "plain again";
}

// What capturing `call` says. Afterwards the device works as before.
std::string refusal(const CapturedCall::Call& call) {
  std::string text = "it was captured";
  try {
    const CapturedCall captured(cuda_device, call);
  } catch (const Error& e) {
    text = e.what();
  }
  EXPECT_EQ(Tensor::full({1}, 3, DType::f32, cuda_device).item(), 3);
  return text;
}

TEST_F(CudaGraphs, SayWhatCannotBeCaptured) {
  const Tensor x = Tensor::full({4}, 2, DType::f32, cuda_device), host = Tensor::full({4}, 1);
  const int64_t before = allocator(cuda_device).bytes_in_use();
  EXPECT_HAS(
      refusal([&] { return x.slice(0, 1).item() > 0 ? std::vector{scale(x, 2)} : std::vector<Tensor>(); }),
      "a copy between host and device cannot be part of a CUDA graph; do it before or after the captured call\n  while a "
      "call was captured as a CUDA graph");
  EXPECT_HAS(refusal([&] { return std::vector{host.to(cuda_device)}; }), "a copy between host and device");
  EXPECT_HAS(refusal([&] { return cuda::wait_for(cuda::stream(cuda_device)), std::vector{scale(x, 2)}; }),
             "waiting for the device cannot be part of a CUDA graph");
  int64_t size = 0;
  EXPECT_HAS(refusal([&] { return std::vector{Tensor::full({++size}, 1, DType::f32, cuda_device)}; }),
             "the call asks for other memory than the first time (12 B); only calls that do the same every time");
  Tensor last;
  EXPECT_HAS(refusal([&] { return last = scale(x, 2), std::vector<Tensor>(); }),
             "the call releases memory that was there before it");
  std::vector<Tensor> earlier{x.clone(), x.clone(), x.clone()};
  EXPECT_HAS(refusal([&] { return earlier.pop_back(), std::vector{scale(x, 2)}; }),
             "the call releases memory that was there before it");
  last = {};
  EXPECT_EQ(allocator(cuda_device).bytes_in_use(), before);
}

TEST_F(CudaGraphs, OfAnotherThreadAreRefused) {
  const Tensor x = Network::there({3, 5}, 1);
  const CapturedCall call(cuda_device, [&] { return std::vector{gelu(x)}; });
  std::string text;
  std::thread([&] { text = input_error([&] { call(); }); }).join();
  EXPECT_HAS(text, "the thread that captured it alone");
}

}  // namespace
}  // namespace relume::test
