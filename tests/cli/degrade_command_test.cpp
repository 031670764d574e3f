// `relume degrade` as its users meet it.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "cli/presets.h"
#include "data/image.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/pictures.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class DegradeCommand : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    make_folder(folder_ / "in/deep");
    write_png(folder_ / "in/0.png", natural_picture(96, 104, 1));
    write_png(folder_ / "in/deep/1.png", natural_picture(80, 72, 2));
  }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }
};

TEST_F(DegradeCommand, EveryPresetRecordsAndReplays) {
  int presets = 0;
  for (const fs::path& file : list_files(source_folder() / "configs/degrade", {".yaml"}, false)) {
    const std::string name = file.stem().string();
    const Ended first = run({"degrade", path("in"), path(name), "--recipe", name, "--record", path(name + ".json")});
    ASSERT_EQ(first.code, 0) << first.err;
    EXPECT_HAS(first.out, "2 pictures degraded");
    const Ended second = run({"degrade", path("in"), path(name + "-2"), "--replay", path(name + ".json"), "--threads", "2"});
    ASSERT_EQ(second.code, 0) << second.err;
    for (const char* picture : {"0.png", "deep/1.png"})
      EXPECT_TRUE(read_file(folder_ / name / picture) == read_file(folder_ / (name + "-2") / picture)) << name;
    EXPECT_EQ(nlohmann::json::parse(read_file(folder_ / (name + ".json")))["pictures"].size(), 2u);
    ++presets;
  }
  EXPECT_GE(presets, 5);
}

TEST_F(DegradeCommand, TheContactSheetIsAWholePage) {
  const Ended done = run({"degrade", path("in/0.png"), "--recipe", "second_order", "--sheet", path("sheet.svg")});
  ASSERT_EQ(done.code, 0) << done.err;
  const std::string page = read_file(folder_ / "sheet.svg");
  EXPECT_TRUE(page.starts_with("<svg ") && page.ends_with("</svg>\n"));
  EXPECT_EQ(occurrences(page, "class=\"last\""), 5);
  EXPECT_EQ(occurrences(page, "sharpened: the target"), 5);
  EXPECT_GE(occurrences(page, "data:image/jpeg;base64,/9j/"), 5 * 9);
  EXPECT_EQ(run({"degrade", path("in/0.png"), "--recipe", "wide_face", "--sheet", path("sheet.svg")}).code, 2) << "exists";
}

TEST_F(DegradeCommand, RefusesInOneLineEach) {
  const auto refused = [&](std::vector<std::string> arguments, const std::string& part) {
    arguments.insert(arguments.begin(), "degrade");
    const Ended ended = run(arguments);
    EXPECT_EQ(ended.code, 2) << ended.err;
    EXPECT_HAS(ended.err, part);
  };
  refused({path("in"), path("out")}, "--recipe");
  refused({path("in"), "--recipe", "bsrgan"}, "nothing to write");
  refused({path("in"), path("out"), "--recipe", "second_ordre"}, "did you mean 'second_order'");
  refused({path("none"), path("out"), "--recipe", "bsrgan"}, "no such file");
  refused({path("in"), path("out"), "wide.noise_rang=[0,1]", "--recipe", "wide_general"}, "noise_range");
  refused({path("in"), path("out"), "--recipe", "bsrgan", "--replay", path("draws.json")}, "recipe from the record");
  refused({path("in"), path("out"), "--replay", path("draws.json")}, "draws.json");
  refused({path("in"), "--recipe", "bsrgan", "--sheet", path("sheet.png")}, ".svg");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(DegradeCommand, SettingsReplaceTheRecipes) {
  const Ended sheet = run({"degrade", path("in/0.png"), "shuffled.scale=2", "--recipe", "bsrgan", "--sheet", path("s.svg")});
  ASSERT_EQ(sheet.code, 0) << sheet.err;
  EXPECT_HAS(read_file(folder_ / "s.svg"), "to 52 x 48");
  const Ended done =
      run({"degrade", path("in/0.png"), path("small.png"), "second_order.resize_back=false", "--recipe", "second_order"});
  ASSERT_EQ(done.code, 0) << done.err;
  EXPECT_EQ(read_image(folder_ / "small.png").shape(), Shape({24, 26, 3}));
}

}  // namespace
}  // namespace relume::test
