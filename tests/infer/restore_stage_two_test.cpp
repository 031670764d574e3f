// restore_files() with stage two, on networks of a few kilobytes.
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/text.h"
#include "data/image.h"
#include "infer/restore.h"
#include "tests/support/errors.h"
#include "tests/support/limited_allocator.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_control_ldm.h"
#include "tests/support/small_merges.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class RestoreStageTwo : public testing::Test {
 protected:
  void SetUp() override {
    save_small_restorer(folder_ / "full.safetensors");
    make_folder(folder_ / "in/sea");
    write_png(folder_ / "in/a.png", natural_picture(30, 41, 1));
    write_png(folder_ / "in/sea/c.png", natural_picture(52, 27, 3));
  }
  RestoreOptions options(const std::string& in, const std::string& out) const {
    RestoreOptions o{.input = folder_ / in, .output = folder_ / out, .upscale = 2, .short_side = 64};
    o.stage_two.emplace();
    StageTwoConfig& c = o.stage_two->config;
    c.networks = small_published_config();
    c.sampler = "edm_euler", c.steps = 2, c.cfg_scale = 1;
    o.stage_two->files.prior = folder_ / "full.safetensors";
    return o;
  }
  std::string bytes(const std::string& name) const { return read_file(folder_ / name); }
  const TemporaryFolder folder_;
};

TEST_F(RestoreStageTwo, AFolderIsItsPicturesOneByOneWhateverWasThere) {
  EXPECT_EQ(restore_files(options("in", "all")).restored, 2);
  const Tensor restored = read_image(folder_ / "all/sea/c.png");
  EXPECT_EQ(restored.shape(), Shape({104, 54, 3}));
  make_folder(folder_ / "one");
  restore_files(options("in/sea/c.png", "one/c.png"));
  EXPECT_EQ(bytes("one/c.png"), bytes("all/sea/c.png"));
  RestoreOptions again = options("in", "parts");
  again.existing = Existing::kept;
  make_folder(folder_ / "parts");
  fs::copy_file(folder_ / "all/a.png", folder_ / "parts/a.png");
  EXPECT_EQ(restore_files(again).kept, 1);
  for (const char* name : {"a.png", "sea/c.png"})
    EXPECT_EQ(bytes(std::string("parts/") + name), bytes(std::string("all/") + name)) << name;
}

TEST_F(RestoreStageTwo, SamplesDifferAndTheFirstIsTheOne) {
  restore_files(options("in/a.png", "a.png"));
  RestoreOptions o = options("in/a.png", "out.png");
  o.stage_two->samples = 2;
  EXPECT_EQ(restore_files(o).restored, 2);
  EXPECT_EQ(bytes("out_0.png"), bytes("a.png"));
  EXPECT_NE(bytes("out_1.png"), bytes("a.png"));
  RestoreOptions second = options("in/a.png", "again.png");  // the first is there already: stage one runs for the second
  second.stage_two->samples = 2, second.existing = Existing::kept;
  fs::copy_file(folder_ / "a.png", folder_ / "again_0.png");
  EXPECT_EQ(restore_files(second).restored, 1);
  EXPECT_EQ(bytes("again_1.png"), bytes("out_1.png"));
  EXPECT_HAS(input_error([&] { restore_files(o); }), "out_0.png: exists already");
}

TEST_F(RestoreStageTwo, StagesAndSettingsAreKept) {
  RestoreOptions o = options("in", "out");
  o.json_log = folder_ / "log.jsonl";
  o.stage_two->save_stages = folder_ / "stages", o.stage_two->save_every = 1;
  o.stage_two->seed = 7;
  restore_files(o);
  for (const char* stage : {"cleaned", "condition", "step0001", "step0002"})
    EXPECT_TRUE(fs::exists(folder_ / "stages/sea" / (std::string("c_") + stage + ".png"))) << stage;
  std::vector<nlohmann::json> lines;
  for (const std::string& line : split(bytes("log.jsonl"), '\n'))
    if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].at("seed"), 7);
  EXPECT_HAS(lines[0].at("config").get<std::string>(), "sampler: edm_euler");
  EXPECT_EQ(lines[1].at("name"), "a.png");
  EXPECT_EQ(lines[1].at("sample"), 0);
  EXPECT_EQ(lines[1].at("prompt"), "");
}

