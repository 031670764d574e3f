// The slots for degrading pictures on the device against those of the CPU: awkward sizes, kernels larger than the picture, one
// kernel for all and one each, some rows, all qualities, grey and colour noise.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <sstream>

#include "tensor/cuda/context.h"
#include "tensor/kernels/picture.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

using kernels::SimulatedJpegOptions;

class CudaPictures : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

using Compare = std::function<void(const Tensor& found, const Tensor& expected, const std::string& what)>;

void expect_bits(const Tensor& found, const Tensor& expected, const std::string& what) {
  EXPECT_TRUE(same_bits(found, expected)) << what << ": differs by " << largest_difference(found, expected);
}
void expect_near(const Tensor& found, const Tensor& expected, const std::string& what) {
  EXPECT_LE(relative_l2(found, expected), 2e-6) << what;
}

// Calls run(device) for tensors on the CPU and in every way on the device; compares, and expects the same bits in every run.
void expect_same(const std::string& what, const Compare& compare, const std::function<std::vector<Tensor>(Device)>& run) {
  const std::vector<Tensor> expected = run({});
  std::vector<Tensor> first;
  for_each_run([&](const std::string& name) {
    const int64_t waits = cuda::host_waits();
    std::vector<Tensor> found = run(cuda_device);
    EXPECT_EQ(cuda::host_waits(), waits) << what << ": the host waited for the device, " << name;
    for (Tensor& t : found) t = t.to(Device{});
    for (size_t i = 0; i < expected.size(); ++i) {
      compare(found[i], expected[i], what + ", result " + std::to_string(i) + ", " + name);
      if (!first.empty()) expect_bits(found[i], first[i], what + ": other bits than in the first run, " + name);
    }
    if (first.empty()) first = found;
  });
}

std::string name_of(const Shape& shape) {
  std::ostringstream out;
  out << shape;
  return out.str();
}

const std::vector<Shape>& picture_shapes() {
  static const std::vector<Shape> shapes{{1, 1, 1, 3}, {2, 1, 7, 1},   {3, 13, 17, 3},
                                         {2, 5, 3, 2}, {1, 31, 67, 4}, {1, 3, 5, 70}};
  return shapes;
}

TEST_F(CudaPictures, PointwiseSlots) {
  for (const Shape& shape : picture_shapes()) {
    const Tensor x = uniform(shape, 1, -0.2, 1.2), blurred = uniform(shape, 2, -0.2, 1.2), soft = uniform(shape, 3, 0, 1);
    const Tensor halves = uniform(shape, 4, -3, 260);  // levels, and what lies between two of them
    for (int64_t i = 0; i < halves.numel(); ++i) halves.data<float>()[i] = std::round(2 * halves.data<float>()[i]) / 510;
    expect_same(name_of(shape), expect_bits, [&](Device device) {
      const auto result = [&](auto&& slot, const Tensor& of, auto... rest) {
        const Tensor y = Tensor::empty(shape, DType::f32, device);
        slot.on(device)(y, of.to(device), rest...);
        return y;
      };
      return std::vector{result(kernels::round_to_levels, x), result(kernels::round_to_levels, halves),
                         result(kernels::clamp_to_unit, x), result(kernels::sharpen_mask, x, blurred.to(device), 100.0f),
                         result(kernels::sharpen_blend, x, blurred.to(device), soft.to(device), 0.7f)};
    });
  }
}

TEST_F(CudaPictures, AddedNoise) {
  for (const Shape& shape : picture_shapes())
    for (const int64_t channels : {int64_t(1), shape[3]})
      for (const bool clip : {false, true}) {
        const Tensor x = uniform(shape, 1, 0, 1), noise = uniform({shape[0], shape[1], shape[2], channels}, 2);
        const Tensor scale = uniform({shape[0]}, 3, 0.2, 0.9);
        expect_same(name_of(shape) + ", " + std::to_string(channels) + " channels", expect_near, [&](Device device) {
          const Tensor y = Tensor::empty(shape, DType::f32, device);
          kernels::add_noise.on(device)(y, x.to(device), noise.to(device), scale.to(device), clip);
          return std::vector{y};
        });
      }
}

