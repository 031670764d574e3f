// Every kind against reference numbers: the copies in tests/fixtures always, the whole public folder where it lies beside the
// checkout.
#include "cli/parity/runner.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>

#include "tests/support/numbers.h"

namespace relume::parity {
namespace {

void expect_all_pass(const std::filesystem::path& folder, const std::string& only) {
  Kinds kinds;
  register_kinds(kinds);
  std::ostringstream out;
  const Summary summary = run_parity({.folder = folder, .only = only}, kinds, out);
  EXPECT_EQ(summary.exit_code(true), 0) << out.str();
}

TEST(ParityFixtures, EveryCopiedCasePasses) { expect_all_pass(test::source_folder() / "tests/fixtures/parity", ""); }

TEST(ParityFixtures, ThePublicFolderPasses) {
  const auto folder = test::source_folder() / "../shared/parity";
  if (!std::filesystem::exists(folder / "manifest.json")) GTEST_SKIP() << "../shared/parity is not beside the checkout";
  expect_all_pass(folder, "swinir*,degrade_codeformer,degrade_jpeg,degrade_filter_resize");
}

}  // namespace
}  // namespace relume::parity
