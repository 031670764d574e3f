// Reference numbers of networks that are small enough for the simulator, computed on the device.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "cli/parity/runner.h"
#include "tests/cuda/runs.h"
#include "tests/support/numbers.h"

namespace relume::parity {
namespace {

class CudaParity : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = test::why_no_device(); !why.empty()) GTEST_SKIP() << why;
  }
  // The empty string when everything passes, else what the run printed.
  static std::string failures(const std::filesystem::path& folder, const std::string& only) {
    Kinds kinds;
    register_kinds(kinds);
    std::ostringstream out;
    const Summary summary = run_parity(
        {.folder = folder, .only = only, .except = "swinir_full*,swinir_d_full*", .device = test::cuda_device}, kinds, out);
    return summary.exit_code(true) == 0 ? "" : out.str();
  }
};

TEST_F(CudaParity, TheCopiedNetworksPass) {
  EXPECT_EQ(failures(test::source_folder() / "tests/fixtures/parity", "swinir*"), "");
}

TEST_F(CudaParity, TheNetworksOfThePublicFolderPass) {
  const std::filesystem::path folder = test::source_folder() / "../shared/parity";
  if (!std::filesystem::exists(folder / "manifest.json")) GTEST_SKIP() << "../shared/parity is not beside the checkout";
  EXPECT_EQ(failures(folder, "swinir_a*,swinir_b*,swinir_c*,vae_block,rrdbnet_small_x2"), "");
}

}  // namespace
}  // namespace relume::parity