TEST_F(CudaPictures, ShotNoise) {
  const std::array<float, 3> luma_weights{0.299f, 0.587f, 0.114f};
  for (const Shape& shape : picture_shapes())
    for (const int64_t channels : {int64_t(1), shape[3]}) {
      if (channels != shape[3] && shape[3] != 3) continue;  // luma is that of three channels
      const Shape noise_shape{shape[0], shape[1], shape[2], channels};
      const Tensor x = uniform(shape, 1, -0.1, 1.1), counts = uniform(noise_shape, 2, 0, 200);
      for (int64_t i = 0; i < counts.numel(); ++i) counts.data<float>()[i] = std::round(counts.data<float>()[i]);
      kernels::round_to_levels.on({})(x.slice(0, 1), uniform({1, shape[1], shape[2], shape[3]}, 3, 0.2, 0.21));  // few levels
      std::vector<RandomKey> keys;
      for (int64_t n = 0; n < shape[0]; ++n)
        keys.push_back({.seed = 7, .purpose = "test", .step = 5, .sample = uint32_t(3 * n)});
      expect_same(name_of(shape) + ", " + std::to_string(channels) + " channels", expect_bits, [&](Device device) {
        const Tensor drawn = Tensor::empty(noise_shape, DType::f32, device), given = empty_like(drawn);
        kernels::poisson_noise.on(device)(drawn, x.to(device), {}, keys, luma_weights);
        kernels::poisson_noise.on(device)(given, x.to(device), counts.to(device), {}, luma_weights);
        return std::vector{drawn, given};
      });
    }
}

// Every grey level, so that the rates reach 256.
TEST_F(CudaPictures, ShotNoiseOfEveryLevel) {
  const Tensor x = Tensor::empty({1, 16, 64, 1}), noise = empty_like(x);
  for (int64_t i = 0; i < x.numel(); ++i) x.data<float>()[i] = float(i % 256) / 255;
  const RandomKey key{.seed = 3, .purpose = "test"};
  expect_same("256 levels", expect_bits, [&](Device device) {
    const Tensor drawn = Tensor::empty(x.shape(), DType::f32, device);
    kernels::poisson_noise.on(device)(drawn, x.to(device), {}, {&key, 1}, {});
    return std::vector{drawn};
  });
}

// ---- Filters --------------------------------------------------------------------------------------------------------------

void expect_same_filters(const Shape& shape, const Shape& kernel, bool one_each, const std::vector<int64_t>& rows) {
  const int64_t kernels_given = one_each ? shape[0] : 1;
  const Tensor x = uniform(shape, 1, 0, 1), weights = uniform({kernels_given, kernel[0], kernel[1]}, 2, -0.2, 1);
  const Tensor column = uniform({kernels_given, kernel[0]}, 3, -0.2, 1), row = uniform({kernels_given, kernel[1]}, 4, -0.2, 1);
  const std::string what = name_of(shape) + ", kernels " + name_of(weights.shape()) + ", rows " + std::to_string(rows.size());
  expect_same(what, expect_near, [&](Device device) {
    const Tensor y = Tensor::full(shape, 0, DType::f32, device), separable = Tensor::full(shape, 0, DType::f32, device);
    kernels::correlate.on(device)(y, x.to(device), weights.to(device), rows);
    kernels::correlate_separable.on(device)(separable, x.to(device), column.to(device), row.to(device), rows);
    return std::vector{y, separable};
  });
}

TEST_F(CudaPictures, FiltersOfAwkwardSizes) {
  for (const Shape& shape : picture_shapes())
    for (const Shape& kernel : {Shape{1, 1}, Shape{3, 3}, Shape{1, 7}, Shape{8, 5}, Shape{21, 21}})
      expect_same_filters(shape, kernel, kernel[0] != 3, {});
}

// Kernels with more columns than are staged at once, rows of more than one tile.
TEST_F(CudaPictures, LargeFilters) {
  expect_same_filters({1, 9, 140, 1}, {6, 141}, false, {});
  expect_same_filters({2, 10, 61, 3}, {41, 41}, true, {});
}

TEST_F(CudaPictures, FiltersOfSomeRows) {
  for (const std::vector<int64_t>& rows : {std::vector<int64_t>{0, 3, 4, 5, 6, 7, 9, 12}, {12}, {0, 1, 2, 3, 8, 9, 10, 11}})
    expect_same_filters({2, 13, 17, 3}, {7, 5}, true, rows);
}

kernels::ResampleAxis axis_of(int64_t in, int64_t out, int64_t taps, uint64_t seed) {
  const kernels::ResampleAxis axis{Tensor::empty({out, taps}, DType::i32), uniform({out, taps}, seed, -0.2, 1)};
  for (int64_t i = 0; i < out; ++i)
    for (int64_t t = 0; t < taps; ++t) axis.index.data<int32_t>()[i * taps + t] = int32_t(std::min(in - 1, i * in / out + t));
  return axis;
}

