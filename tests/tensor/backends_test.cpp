// What --device says, on machines that are not at hand.
#include "tensor/backends.h"

#include <gtest/gtest.h>

#include "tensor/kernels/matmul.h"
#include "tests/support/errors.h"

namespace relume::test {
namespace {

const Device cpu{}, first{DeviceKind::cuda, 0}, second{DeviceKind::cuda, 1};

const Gpus none{.found = {}, .obstacle = {"there is no driver", "install it"}};
const Gpus two{.found = {{.name = "old", .obstacle = {"the first is too old", "use a newer one"}}, {.name = "new"}}};
const Gpus one{.found = {{.name = "new"}}};

TEST(DeviceNamed, TakesTheFirstGpuThatCanBeUsed) {
  EXPECT_EQ(device_named("auto", one), first);
  EXPECT_EQ(device_named("cuda", one), first);
  EXPECT_EQ(device_named("auto", two), second);
  EXPECT_EQ(device_named("cuda", two), second);
  EXPECT_EQ(device_named("cuda:1", two), second);
}

TEST(DeviceNamed, TakesTheCpuWhereAskedOrWhereNothingElseIs) {
  EXPECT_EQ(device_named("cpu", one), cpu);
  EXPECT_EQ(device_named("auto", none), cpu);
  EXPECT_EQ(device_named("auto", {.found = {two.found[0]}}), cpu);
}

TEST(DeviceNamed, SaysWhyAGpuCannotBeUsedAndWhatToDo) {
  const auto refused = [](const std::string& text, const Gpus& gpus) { return input_error([&] { device_named(text, gpus); }); };
  EXPECT_EQ(refused("cuda", none),
            "--device cuda: there is no driver; install it, or compute on the processor with --device cpu");
  EXPECT_HAS(refused("cuda:0", none), "--device cuda:0: there is no driver; install it");
  EXPECT_HAS(refused("cuda:0", two), "--device cuda:0: the first is too old; use a newer one");
  EXPECT_HAS(refused("cuda", {.found = {two.found[0]}}), "the first is too old");
  EXPECT_HAS(refused("cuda:2", two), "--device cuda:2: this process sees 2 GPUs; give an index from 0 to 1");
  for (const char* text : {"", "gpu", "cuda:", "cuda:x", "cuda:1x", "cuda:-1", "CUDA", "cuda1", "cpu:0"})
    EXPECT_HAS(refused(text, two), "': expected auto, cpu, cuda, or cuda:0");
}

// Whatever this machine is, there are GPUs or a reason why not.
TEST(Gpus, AreThereOrTheReasonIs) { EXPECT_NE(gpus().found.empty(), !gpus().obstacle); }

TEST(Tuning, TheProcessorHasNothingToChoose) { EXPECT_TRUE(kernels::tune_products.on(cpu)(cpu).empty()); }

}  // namespace
}  // namespace relume::test
