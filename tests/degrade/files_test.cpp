// Pictures in files, and records of what was drawn.
#include "degrade/files.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "degrade/draws_json.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

class DegradeFiles : public testing::Test {
 protected:
  void SetUp() override {
    make_folder(in_ / "deep");
    for (int i = 0; i < 5; ++i)
      write_png(in_ / (i < 3 ? "" : "deep") / (std::to_string(i) + ".png"), test::natural_picture(90 + i, 100, uint64_t(i)));
  }
  DegradeOptions options(const std::string& out) const {
    return {
        .input = in_, .output = folder_ / out, .target = {}, .recipe = {.kind = "second_order"}, .record = {}, .replay = {}};
  }
  std::string all_bytes(const std::string& out) const {
    std::string bytes;
    for (const fs::path& file : list_files(folder_ / out, {".png"}, true)) bytes += file.filename().string() + read_file(file);
    return bytes;
  }

  test::TemporaryFolder folder_;
  const fs::path in_ = folder_ / "in";
};

TEST_F(DegradeFiles, ARecordReplaysToTheSameBytesOnAnyNumberOfThreads) {
  for (const std::string kind : {"wide", "second_order", "shuffled"}) {
    DegradeOptions first = options(kind);
    first.recipe.kind = kind;
    first.record = folder_ / (kind + ".json");
    EXPECT_EQ(degrade_files(first), 5);
    const std::string bytes = all_bytes(kind);
    EXPECT_EQ(test::occurrences(bytes, ".png"), 5);
    for (const int threads : {1, 2, 8}) {
      DegradeOptions again = options(kind + std::to_string(threads));
      again.replay = first.record;
      again.record = folder_ / "again.json";
      again.threads = threads;
      again.seed = 99;
      EXPECT_EQ(degrade_files(again), 5);
      EXPECT_TRUE(all_bytes(again.output.filename().string()) == bytes) << kind << ", " << threads << " threads";
      EXPECT_EQ(read_file(again.record), read_file(first.record));
    }
  }
}

TEST_F(DegradeFiles, APicturesDrawsDependOnItsNameAndTheSeedAlone) {
  degrade_files(options("all"));
  fs::remove(in_ / "0.png");
  fs::remove(in_ / "deep/3.png");
  degrade_files(options("fewer"));
  EXPECT_EQ(read_file(folder_ / "all/deep/4.png"), read_file(folder_ / "fewer/deep/4.png"));
  DegradeOptions other = options("other");
  other.seed = 5;
  degrade_files(other);
  EXPECT_NE(read_file(folder_ / "all/1.png"), read_file(folder_ / "other/1.png"));
}

TEST_F(DegradeFiles, TargetsAreSharpened) {
  DegradeOptions o = options("lq");
  o.target = folder_ / "gt";
  degrade_files(o);
  EXPECT_NE(read_file(folder_ / "gt/1.png"), read_file(in_ / "1.png"));
  o = options("lq2");
  o.target = folder_ / "gt2";
  o.recipe.second_order.sharpen_target = false;
  degrade_files(o);
  const Tensor before = read_image(in_ / "1.png"), after = read_image(folder_ / "gt2/1.png");
  EXPECT_TRUE(std::equal(before.data<uint8_t>(), before.data<uint8_t>() + before.numel(), after.data<uint8_t>()));
}

TEST_F(DegradeFiles, ABrokenPictureIsNamedAndTheRestIsDone) {
  write_file_atomically(in_ / "broken.png", "no picture");
  const std::string message = test::input_error([&] { degrade_files(options("out")); });
  EXPECT_HAS(message, "1 of 6");
  EXPECT_HAS(message, "broken.png");
  EXPECT_EQ(list_files(folder_ / "out", {".png"}, true).size(), 5u);
}

TEST_F(DegradeFiles, RefusesRecordsThatDoNotFit) {
  DegradeOptions o = options("out");
  o.record = folder_ / "draws.json";
  degrade_files(o);
  const std::string record = read_file(o.record);
  const auto refusal = [&](const std::string& text) {
    write_file_atomically(folder_ / "changed.json", text);
    DegradeOptions again = options("again");
    again.replay = folder_ / "changed.json";
    again.overwrite = true;  // one picture that does not fit does not keep the others from being done
    return test::input_error([&] { degrade_files(again); });
  };
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string text = record;
    const size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  };
  EXPECT_HAS(refusal("{}"), "no record of draws");
  EXPECT_HAS(refusal(record.substr(0, record.size() / 2)), "damaged record");
  EXPECT_HAS(refusal(replaced("\"0.png\"", "\"x.png\"")), "has no draws for 0.png");
  EXPECT_HAS(refusal(replaced("\"height\": 90", "\"height\": 91")), "are for 100x91 pixels");
  EXPECT_HAS(refusal(replaced("blur1.size", "blur9.size")), "draw 1 of the record");
  EXPECT_HAS(refusal(replaced("kind: second_order", "kind: third_order")), "third_order");
  EXPECT_HAS(refusal(replaced("\"seed\": \"", "\"seed\": \"x")), "no whole number");
  EXPECT_TRUE(list_files(folder_ / "again", {".json"}, true).empty());
}

TEST(DrawsJson, KeepsEveryBit) {
  const DrawRecord record{
      {{"u", 0.1 + 0.2}, {"tiny", 5e-324}, {"c", std::string("iso \"x\"")}, {"f", FieldSeed{~uint64_t(0)}}}};
  const nlohmann::ordered_json parsed = nlohmann::ordered_json::parse(to_json(record).dump());
  EXPECT_EQ(draw_record_from_json(parsed, "test"), record);
  for (const char* wrong :
       {"{}", "[1]", R"([["a"]])", R"([[1, 2]])", R"([["a", null]])", R"([["a", [1]]])", R"([["a", {"seed": 5}]])",
        R"([["a", {"seed": "-1"}]])", R"([["a", {"seed": "99999999999999999999"}]])"})
    EXPECT_THROW(draw_record_from_json(nlohmann::ordered_json::parse(wrong), "test"), InputError) << wrong;
}

}  // namespace
}  // namespace relume
