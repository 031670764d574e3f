// A training of stage one on the device, and one that changes the device on its way, against the CPU's.
#include "train/stage1.h"

#include <gtest/gtest.h>

#include "data/checkpoint/safetensors.h"
#include "tensor/cuda/context.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_training.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class CudaStage1 : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_device(); !why.empty()) GTEST_SKIP() << why;
    write_pictures(folder_ / "pictures", 3);
    write_pictures(folder_ / "held_out", 1, 100);
    config_ = small_training(folder_.path());
    config_.model.zero_last = false;
    config_.model.drop_path_rate = 0.3;
    config_.data.validation = (folder_ / "held_out").string();
    config_.train.steps = 4;
    config_.train.accumulate = 2;
    config_.train.clip_norm = 5;
    config_.train.ema_decay = 0.5;
    config_.train.log_every = 1;
    config_.train.image_every = 2;
    config_.train.validate_every = 4;
    config_.train.state_every = 2;
  }
  TrainingResult train(const std::string& output, Device device, int64_t steps, const std::string& resume = "none") const {
    Stage1Config config = config_;
    config.output = (folder_ / output).string();
    config.train.steps = steps;
    return train_stage1(config, resume, device);
  }
  // How far the tensors of a file are from those of the CPU's run, in the worst case.
  double worst_difference(const fs::path& file, const fs::path& of_cpu) const {
    const SafetensorsFile ours(file), theirs(of_cpu);
    EXPECT_EQ(ours.tensors().size(), theirs.tensors().size());
    double worst = 0;
    for (const TensorInfo& t : theirs.tensors())
      if (is_float(t.dtype)) worst = std::max(worst, relative_l2(ours.read(t.name), theirs.read(t.name)));
    return worst;
  }
  TemporaryFolder folder_;
  Stage1Config config_;
};

// Weights move by a hundredth of their size in these steps, biases that begin at zero by all of it.
constexpr double close_weights = 1e-4;

TEST_F(CudaStage1, LearnsAsOnTheCpu) {
  const TrainingResult host = train("host", {}, 4), device = train("device", cuda_device, 4);
  ASSERT_EQ(host.loss.size(), 4u);
  ASSERT_EQ(device.loss.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(device.loss[i].second / host.loss[i].second, 1, 1e-5) << i;
  EXPECT_NEAR(device.validation.at("psnr").back().second, host.validation.at("psnr").back().second, 1e-3);
  EXPECT_LE(worst_difference(device.weights, host.weights), close_weights);
}

// Two more steps are two more waits: for the figures at the end of each.
TEST_F(CudaStage1, AStepWaitsForTheDeviceOnce) {
  config_.train.image_every = 0, config_.train.validate_every = 100, config_.train.state_every = 0;
  const auto waits = [&](int64_t steps) {
    const int64_t before = cuda::host_waits();
    train("steps" + std::to_string(steps), cuda_device, steps);
    return cuda::host_waits() - before;
  };
  const int64_t few = waits(2);
  EXPECT_EQ(waits(4) - few, 2);
}

// In bf16 the loss has its relative error of some thousandths, and the weights, kept in f32, follow.
TEST_F(CudaStage1, LearnsInSixteenBits) {
  const TrainingResult exact = train("f32", cuda_device, 4);
  config_.train.precision = "bf16";
  config_.train.activation_checkpointing = true;
  const TrainingResult found = train("bf16", cuda_device, 4);
  ASSERT_EQ(found.loss.size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_NEAR(found.loss[i].second / exact.loss[i].second, 1, 0.01) << i;
  const double difference = worst_difference(found.weights, exact.weights);
  EXPECT_GT(difference, close_weights) << "computed in f32";
  EXPECT_LE(difference, 0.3);
}

TEST_F(CudaStage1, GoesOnOnAnotherDevice) {
  const fs::path host = train("host", {}, 4).weights;
  for (const auto& [name, before, after] :
       {std::tuple{"to the device", Device{}, cuda_device}, std::tuple{"to the CPU", cuda_device, Device{}}}) {
    train(name, before, 2);
    const TrainingResult resumed = train(name, after, 4, "auto");
    EXPECT_EQ(resumed.loss.front().first, 3) << name;
    EXPECT_LE(worst_difference(resumed.weights, host), close_weights) << name;
  }
}

TEST_F(CudaStage1, ResumesToTheSameBytes) {
  const std::string whole = read_file(train("whole", cuda_device, 4).weights);
  train("parts", cuda_device, 2);
  EXPECT_TRUE(read_file(train("parts", cuda_device, 4, "auto").weights) == whole);
}

}  // namespace
}  // namespace relume::test
