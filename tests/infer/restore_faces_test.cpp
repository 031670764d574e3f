// restore_files() with faces within the pictures, on networks of a few kilobytes.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/text.h"
#include "data/image.h"
#include "infer/restore.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class RestoreFaces : public testing::Test {
 protected:
  void SetUp() override {
    save_small_restorer(folder_ / "full.safetensors");
    make_folder(folder_ / "in");
    write_png(folder_ / "in/a.png", natural_picture(60, 64, 1));
    write_png(folder_ / "in/b.png", natural_picture(60, 64, 2));
    write_file_atomically(folder_ / "faces.csv",
                          "file_name,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n"
                          "a.png,20,20,36,22,27,30,20,37,32,38\n"
                          "a.png,50,50,50.2,50,50.1,50.1,50,50.2,50.2,50.2\n");
  }
  RestoreOptions options(const std::string& in, const std::string& out) const {
    RestoreOptions o{.input = folder_ / in, .output = folder_ / out, .without_cleaner = true, .upscale = 1, .short_side = 0};
    o.stage_two.emplace();
    StageTwoConfig& c = o.stage_two->config;
    c.networks = small_published_config();
    c.sampler = "spaced", c.steps = 2, c.cfg_scale = 1;
    o.stage_two->files.prior = folder_ / "full.safetensors";
    o.faces = FaceOptions{.landmarks = folder_ / "faces.csv", .without_cleaner = true, .save = folder_ / "stages"};
    return o;
  }
  const TemporaryFolder folder_;
};

TEST_F(RestoreFaces, FacesArePutIntoTheirPicturesAndNoOthers) {
  RestoreOptions o = options("in", "out");
  o.json_log = folder_ / "log.jsonl";
  testing::internal::CaptureStderr();
  EXPECT_EQ(restore_files(o).restored, 2);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_HAS(said, "note: b.png: no landmarks; it is restored without faces");
  EXPECT_HAS(said, "note: a.png: 1 of 2 faces are too small");
  for (const char* file :
       {"restored_backgrounds/a.png", "cropped_faces/a_0.png", "restored_faces/a_0.png", "restored_backgrounds/b.png"})
    EXPECT_TRUE(fs::exists(folder_ / "stages" / file)) << file;
  EXPECT_FALSE(fs::exists(folder_ / "stages/cropped_faces/a_1.png"));
  std::vector<nlohmann::json> lines;
  for (const std::string& line : split(read_file(folder_ / "log.jsonl"), '\n'))
    if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].at("landmarks"), (folder_ / "faces.csv").string());
  EXPECT_EQ(lines[1].at("faces").size(), 2u);
  EXPECT_TRUE(lines[1].at("faces")[0].at("restored"));
  EXPECT_FALSE(lines[1].at("faces")[1].at("restored"));
  EXPECT_TRUE(lines[2].at("faces").empty());

  RestoreOptions alone = options("in", "alone");
  alone.faces.reset();
  restore_files(alone);
  const auto bytes = [&](const char* name) { return read_file(folder_ / name); };
  EXPECT_EQ(bytes("out/b.png"), bytes("alone/b.png"));
  EXPECT_NE(bytes("out/a.png"), bytes("alone/a.png"));
  EXPECT_EQ(read_image(folder_ / "out/a.png").shape(), Shape({60, 64, 3}));
}

}  // namespace
}  // namespace relume::test
