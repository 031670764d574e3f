// The autoencoder in strips on the device against the CPU's whole.
#include "models/autoencoder_strips.h"

#include <gtest/gtest.h>

#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"
#include "tests/support/parameters.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

TEST(CudaAutoencoderStrips, AreTheWholeOfTheCpu) {
  if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  const NoGrad no_grad;
  const AutoencoderConfig config{.ch = 32, .ch_mult = {1, 2}, .num_res_blocks = 1};
  const AutoencoderKL host(config), device(config, cuda_device);
  randomise(host, 3);
  copy_parameters(host, device);
  const Tensor picture = uniform({1, 18, 10, 3}, 1), latents = uniform({1, 9, 5, 4}, 2);
  const Tensor encoded = host.encoder(picture), decoded = host.decoder(latents);
  for_each_run([&](const std::string& run) {
    const auto in_strips = [](const AutoencoderSteps& steps, const Tensor& x) {
      return run_in_strips(steps, x.to(cuda_device), 1).to(Device{});
    };
    EXPECT_LE(relative_l2(in_strips(device.encoder.steps(), picture), encoded), 3e-6) << run;
    EXPECT_LE(relative_l2(in_strips(device.decoder.steps(), latents), decoded), 3e-6) << run;
  });
}

// The checks of the operations are not on this way: the kernels' own is.
TEST(CudaAutoencoderStrips, APictureThatLiesElsewhereIsRefused) {
  if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  const AutoencoderKL device({.ch = 32, .ch_mult = {1, 2}, .num_res_blocks = 1}, cuda_device);
  try {
    run_in_strips(device.encoder.steps(), uniform({1, 18, 10, 3}, 1), 1);
    FAIL() << "a kernel of the CPU was given weights of the device";
  } catch (const InputError& e) {
    EXPECT_NE(std::string(e.what()).find("is given to cpu; move it there with to()"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace relume::test
