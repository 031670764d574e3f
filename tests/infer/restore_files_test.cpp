// Folders, memory and what is said about them: restore_files().
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/text.h"
#include "data/checkpoint/memory_source.h"
#include "data/checkpoint/safetensors.h"
#include "data/image.h"
#include "infer/load_network.h"
#include "infer/restore.h"
#include "layers/finite.h"
#include "tests/support/errors.h"
#include "tests/support/limited_allocator.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_weights.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class RestoreFiles : public testing::Test {
 protected:
  void SetUp() override {
    save_small_network(0, folder_ / "weights.safetensors");
    make_folder(folder_ / "in/sea");
    write_png(folder_ / "in/a.png", natural_picture(30, 41, 1));
    write_jpeg(folder_ / "in/b.jpg", natural_picture(25, 18, 2), 90);
    write_png(folder_ / "in/sea/c.png", natural_picture(52, 27, 3));
  }
  RestoreOptions options(const std::string& in, const std::string& out) const {
    return {.input = folder_ / in, .output = folder_ / out, .weights = folder_ / "weights.safetensors"};
  }
  std::string bytes(const std::string& name) const { return read_file(folder_ / name); }
  void expect_same_folders(const std::string& a, const std::string& b) const {
    for (const char* name : {"a.png", "b.png", "sea/c.png"}) EXPECT_EQ(bytes(a + "/" + name), bytes(b + "/" + name)) << name;
  }
  // What is printed to standard error and to standard output.
  template <class F> static std::pair<std::string, std::string> said(F&& f) {
    testing::internal::CaptureStderr();
    testing::internal::CaptureStdout();
    f();
    std::string out = testing::internal::GetCapturedStdout();
    return {testing::internal::GetCapturedStderr(), out};
  }
  TemporaryFolder folder_;
};

TEST_F(RestoreFiles, AResumedFolderEqualsAnUninterruptedOne) {
  restore_files(options("in", "whole"));
  RestoreOptions o = options("in", "parts");
  o.existing = Existing::kept;
  make_folder(folder_ / "parts");
  fs::copy_file(folder_ / "whole/a.png", folder_ / "parts/a.png");
  // What a crash of something else left behind: half a result.
  write_file_atomically(folder_ / "parts/b.png", bytes("whole/b.png").substr(0, 500));
  const auto kept = fs::last_write_time(folder_ / "parts/a.png");
  const RestoreCounts counts = restore_files(o);
  EXPECT_EQ(counts.kept, 1);
  EXPECT_EQ(counts.restored, 2);
  EXPECT_EQ(fs::last_write_time(folder_ / "parts/a.png"), kept);
  expect_same_folders("parts", "whole");
  EXPECT_EQ(restore_files(o).kept, 3);
  EXPECT_EQ(restore_files(o).restored, 0);
}

TEST_F(RestoreFiles, AResultMadeWithOtherOptionsIsNotKept) {
  restore_files(options("in", "out"));
  RestoreOptions o = options("in", "out");
  o.existing = Existing::kept, o.upscale = 2;
  EXPECT_HAS(input_error([&] { restore_files(o); }),
             "out/a.png: exists with 41x30 pixels, and this run would make 82x60; it was made with other options");
}

TEST_F(RestoreFiles, OrderAndCompanyChangeNothing) {
  restore_files(options("in", "together"));
  make_folder(folder_ / "alone");
  make_folder(folder_ / "alone/sea");
  restore_files(options("in/sea/c.png", "alone/sea/c.png"));
  restore_files(options("in/b.jpg", "alone/b.png"));
  restore_files(options("in/a.png", "alone/a.png"));
  expect_same_folders("together", "alone");
}

