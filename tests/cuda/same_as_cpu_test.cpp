// Slots that must give on the device what they give on the CPU: the same bits, or nearly.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "tensor/cuda/conv_strips.h"
#include "tensor/kernels/conv.h"
#include "tensor/kernels/memory.h"
#include "tensor/kernels/norm.h"
#include "tensor/kernels/random.h"
#include "tensor/kernels/reduce.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"
#include "tests/support/op_runs.h"

namespace relume::test {
namespace {

class SameAsCpu : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

std::string bytes_of(const Tensor& t) {
  const Tensor host = t.to(Device{}).contiguous();
  return {static_cast<const char*>(host.raw()), size_t(host.numel() * size_of(host.dtype()))};
}

// Numbers that conversions treat each in its own way.
Tensor awkward_numbers() {
  constexpr double inf = std::numeric_limits<double>::infinity();
  return Tensor::of<double>({4, 7},
                            {0,   -0.0, 0.5,          1.5,   2.5,   -0.5,  254.5, 255, 256, -1,   3e9, -3e9, 1e19, -1e19,
                             inf, -inf, std::nan(""), 1e-45, 65504, 65520, 1e-8,  0.1, 3.7, -3.7, 127, 128,  1,    2});
}

TEST_F(SameAsCpu, ConversionsOfEveryPairOfTypes) {
  const DType types[] = {DType::f32, DType::f64, DType::f16, DType::bf16, DType::u8, DType::i32, DType::i64, DType::boolean};
  for (const DType from : types)
    for (const DType to : types) {
      const Tensor x = awkward_numbers().to(from);
      for_each_run([&](const std::string& run) {
        EXPECT_TRUE(bytes_of(x.to(cuda_device).to(to)) == bytes_of(x.to(to))) << from << " to " << to << ", " << run;
        if (from == to) return;
        const Tensor columns = x.to(cuda_device).columns(2, 5);  // pitched rows
        EXPECT_TRUE(bytes_of(columns.to(to)) == bytes_of(x.columns(2, 5).to(to)))
            << from << " to " << to << ", pitched, " << run;
      });
    }
}

TEST_F(SameAsCpu, CopiesAndFillsOfPitchedRows) {
  const Tensor x = uniform({5, 9}, 3);
  for_each_run([&](const std::string& run) {
    const Tensor wide = Tensor::full({5, 9}, 7, DType::f32, cuda_device), host = Tensor::full({5, 9}, 7);
    wide.columns(1, 4).copy_from(x.to(cuda_device).columns(3, 6)), host.columns(1, 4).copy_from(x.columns(3, 6));
    kernels::fill.on(cuda_device)(wide.columns(7, 9), -2), kernels::fill.on({})(host.columns(7, 9), -2);
    EXPECT_TRUE(bytes_of(wide) == bytes_of(host)) << run;
  });
}

TEST_F(SameAsCpu, RandomNumbers) {
  const RandomKey key{.seed = 17, .purpose = "test", .step = 3, .sample = 5};
  for (const int64_t count : {1, 3, 4, 1023, 5000}) {
    const Tensor host = Tensor::empty({count});
    kernels::fill_uniform.on({})(host, -2, 5, key);
    for_each_run([&](const std::string& run) {
      const Tensor device = Tensor::empty({count}, DType::f32, cuda_device);
      kernels::fill_uniform.on(cuda_device)(device, -2, 5, key);
      EXPECT_TRUE(bytes_of(device) == bytes_of(host)) << count << ", " << run;
    });
    kernels::fill_normal.on({})(host, 0, 1, key);
    for_each_run([&](const std::string& run) {
      Tensor device = Tensor::empty({count}, DType::f32, cuda_device);
      kernels::fill_normal.on(cuda_device)(device, 0, 1, key);
      device = device.to(Device{});
      for (int64_t i = 0; i < count; ++i) {
        const float a = host.data<float>()[i], b = device.data<float>()[i];
        EXPECT_LE(std::abs(a - b), 2 * std::abs(std::nextafter(a, 10.f) - a)) << i << ", " << run;
      }
    });
  }
}

// Sums of many blocks, and rows too wide for the registers of a warp.
TEST_F(SameAsCpu, LargeSumsAndWideRows) {
  const Tensor x = uniform({331, 97}, 5), wide = uniform({3, 1500}, 6, -2, 3), weight = uniform({1500}, 7),
               bias = uniform({1500}, 8);
  const auto sum_of = [](const Tensor& t) {
    const Tensor out = Tensor::empty({}, DType::f64, t.device());
    kernels::sum.on(t.device())(out, t);
    return out.item();
  };
  const auto norm_of = [&](Device device) {
    const Tensor y = Tensor::empty(wide.shape(), DType::f32, device), stats = Tensor::empty({3, 2}, DType::f32, device);
    const Tensor dx = empty_like(y), dw = Tensor::empty({1500}, DType::f32, device), db = empty_like(dw);
    kernels::layer_norm_forward.on(device)(y, stats, wide.to(device), weight.to(device), bias.to(device), 1e-5);
    kernels::layer_norm_backward.on(device)(dx, dw, db, y, wide.to(device), stats, weight.to(device));
    return std::array{y, stats, dx, dw, db};
  };
  const auto host = norm_of({});
  for_each_run([&](const std::string& run) {
    EXPECT_NEAR(sum_of(x.to(cuda_device)), sum_of(x), 1e-9) << run;
    EXPECT_NEAR(sum_of(x.to(cuda_device).columns(3, 90)), sum_of(x.columns(3, 90)), 1e-9) << run;
    const auto device = norm_of(cuda_device);
    for (size_t i = 0; i < host.size(); ++i) EXPECT_LE(relative_l2(device[i].to(Device{}), host[i]), 2e-6) << i << ", " << run;
  });
}

// Both gradients in 16 bits, with pitched rows everywhere.
TEST_F(SameAsCpu, GradientsOfConvolutionsInSixteenBits) {
  const auto options = kernels::ConvOptions{2, 0, 1, 1, 2};
  for (const auto& [dtype, tolerance] : {std::pair{DType::bf16, 0.004}, std::pair{DType::f16, 0.0005}}) {
    const Tensor x = uniform({2, 7, 8, 5}, 1).to(dtype), w = uniform({6, 3, 3, 5}, 2).to(dtype),
                 dy = uniform({2, 3, 5, 6}, 3).to(dtype);
    const auto gradients = [&, type = dtype](Device device) {
      const Tensor dx = pitched(Tensor::zeros(x.shape(), type, device)), dw = Tensor::empty(w.shape(), type, device);
      const Tensor db = Tensor::empty({6}, type, device), dy_there = pitched(dy.to(device));
      kernels::conv2d_backward_data.on(device)(dx, dy_there, w.to(device), options);
      kernels::conv2d_backward_weight.on(device)(dw, db, dy_there, pitched(x.to(device)), options);
      return std::array{dx, dw, db};
    };
    const auto host = gradients({});
    for_each_run([&, limit = tolerance](const std::string& run) {
      const auto device = gradients(cuda_device);
      for (size_t i = 0; i < host.size(); ++i)
        EXPECT_LE(relative_l2(device[i].to(Device{}), host[i]), limit) << i << ", " << run;
    });
  }
}

// In strips of some pixels, the last with fewer; four channels move at once, three one by one.
TEST_F(SameAsCpu, WeightGradientsInStrips) {
  for (const auto& [channels, options] : {std::pair{3, kernels::ConvOptions{2, 0, 1, 1, 2}},
                                          {4, kernels::ConvOptions{1, 1, 1, 0, 2, 2}},
                                          {8, kernels::ConvOptions::same(3)}}) {
    const int64_t height = (6 * options.enlarge + options.top + options.bottom - 3) / options.stride + 1,
                  width = (7 * options.enlarge + options.left + options.right - 3) / options.stride + 1;
    const Tensor x = uniform({2, 6, 7, channels}, 1), dy = uniform({2, height, width, 5}, 2);
    const Tensor exact = Tensor::empty({5, 3, 3, channels}, DType::f32);
    kernels::conv2d_backward_weight.on({})(exact, {}, dy, x, options);
    for_each_run([&, c = channels, o = options](const std::string& run) {
      const Tensor dw = Tensor::empty(exact.shape(), DType::f32, cuda_device);
      cuda::weight_gradient_in_strips(dw, pitched(dy.to(cuda_device)), pitched(x.to(cuda_device)), o, 11 * 9 * c * 4);
      EXPECT_LE(relative_l2(dw.to(Device{}), exact), 1e-6) << c << " channels, " << run;
    });
  }
}

TEST_F(SameAsCpu, WeightGradientsOfManyPixels) {
  const kernels::ConvOptions options = kernels::ConvOptions::same(3);
  const Tensor x = uniform({1, 129, 128, 4}, 1), dy = uniform({1, 129, 128, 16}, 2);
  const auto gradient = [&](Device device, const Tensor& dw) {
    kernels::conv2d_backward_weight.on(device)(dw, {}, dy.to(device), x.to(device), options);
    return dw.to(Device{});
  };
  const Tensor exact = gradient({}, Tensor::empty({16, 3, 3, 4}, DType::f32));
  for_each_run([&](const std::string& run) {
    const Tensor dw = Tensor::empty(exact.shape(), DType::f32, cuda_device);
    EXPECT_TRUE(cuda::strips_suit(dw, dy.to(cuda_device)));
    EXPECT_LE(relative_l2(gradient(cuda_device, dw), exact), 1e-6) << run;
  });
}

TEST_F(SameAsCpu, ConvolutionsOntoTheirResidual) {
  const Tensor x = uniform({2, 4, 5, 3}, 1), w = uniform({5, 3, 3, 3}, 2), bias = uniform({5}, 3),
               residual = uniform({2, 4, 5, 5}, 4);
  for (const Activation act : {Activation{}, silu_activation}) {
    const auto onto = [&](Device device) {
      const Tensor y = pitched(residual.to(device));
      kernels::conv2d_forward.on(device)(y, x.to(device), w.to(device), bias.to(device), kernels::ConvOptions::same(3),
                                         {act, y});
      return y.to(Device{});
    };
    const Tensor host = onto({});
    for_each_run([&](const std::string& run) { EXPECT_LE(relative_l2(onto(cuda_device), host), 1e-6) << run; });
  }
}

// Padding below zero: rows of the enlarged map are left out above, below, or on both sides.
TEST_F(SameAsCpu, ConvolutionsOfAPartOfTheMap) {
  const Tensor x = uniform({1, 4, 5, 3}, 1), w = uniform({5, 3, 3, 3}, 2);
  for (const auto& [top, bottom] : {std::pair{-1, -1}, std::pair{1, -1}, std::pair{-1, 1}}) {
    const auto part = [&, top = top, bottom = bottom](Device device) {
      const Tensor y = Tensor::empty({1, 8 + top + bottom - 2, 10, 5}, DType::f32, device);
      kernels::conv2d_forward.on(device)(y, x.to(device), w.to(device), {}, {1, top, 1, bottom, 1, 2}, {});
      return y.to(Device{});
    };
    const Tensor host = part({});
    for_each_run([&](const std::string& run) {
      EXPECT_LE(relative_l2(part(cuda_device), host), 1e-6) << top << ", " << bottom << ", " << run;
    });
  }
}

TEST_F(SameAsCpu, NoSamplesGiveGradientsOfZero) {
  const Tensor none = Tensor::empty({0, 4, 4, 3}, DType::f32, cuda_device),
               dy = Tensor::empty({0, 4, 4, 2}, DType::f32, cuda_device);
  const Tensor dw = Tensor::full({2, 3, 3, 3}, 7, DType::f32, cuda_device), db = Tensor::full({2}, 7, DType::f32, cuda_device);
  kernels::conv2d_backward_data.on(cuda_device)(none, dy, dw, kernels::ConvOptions::same(3));
  kernels::conv2d_backward_weight.on(cuda_device)(dw, db, dy, none, kernels::ConvOptions::same(3));
  EXPECT_TRUE(bytes_of(dw) == bytes_of(Tensor::zeros(dw.shape())) && bytes_of(db) == bytes_of(Tensor::zeros({2})));
}

}  // namespace
}  // namespace relume::test
