// The demo, quick form, as a user would run it: the real command, real photographs, the report it leaves.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/text.h"
#include "cli/demo_photos.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

TEST(Demo, QuickRunLearnsAndReports) {
  const char* command = std::getenv("RELUME_COMMAND");
  if (!command) GTEST_SKIP() << "RELUME_COMMAND does not name the built command";
  try {
    read_photo_list(test::source_folder() / "configs/demo/photos.txt");
  } catch (const InputError& e) {
    GTEST_SKIP() << "the demo's photographs are not installed: " << e.what();
  }
  const test::TemporaryFolder folder;
  const std::string out = (folder / "stdout").string();
  const std::string line = std::string(command) + " demo --quick --output '" + (folder / "demo").string() + "' > '" + out + "'";
  ASSERT_EQ(std::system(line.c_str()), 0);

  const std::vector<std::string> lines = split(read_file(out), '\n');
  ASSERT_GE(lines.size(), 2u);
  const auto result = nlohmann::json::parse(lines[lines.size() - 2]);  // the last line, before the final newline
  for (const char* key : {"psnr_degraded", "psnr_filter", "psnr_restored", "ssim_degraded", "ssim_restored", "seconds"})
    EXPECT_TRUE(result.at(key).is_number()) << key;
  EXPECT_GE(result["psnr_restored"].get<double>(), result["psnr_degraded"].get<double>() + 2) << result;
  EXPECT_GT(result["ssim_restored"].get<double>(), result["ssim_degraded"].get<double>()) << result;
  const std::string page = read_file(result["report"].get<std::string>());
  EXPECT_NE(page.find("</html>"), std::string::npos);
  EXPECT_EQ(page.find("src=\"http"), std::string::npos);
}

}  // namespace
}  // namespace relume
