#include "models/scunet.h"

#include <gtest/gtest.h>

#include "autograd/resample.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

SCUNetConfig small() { return {.config = {2, 0, 0, 1, 0, 0, 1}}; }

TEST(SCUNet, PadsPicturesByRepeatingTheirBorder) {
  const SCUNet network(small());
  network.initialise(1);
  const NoGrad no_grad;
  const Tensor x = uniform({1, 50, 70, 3}, 1, 0, 1);
  const Tensor y = network(x), whole = network(pad(x, 0, 0, 14, 58, Border::replicate));
  ASSERT_EQ(y.shape(), x.shape());
  EXPECT_TRUE(same_bits(y, pad(whole, 0, 0, -14, -58, Border::zero)));
}

// Pixels that a shift brought together from opposite borders do not see each other.
TEST(SCUNet, ShiftedWindowsEndAtTheBorder) {
  const ConvTransBlock block(nullptr, "", 64, 4);
  init_parameters(block, 1);
  const NoGrad no_grad;
  const Tensor x = uniform({1, 16, 16, 64}, 1), changed = x.clone();
  changed.slice(0, 1).reshape({16, 1024}).slice(15, 16).copy_from(uniform({1, 1024}, 2));
  const auto first_row = [&](const Tensor& t) { return block(t).reshape({16, 1024}).slice(0, 1).clone(); };
  EXPECT_TRUE(same_bits(first_row(x), first_row(changed)));
}

TEST(SCUNet, RefusesWhatItCannotDo) {
  EXPECT_HAS(input_error([] { SCUNet{SCUNetConfig{.config = {1, 2}}}; }), "config has 2 entries");
  EXPECT_HAS(input_error([] { SCUNet{SCUNetConfig{.dim = 96}}; }), "dim 96 is no multiple of 64");
  const SCUNet network(small());
  EXPECT_HAS(input_error([&] { network(Tensor::zeros({1, 8, 8, 1})); }), "expected [N, H, W, 3]");
}

}  // namespace
}  // namespace relume::test
