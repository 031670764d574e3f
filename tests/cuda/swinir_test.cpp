// SwinIR on the device: values, losses and gradients against the CPU's.
#include "models/swinir.h"

#include <gtest/gtest.h>

#include "autograd/reduce.h"
#include "layers/drop_path.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"
#include "tests/support/parameters.h"
#include "tests/support/small_network.h"
#include "train/stage1_config.h"

namespace relume::test {
namespace {

class CudaSwinIR : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
};

struct Pass {
  Tensor y;
  double loss = 0;
  std::vector<NamedTensor> gradients;
};

// One training pass, stochastic depth included, of a network with the numbers that the CPU draws.
Pass pass_on(Device device, const SwinIRConfig& config, bool checkpointing) {
  const SwinIR drawn(config);
  drawn.initialise(3);
  SwinIR network(config, device);
  copy_parameters(drawn, network);
  network.set_training(true);
  network.set_activation_checkpointing(checkpointing);
  network.set_drop_path([device](int branch, double probability, int64_t samples) {
    return drop_path_scale({.seed = 7}, branch, probability, samples, device);
  });
  const Tensor y = network(uniform({2, 16, 24, 3}, 1, 0, 1).to(device));
  const Tensor loss = sum_squared_error(y, uniform({2, 16, 24, 3}, 2, 0, 1).to(device));
  backward(loss);
  Pass pass{.y = y.detach().to(Device{}), .loss = loss.item(), .gradients = {}};
  for (const NamedTensor& p : network.parameters()) pass.gradients.push_back({p.name, grad(p.tensor).to(Device{})});
  return pass;
}

void expect_as_on_the_cpu(const SwinIRConfig& config, bool checkpointing) {
  const Pass host = pass_on({}, config, checkpointing);
  for_each_run([&](const std::string& run) {
    const Pass device = pass_on(cuda_device, config, checkpointing);
    EXPECT_LE(relative_l2(device.y, host.y), 1e-6) << run;
    EXPECT_NEAR(device.loss / host.loss, 1, 1e-6) << run;
    for (size_t i = 0; i < host.gradients.size(); ++i)
      EXPECT_LE(relative_l2(device.gradients[i].tensor, host.gradients[i].tensor), 2e-5)
          << host.gradients[i].name << ", " << run;
  });
}

TEST_F(CudaSwinIR, LearnsAsOnTheCpu) {
  SwinIRConfig config = small_network();
  config.zero_last = false;
  config.drop_path_rate = 0.5;
  expect_as_on_the_cpu(config, false);
  expect_as_on_the_cpu(config, true);
}

TEST_F(CudaSwinIR, OfTheMiniConfigurationLearnsAsOnTheCpu) {
  SwinIRConfig config = read_config<Stage1Config>(source_folder() / "configs/mini/stage1.yaml").model;
  config.zero_last = false;
  expect_as_on_the_cpu(config, false);
}

// What follows from a configuration alone: the same numbers on every device, normals within the CPU's last digits.
TEST_F(CudaSwinIR, BeginsWithTheNumbersOfTheCpu) {
  const SwinIR host(small_network()), device(small_network(), cuda_device);
  host.initialise(5);
  device.initialise(5);
  const std::vector<NamedTensor> expected = stored_state(host), found = stored_state(device);
  ASSERT_EQ(found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].name, expected[i].name);
    EXPECT_EQ(found[i].tensor.device(), Device{});
    const auto as_double = [](const Tensor& t) { return t.to(DType::f64); };
    EXPECT_LE(relative_l2(as_double(found[i].tensor), as_double(expected[i].tensor)), 1e-7) << found[i].name;
  }
}

}  // namespace
}  // namespace relume::test
