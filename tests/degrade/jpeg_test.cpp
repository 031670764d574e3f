#include "degrade/jpeg.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "data/convert.h"
#include "data/jpeg.h"

namespace relume {
namespace {

Tensor waves(int64_t height, int64_t width) {
  Tensor t = Tensor::empty({height, width, 3});
  for (int64_t i = 0; i < t.numel(); ++i) t.data<float>()[i] = float(0.5 + 0.7 * std::sin(0.05 * double(i)));  // leaves [0, 1]
  return t;
}

TEST(Jpeg, IsTheCodecOnRoundedLevels) {
  const Tensor x = waves(19, 33);
  const Tensor result = add_jpeg(x, 40), direct = decode_jpeg(encode_jpeg(to_u8_rounded(x), 40));
  ASSERT_EQ(result.shape(), x.shape());
  for (int64_t i = 0; i < x.numel(); ++i) ASSERT_EQ(result.data<float>()[i], float(direct.data<uint8_t>()[i]) / 255);
}

TEST(Jpeg, ErrorFallsWithQuality) {
  const Tensor x = waves(48, 48);
  double last = 1e9;
  for (const int quality : {5, 30, 70, 100}) {
    const Tensor y = add_jpeg(x, quality);
    double error = 0;
    for (int64_t i = 0; i < x.numel(); ++i)
      error += std::pow(y.data<float>()[i] - std::clamp(x.data<float>()[i], 0.0f, 1.0f), 2);
    EXPECT_LT(error, last) << quality;
    last = error;
  }
}

TEST(Jpeg, RefusesImpossibleQualities) {
  EXPECT_THROW(add_jpeg(waves(8, 8), 0), InputError);
  EXPECT_THROW(add_jpeg(waves(8, 8), 101), InputError);
}

}  // namespace
}  // namespace relume
