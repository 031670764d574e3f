#include "base/version.h"

#include <gtest/gtest.h>

namespace relume {
namespace {

TEST(Version, NamesEveryFact) {
  const std::string text = version_text();
  EXPECT_EQ(text.find("relume " + version_number() + " (" + git_revision() + ")\n"), 0u) << text;
  for (const char* fact : {"compiler", "instructions", "CUDA", "sanitizers", "yaml-cpp"}) {
    EXPECT_NE(text.find(fact), std::string::npos) << fact << " is not in\n" << text;
  }
  EXPECT_NE(git_revision(), "");
}

}  // namespace
}  // namespace relume
