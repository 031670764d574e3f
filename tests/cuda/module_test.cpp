// The backend as the command loads it. This program is linked as the command is, and like it exports what the module needs.
#include "tensor/cuda_module.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/files.h"
#include "tensor/kernels/conv.h"
#include "tensor/kernels/memory.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

TEST(CudaModule, ThatIsMissingIsNamed) {
  const Obstacle o = load_cuda_module("/nowhere/relume_cuda.so").obstacle;
  EXPECT_HAS(o.reason, "the CUDA backend was not built (/nowhere/relume_cuda.so does not exist)");
  EXPECT_HAS(o.remedy, "-DRELUME_CUDA=ON");
}

TEST(CudaModule, ThatIsNoneIsNamed) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "relume_cuda.so", "no library");
  const Obstacle o = load_cuda_module(folder / "relume_cuda.so").obstacle;
  EXPECT_HAS(o.reason, "the CUDA backend cannot be loaded (" + (folder / "relume_cuda.so").string() + ": ");
  EXPECT_HAS(o.remedy, "LD_LIBRARY_PATH");
}

TEST(CudaModule, FillsTheSlotsOfWhoLoadsIt) {
  const char* const command = std::getenv("RELUME_COMMAND");
  if (!command) GTEST_SKIP() << "RELUME_COMMAND is not set to the built command, beside which the module lies";
  ASSERT_FALSE(kernels::copy.has(DeviceKind::cuda)) << "linked in: nothing is left to be loaded";
  const Gpus all = load_cuda_module(std::filesystem::path(command).parent_path() / cuda_module_path().filename());
  EXPECT_TRUE(kernels::copy.has(DeviceKind::cuda)) << all.obstacle.reason;
  EXPECT_TRUE(kernels::conv2d_forward.has(DeviceKind::cuda)) << all.obstacle.reason;
  EXPECT_NE(all.found.empty(), !all.obstacle);
  EXPECT_EQ(all.obstacle.reason.find("cannot be loaded"), std::string::npos) << all.obstacle.reason;
}

}  // namespace
}  // namespace relume::test
