#include "models/autoencoder_strips.h"

#include <gtest/gtest.h>

#include "tests/support/numbers.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

// Blocks with and without a change of channels, attention within a level and in the middle.
AutoencoderConfig mixed() {
  return {.resolution = 64, .ch = 32, .ch_mult = {1, 2, 1}, .num_res_blocks = 1, .attn_resolutions = {16}};
}

class AutoencoderStripsTest : public testing::Test {
 protected:
  AutoencoderStripsTest() { randomise(vae_, 3); }

  // Strips of four rows, of some more, and of the whole map.
  static constexpr int64_t budgets[] = {1, 40 << 10, 150 << 10, strip_bytes};

  const AutoencoderKL vae_{mixed()};
  const NoGrad no_grad_;
};

TEST_F(AutoencoderStripsTest, EveryHeightOfStripsGivesTheWhole) {
  for (const Shape& shape : {Shape{1, 64, 48, 3}, Shape{2, 37, 52, 3}, Shape{1, 4, 7, 3}, Shape{1, 131, 36, 3}}) {
    const Tensor picture = uniform(shape, 1), whole = vae_.encoder(picture);
    for (const int64_t bytes : budgets)
      EXPECT_LE(relative_l2(run_in_strips(vae_.encoder.steps(), picture, bytes), whole), 3e-6) << shape << " in " << bytes;
  }
  for (const Shape& shape : {Shape{1, 16, 12, 4}, Shape{2, 9, 13, 4}, Shape{1, 1, 2, 4}, Shape{1, 33, 5, 4}}) {
    const Tensor latents = uniform(shape, 2), whole = vae_.decoder(latents);
    for (const int64_t bytes : budgets)
      EXPECT_LE(relative_l2(run_in_strips(vae_.decoder.steps(), latents, bytes), whole), 3e-6) << shape << " in " << bytes;
  }
}

// What is left in f32 is rounding: nothing of the mathematics differs.
TEST_F(AutoencoderStripsTest, ToThePrecisionOfDoubles) {
  const Tensor picture = uniform({1, 13, 8, 3}, 1, -1, 1, DType::f64), latents = uniform({1, 3, 2, 4}, 2, -1, 1, DType::f64);
  EXPECT_LE(relative_l2(run_in_strips(vae_.encoder.steps(), picture, 1), vae_.encoder(picture)), 1e-13);
  EXPECT_LE(relative_l2(run_in_strips(vae_.decoder.steps(), latents, 1), vae_.decoder(latents)), 1e-13);
}

TEST_F(AutoencoderStripsTest, SixteenBitsAreNoFurtherFromTheExactThanTheWhole) {
  const Tensor picture = uniform({1, 48, 40, 3}, 1), latents = uniform({1, 12, 10, 4}, 2);
  const Tensor encoded = vae_.encoder(picture), decoded = vae_.decoder(latents);
  for (const DType type : {DType::bf16, DType::f16}) {
    const auto error = [](const Tensor& found, const Tensor& exact) { return relative_l2(found.to(DType::f32), exact); };
    const Tensor p = picture.to(type), z = latents.to(type);
    EXPECT_LE(error(run_in_strips(vae_.encoder.steps(), p, 1), encoded), 1.1 * error(vae_.encoder(p), encoded)) << type;
    EXPECT_LE(error(run_in_strips(vae_.decoder.steps(), z, 1), decoded), 1.1 * error(vae_.decoder(z), decoded)) << type;
  }
}

TEST_F(AutoencoderStripsTest, WhatComesInStaysAsItIs) {
  const Tensor picture = uniform({1, 32, 32, 3}, 1), before = picture.clone();
  run_in_strips(vae_.encoder.steps(), picture, 1);
  EXPECT_TRUE(same_bits(picture, before));
}

// The bytes of tensors that f takes at most, beside those there are.
template <class F> int64_t tensor_bytes(F&& f) {
  Allocator& memory = allocator({});
  memory.reset_peak();
  const int64_t before = memory.peak_bytes(MemoryUse::tensor);
  f();
  return memory.peak_bytes(MemoryUse::tensor) - before;
}

// The same once weights are packed, which they are when f is called again.
template <class F> int64_t later_tensor_bytes(F&& f) {
  f(), f();
  return tensor_bytes(f);
}

TEST(AutoencoderStrips, TwoMapsAndAStripAreHeld) {
  const NoGrad no_grad;
  const AutoencoderKL vae({.ch = 32, .ch_mult = {1, 1, 1}, .num_res_blocks = 1});
  randomise(vae, 3);
  const int64_t map = 160 * 128 * 32 * int64_t(sizeof(float)), bytes = 1 << 18;
  const Tensor picture = uniform({1, 160, 128, 3}, 1), latents = uniform({1, 40, 32, 4}, 2);
  EXPECT_LE(later_tensor_bytes([&] { run_in_strips(vae.encoder.steps(), picture, bytes); }), 2 * map + 2 * bytes);
  EXPECT_LE(later_tensor_bytes([&] { run_in_strips(vae.decoder.steps(), latents, bytes); }), 2 * map + 2 * bytes);
  EXPECT_GE(later_tensor_bytes([&] { vae.decoder(latents); }), 4 * map) << "or the bound says nothing";
  // A batch holds no more but its results.
  const Tensor three = uniform({3, 40, 32, 4}, 2);
  EXPECT_LE(later_tensor_bytes([&] { run_in_strips(vae.decoder.steps(), three, bytes); }),
            2 * map + 2 * bytes + 3 * map * 3 / 32);
}

// Above the size of a strip; packed weights are less than the strip leaves of its bytes.
TEST(AutoencoderStrips, AreTakenByTheAutoencoderForLargeMaps) {
  const AutoencoderKL vae({.ch = 32, .ch_mult = {1, 1, 1, 1}, .num_res_blocks = 1});
  randomise(vae, 3);
  const Tensor latents = uniform({1, 65, 65, 4}, 2);
  const int64_t map = 520 * 520 * 32 * int64_t(sizeof(float));
  ASSERT_GT(map, strip_bytes);
  const NoGrad no_grad;
  EXPECT_LE(tensor_bytes([&] { vae.decode(latents); }), 2 * map + strip_bytes);
}

TEST(AutoencoderStrips, GradientsGoTheWholeWay) {
  const AutoencoderKL vae({.ch = 32, .ch_mult = {1}, .num_res_blocks = 1});
  randomise(vae, 3);
  const Tensor latents = require_grad(uniform({1, 9, 8, 4}, 2));
  backward(vae.decode(latents), uniform({1, 9, 8, 3}, 3));
  EXPECT_TRUE(grad(latents));
}

}  // namespace
}  // namespace relume::test
