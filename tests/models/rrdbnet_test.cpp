#include "models/rrdbnet.h"

#include <gtest/gtest.h>

#include "autograd/elementwise.h"
#include "layers/init.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

RRDBNetConfig small(int sf) { return {.nf = 8, .nb = 2, .gc = 4, .sf = sf}; }

TEST(RRDBNet, EnlargesPicturesOfAnySize) {
  const NoGrad no_grad;
  for (const int sf : {2, 4}) {
    const RRDBNet network(small(sf));
    network.initialise(1);
    EXPECT_EQ(network(uniform({2, 5, 7, 3}, 1, 0, 1)).shape(), (Shape{2, 5 * sf, 7 * sf, 3}));
  }
}

// Its dense blocks are the identity then, and 0.2 of them is added to what it is given.
TEST(RRDBNet, ABlockWithoutWeightsAddsAFifth) {
  const RRDB block(nullptr, "", 8, 4);
  for (const NamedTensor& p : block.parameters()) init_constant(p.tensor, 0);
  const NoGrad no_grad;
  const Tensor x = uniform({1, 6, 5, 8}, 1);
  EXPECT_TRUE(same_bits(block(x), add(x, scale(x, 0.2))));
}

// The last convolution's bias alone: 0.2 of it leaves a dense block, and 0.2 of three of these an RRDB.
TEST(RRDBNet, ResidualBranchesAreScaled) {
  const RRDB block(nullptr, "", 2, 1);
  for (const NamedTensor& p : block.parameters()) init_constant(p.tensor, p.name.ends_with("conv5.bias") ? 1 : 0);
  const NoGrad no_grad;
  const Tensor y = block(Tensor::zeros({1, 1, 1, 2}));
  EXPECT_NEAR(y.data<float>()[0], 0.2 * 3 * 0.2, 1e-6);
}

TEST(RRDBNet, RefusesWhatItCannotDo) {
  EXPECT_HAS(input_error([] { RRDBNet{small(3)}; }), "sf 3 given, expected 2 or 4");
  const RRDBNet network(small(2));
  EXPECT_HAS(input_error([&] { network(Tensor::zeros({1, 4, 4, 4})); }), "expected [N, H, W, 3]");
}

}  // namespace
}  // namespace relume::test