TEST_F(RestoreFiles, UnfinishedFilesOfAKilledRunAreRemoved) {
  make_folder(folder_ / "out/sea");
  const fs::path left = folder_ / "out/sea/.c.png.999999999.0.tmp";  // above the greatest process number
  write_file_atomically(left, "half");
  fs::last_write_time(left, fs::file_time_type::clock::now() - std::chrono::hours(1));
  restore_files(options("in", "out"));
  EXPECT_FALSE(fs::exists(left));
}

TEST_F(RestoreFiles, ThePlanIsSaidAndADryRunStopsThere) {
  RestoreOptions o = options("in", "out");
  o.dry_run = true, o.upscale = 2, o.json_log = folder_ / "log.jsonl";
  const auto [plan, list] = said([&] { restore_files(o); });
  EXPECT_HAS(plan, "pictures  3, 0.00308 megapixels, enlarged to 0.0123");
  EXPECT_HAS(plan, "from weights.safetensors, pictures padded to multiples of 8");
  EXPECT_HAS(plan, "tiles     3 whole");
  EXPECT_HAS(plan, "three quarters of the");
  EXPECT_HAS(list, "a.png: 41x30 to 82x60, whole, ");
  EXPECT_HAS(list, "sea/c.png: 27x52 to 54x104, whole, ");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
  EXPECT_FALSE(fs::exists(o.json_log));
}

TEST_F(RestoreFiles, SmallPicturesAreNotMeasured) {
  const auto [plan, list] = said([&] { restore_files(options("in", "out")); });
  EXPECT_HAS(plan, "estimate  none: the pictures are small");
  EXPECT_EQ(list, "");
}

TEST_F(RestoreFiles, ThePlanTellsTilesAndPicturesBelowThem) {
  RestoreOptions o = options("in", "out");
  o.mode = TileMode::fixed, o.tile = 24, o.overlap = 8;
  const auto [plan, list] = said([&] { restore_files(o); });
  EXPECT_HAS(plan, "tiles     1 whole; 2 in tiles of 24, overlapping by 8 (a side is below the tile of 24)");
}

TEST_F(RestoreFiles, TheLogHasAnObjectPerPicture) {
  make_folder(folder_ / "out/sea");
  write_file_atomically(folder_ / "in/broken.png", bytes("in/a.png").substr(0, 300));
  RestoreOptions o = options("in", "out");
  restore_files(options("in/b.jpg", "out/b.png"));
  o.existing = Existing::kept, o.json_log = folder_ / "log.jsonl";
  o.mode = TileMode::fixed, o.tile = 24;
  input_error([&] { restore_files(o); });
  std::map<std::string, nlohmann::json> lines;
  for (const std::string& line : split(bytes("log.jsonl"), '\n'))
    if (!line.empty()) lines[nlohmann::json::parse(line)["name"]] = nlohmann::json::parse(line);
  ASSERT_EQ(lines.size(), 4u);
  EXPECT_EQ(lines["b.jpg"]["kept"], true);
  EXPECT_HAS(lines["broken.png"]["error"].get<std::string>(), "in/broken.png: truncated PNG");
  EXPECT_EQ(lines["sea/c.png"]["width"], 27);
  EXPECT_EQ(lines["sea/c.png"]["result_height"], 52);
  EXPECT_EQ(lines["sea/c.png"]["tile"], 24);
  EXPECT_EQ(lines["sea/c.png"]["overlap"], 12);
  EXPECT_EQ(lines["sea/c.png"]["tiles"], 2 * 4);
  EXPECT_GT(lines["a.png"]["peak_bytes"].get<int64_t>(), 30 * 41 * 12);
  EXPECT_GE(lines["a.png"]["seconds"].get<double>(), 0);
}

TEST_F(RestoreFiles, WhatDoesNotFitIsRefusedWithFigures) {
  RestoreOptions o = options("in/a.png", "out.png");
  o.memory = 1000;
  const std::string message = input_error([&] { restore_files(o); });
  EXPECT_HAS(message, "in/a.png: needs about ");
  EXPECT_HAS(message, " of memory even in tiles of 8 pixels, more than the 1.0 kB allowed; allow more with --memory");
  EXPECT_FALSE(fs::exists(folder_ / "out.png"));
  o.input = folder_ / "in", o.output = folder_ / "out";
  EXPECT_HAS(input_error([&] { restore_files(o); }), "3 of 3 pictures could not be restored:\n  ");
}