// A file of prompts that changes or goes while pictures are restored does no harm.
TEST_F(RestoreStageTwo, APromptIsReadOnce) {
  RestoreOptions o = options("in/a.png", "out.png");
  make_folder(folder_ / "prompts");
  write_file_atomically(folder_ / "prompts/a.txt", "lower");
  write_file_atomically(folder_ / "merges.gz", gzipped(small_merges()));
  o.stage_two->prompts = Prompts::from(folder_ / "prompts");
  o.stage_two->merges = folder_ / "merges.gz";
  RefineRun run(*o.stage_two);
  const PictureJob job{folder_ / "in/a.png", folder_ / "out.png", "a.png"};
  run.load({job}, {}, DType::f32);
  fs::remove(folder_ / "prompts/a.txt");
  EXPECT_EQ(run.facts(job).at("prompt"), "lower");
  EXPECT_EQ(run.restored(job, uniform({64, 64, 3}, 1, 0, 1), {}, {}).shape(), Shape({64, 64, 3}));
}

TEST_F(RestoreStageTwo, StageOneComesFromTheFileOrIsLeftOut) {
  restore_files(options("in/a.png", "with.png"));
  RestoreOptions o = options("in/a.png", "without.png");
  o.without_cleaner = true;
  restore_files(o);
  EXPECT_NE(bytes("with.png"), bytes("without.png"));
}

// The skip of 64 + 32 channels at 32 x 32 latents is refused: that of a picture of 256 pixels taken whole.
TEST_F(RestoreStageTwo, WhereMemoryRunsOutSmallerTilesAreDenoised) {
  write_png(folder_ / "square.png", natural_picture(128, 128, 5));
  RestoreOptions o = options("square.png", "retried.png");
  o.json_log = folder_ / "log.jsonl";
  std::string said;
  {
    const LimitedAllocator limited(std::numeric_limits<int64_t>::max(), 32 * 32 * (64 + 32) * int64_t(sizeof(float)));
    testing::internal::CaptureStderr();
    EXPECT_EQ(restore_files(o).restored, 1);
    said = testing::internal::GetCapturedStderr();
  }
  EXPECT_HAS(said, "square.png: out of memory: by a test\n  again denoised in tiles of 192 every 144");
  EXPECT_HAS(bytes("log.jsonl"), "\"denoiser_tile\":192");
  RestoreOptions asked = options("square.png", "asked.png");
  asked.stage_two->config.cldm_tile_size = 192, asked.stage_two->config.cldm_tile_stride = 144;
  restore_files(asked);
  EXPECT_EQ(bytes("retried.png"), bytes("asked.png"));
  RestoreOptions whole = options("square.png", "whole.png");
  restore_files(whole);
  EXPECT_NE(bytes("whole.png"), bytes("asked.png"));
}

// One knob for both stages.
TEST_F(RestoreStageTwo, TilesByHandAreTheDenoisersToo) {
  write_png(folder_ / "square.png", natural_picture(96, 96, 5));
  RestoreOptions o = options("square.png", "tiled.png"), same = options("square.png", "same.png");
  o.mode = same.mode = TileMode::fixed;
  o.tile = same.tile = 64;
  o.json_log = folder_ / "log.jsonl";
  same.stage_two->config.cldm_tile_size = 64;  // every 32
  restore_files(o), restore_files(same);
  EXPECT_HAS(bytes("log.jsonl"), "\"denoiser_tile\":64");
  EXPECT_EQ(bytes("tiled.png"), bytes("same.png"));
  o.output = folder_ / "refused.png", o.tile = 72;
  EXPECT_HAS(input_error([&] { restore_files(o); }), "--tile 72");
}

}  // namespace
}  // namespace relume::test
