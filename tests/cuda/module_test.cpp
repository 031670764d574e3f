// The backend as the command loads it. This program is linked as the command is, and like it exports what the module needs.
#include "tensor/cuda_module.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tensor/kernels/all.h"
#include "tests/support/errors.h"

namespace relume::test {
namespace {

TEST(CudaModule, ThatIsMissingIsNamed) {
  const Obstacle o = load_cuda_module("/nowhere/relume_cuda.so").obstacle;
  EXPECT_HAS(o.reason, "the CUDA backend cannot be loaded (/nowhere/relume_cuda.so: ");
  EXPECT_HAS(o.remedy, "LD_LIBRARY_PATH");
}

TEST(CudaModule, FillsTheSlotsOfWhoLoadsIt) {
  const char* const command = std::getenv("RELUME_COMMAND");
  if (!command) GTEST_SKIP() << "RELUME_COMMAND is not set to the built command, beside which the module lies";
  kernels::for_each_slot([](const auto& slot) { EXPECT_FALSE(slot.has(DeviceKind::cuda)) << slot.name(); });
  const Gpus all = load_cuda_module(std::filesystem::path(command).parent_path() / cuda_module_path().filename());
  kernels::for_each_slot([](const auto& slot) { EXPECT_TRUE(slot.has(DeviceKind::cuda)) << slot.name(); });
  EXPECT_NE(all.found.empty(), !all.obstacle);
  EXPECT_EQ(all.obstacle.reason.find("cannot be loaded"), std::string::npos) << all.obstacle.reason;
}

}  // namespace
}  // namespace relume::test