TEST_F(CudaPictures, Resampling) {
  for (const Shape& shape : picture_shapes())
    for (const auto& [height, width, taps] : {std::array<int64_t, 3>{1, 1, 1}, {7, 5, 2}, {19, 40, 4}, {2, 29, 7}}) {
      const kernels::ResampleAxis rows = axis_of(shape[1], height, taps, 1), columns = axis_of(shape[2], width, taps, 2);
      const Tensor x = uniform(shape, 3, 0, 1), y = Tensor::empty({shape[0], height, width, shape[3]});
      expect_same(name_of(shape) + " to " + name_of(y.shape()), expect_near, [&](Device device) {
        const Tensor out = Tensor::empty(y.shape(), DType::f32, device);
        kernels::resample.on(device)(out, x.to(device), {rows.index.to(device), rows.weight.to(device)},
                                     {columns.index.to(device), columns.weight.to(device)});
        return std::vector{out};
      });
    }
}

// ---- Simulated JPEG -------------------------------------------------------------------------------------------------------

// Where a quotient lies between two whole numbers, either may come out: a few blocks may differ then.
Compare expect_near_but_for_ties(double tolerance) {
  return [tolerance](const Tensor& found, const Tensor& expected, const std::string& what) {
    const int64_t height = expected.shape(1), width = expected.shape(2);
    const int64_t across = (width + 15) / 16, down = (height + 15) / 16;
    std::vector<double> error(size_t(expected.shape(0) * across * down));
    for (int64_t i = 0; i < expected.numel(); ++i) {
      const int64_t row = i / 3 / width, column = i / 3 % width;
      double& largest = error[size_t((row / height * down + row % height / 16) * across + column / 16)];
      const double difference = std::abs(double(found.data<float>()[i]) - double(expected.data<float>()[i]));
      largest = difference <= largest ? largest : difference;  // NaN is the largest
    }
    const auto wrong = std::ranges::count_if(error, [&](double e) { return !(e <= tolerance); });
    EXPECT_LE(wrong, 1) << what << ": of " << error.size() << " squares, largest error " << *std::ranges::max_element(error);
  };
}
void expect_equal_but_for_ties(const Tensor& found, const Tensor& expected, const std::string& what) {
  int64_t different = 0;
  for (int64_t i = 0; i < expected.numel(); ++i) different += found.data<float>()[i] != expected.data<float>()[i];
  EXPECT_LE(different, 1) << what;
  EXPECT_LE(largest_difference(found, expected), 1) << what;
}

const std::vector<Shape>& jpeg_shapes() {
  static const std::vector<Shape> shapes{{3, 1, 1, 3}, {3, 16, 16, 3}, {3, 37, 53, 3}, {3, 15, 97, 3}};
  return shapes;
}

TEST_F(CudaPictures, SimulatedJpeg) {
  for (const Shape& shape : jpeg_shapes())
    for (const SimulatedJpegOptions& options : {SimulatedJpegOptions{}, {false, false}, {true, true}}) {
      const Tensor x = uniform(shape, 1, -0.1, 1.1), quality = Tensor::of<float>({3}, {1, 50, 100});
      expect_same(name_of(shape), expect_near_but_for_ties(2e-6), [&](Device device) {
        const Tensor y = Tensor::empty(shape, DType::f32, device);
        kernels::simulated_jpeg_forward.on(device)(y, x.to(device), quality.to(device), options);
        return std::vector{y};
      });
    }
}

TEST_F(CudaPictures, SimulatedJpegGradient) {
  const SimulatedJpegOptions options{.differentiable = true};
  for (const Shape& shape : jpeg_shapes()) {
    const Tensor x = uniform(shape, 1, -0.1, 1.1), dy = uniform(shape, 2), quality = Tensor::of<float>({3}, {1, 50, 100});
    expect_same(name_of(shape), expect_near_but_for_ties(2e-5), [&](Device device) {
      const Tensor dx = Tensor::empty(shape, DType::f32, device);
      kernels::simulated_jpeg_backward.on(device)(dx, dy.to(device), x.to(device), quality.to(device), options);
      return std::vector{dx};
    });
  }
}

TEST_F(CudaPictures, SimulatedJpegCoefficients) {
  for (const Shape& shape : jpeg_shapes())
    for (const bool transposed : {false, true}) {
      const Tensor x = uniform(shape, 1, -0.1, 1.1), quality = Tensor::of<float>({3}, {1, 50, 97});
      const int64_t squares = (shape[1] + 15) / 16 * ((shape[2] + 15) / 16);
      expect_same(name_of(shape), expect_equal_but_for_ties, [&](Device device) {
        const auto blocks = [&](int64_t count) { return Tensor::empty({3, count, 8, 8}, DType::f32, device); };
        const Tensor luma = blocks(4 * squares), cb = blocks(squares), cr = blocks(squares);
        kernels::simulated_jpeg_coefficients.on(device)(luma, cb, cr, x.to(device), quality.to(device), {transposed, false});
        return std::vector{luma, cb, cr};
      });
    }
}

}  // namespace
}  // namespace relume::test
