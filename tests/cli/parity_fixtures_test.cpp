// Every kind against reference numbers: the copies in tests/fixtures always, the whole public folder where it lies beside the
// checkout.
#include "cli/parity/runner.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace relume::parity {
namespace {

std::filesystem::path source_folder() {
  const char* root = std::getenv("RELUME_SOURCE_DIR");
  return root ? root : "";
}

void expect_all_pass(const std::filesystem::path& folder, const std::string& only) {
  Kinds kinds;
  register_kinds(kinds);
  std::ostringstream out;
  const Summary summary = run_parity({.folder = folder, .only = only}, kinds, out);
  EXPECT_EQ(summary.exit_code(true), 0) << out.str();
}

TEST(ParityFixtures, EveryCopiedCasePasses) {
  if (source_folder().empty()) GTEST_SKIP() << "RELUME_SOURCE_DIR is not set";
  expect_all_pass(source_folder() / "tests/fixtures/parity", "");
}

TEST(ParityFixtures, ThePublicFolderPasses) {
  const auto folder = source_folder() / "../shared/parity";
  if (source_folder().empty() || !std::filesystem::exists(folder / "manifest.json"))
    GTEST_SKIP() << "../shared/parity is not beside the checkout";
  expect_all_pass(folder, "swinir*,degrade_codeformer,degrade_jpeg,degrade_filter_resize");
}

}  // namespace
}  // namespace relume::parity