TEST_F(RestoreFiles, AResultTooLargeForItsFormatIsRefusedBeforeItIsComputed) {
  RestoreOptions o = options("in/a.png", "out.webp");
  o.upscale = 500;
  EXPECT_HAS(input_error([&] { restore_files(o); }),
             "out.webp: 20500x15000 pixels, but no side of a WebP may exceed 16383; give a name that ends in .png");
}

TEST_F(RestoreFiles, NoNumbersAreAnErrorThatNamesTheLayer) {
  const SafetensorsFile whole(folder_ / "weights.safetensors");
  MemorySource broken("broken");
  for (const TensorInfo& t : whole.tensors()) {
    const bool hit = t.name == "conv_after_body.bias";
    broken.add(t.name, hit ? Tensor::full(t.shape, std::numeric_limits<double>::quiet_NaN()) : whole.read(t.name));
  }
  write_safetensors(folder_ / "broken.safetensors", broken, whole.metadata());
  RestoreOptions o = options("in/a.png", "out.png");
  o.weights = folder_ / "broken.safetensors";
  try {
    restore_files(o);
    FAIL() << "a picture was made";
  } catch (const NotFinite& e) {
    EXPECT_HAS(std::string(e.what()), "a.png: stage one made values that are no numbers");
    EXPECT_HAS(std::string(e.what()), "\n  in conv_after_body");
  }
  EXPECT_FALSE(fs::exists(folder_ / "out.png"));
}

TEST_F(RestoreFiles, WhereMemoryRunsOutSmallerTilesAreTried) {
  write_png(folder_ / "large.png", natural_picture(160, 200, 5));
  const int64_t before = allocator({}).bytes_in_use();
  RestoreOptions o = options("large.png", "whole.png");
  allocator({}).reset_peak();
  restore_files(o);
  const int64_t whole = allocator({}).peak_bytes() - before;
  o.output = folder_ / "retried.png", o.json_log = folder_ / "log.jsonl";
  std::string text;
  {
    const LimitedAllocator limited(before + whole * 3 / 5);
    text = said([&] { EXPECT_EQ(restore_files(o).restored, 1); }).first;
  }
  EXPECT_HAS(text, "large.png: out of memory: by a test\n  again in tiles, as --tile ");
  const auto line = nlohmann::json::parse(bytes("log.jsonl"));
  RestoreOptions asked = options("large.png", "asked.png");
  asked.mode = TileMode::fixed, asked.tile = line["tile"], asked.overlap = line["overlap"];
  EXPECT_GT(asked.tile, 0);
  restore_files(asked);
  EXPECT_EQ(bytes("retried.png"), bytes("asked.png"));

  o.output = folder_ / "never.png", o.mode = TileMode::off;
  const LimitedAllocator limited(before + whole * 3 / 5);
  EXPECT_THROW(restore_files(o), OutOfMemory) << "asked for whole";
  EXPECT_FALSE(fs::exists(folder_ / "never.png"));
}

TEST_F(RestoreFiles, MoreThanThreeRetriesAreNotMade) {
  write_png(folder_ / "large.png", natural_picture(160, 200, 5));
  const auto network = load_swinir(folder_ / "weights.safetensors");
  const int64_t before = allocator({}).bytes_in_use();
  const LimitedAllocator limited(before + 160 * 200 * 3 + 600'000);
  const std::string text = said([&] { EXPECT_THROW(restore_files(options("large.png", "out.png")), OutOfMemory); }).first;
  EXPECT_EQ(occurrences(text, "again in tiles"), 3) << text;
}

}  // namespace
}  // namespace relume::test
