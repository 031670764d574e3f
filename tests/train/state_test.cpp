// States of a training: files, manifests, and which of them count.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/files.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "train/state_saver.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class States : public testing::Test {
 protected:
  static StateContents contents(int64_t step) {
    StateContents c;
    c.add("weights/conv.weight", uniform({3, 5, 2}, uint64_t(step)));
    c.add("progress/step", step);
    c.add("progress/loss", 0.5);
    c.add("meta/kind", std::string("test"));
    c.add("progress/empty", Tensor::empty({0}, DType::i64));
    return c;
  }
  void save(int64_t step, int keep = 3) { states_.save(step, 10.0 * double(step), contents(step), keep); }
  int64_t newest_step() const {
    const StateFolder::Found found = states_.newest();
    return found.state ? found.state->step : -1;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : fs::directory_iterator(folder_ / "states")) result.push_back(entry.path().filename().string());
    std::ranges::sort(result);
    return result;
  }
  fs::path file(const std::string& name) const { return folder_ / "states" / name; }

  TemporaryFolder folder_;
  StateFolder states_{folder_ / "states"};
};

TEST_F(States, ReadBackWhatWasSaved) {
  save(12);
  const StateFile state(file("0000012.h5"));
  EXPECT_TRUE(same_bits(state.tensor("weights/conv.weight"), uniform({3, 5, 2}, 12)));
  EXPECT_EQ(state.integer("progress/step"), 12);
  EXPECT_EQ(state.number("progress/loss"), 0.5);
  EXPECT_EQ(state.text("meta/kind"), "test");
  EXPECT_EQ(state.tensor("progress/empty").shape(), Shape({0}));
  EXPECT_FALSE(state.has("weights/other"));
  EXPECT_HAS(input_error([&] { state.tensor("weights/other"); }),
             "0000012.h5: not a state of this training, it has no 'weights/");
  EXPECT_HAS(input_error([&] { state.tensor("weights/conv.weight", {3, 5}, DType::f32); }), "expected f32 [3, 5]");
  EXPECT_HAS(input_error([&] { state.number("progress/step"); }), "'progress/step' is i64 cpu []");
}

TEST_F(States, EqualContentsAreEqualFiles) {
  save(1);
  const std::string first = read_file(file("0000001.h5"));
  save(1);
  EXPECT_TRUE(read_file(file("0000001.h5")) == first);
}

TEST_F(States, TheNewestAreKept) {
  for (int64_t step = 1; step <= 5; ++step) save(step, 2);
  EXPECT_EQ(names(), (std::vector<std::string>{"0000004.h5", "0000004.json", "0000005.h5", "0000005.json"}));
  EXPECT_EQ(newest_step(), 5);
  EXPECT_EQ(states_.newest(4).state->step, 4);
  EXPECT_EQ(states_.newest(4).state->seconds, 40);
  states_.remove_newer_than(4);
  EXPECT_EQ(newest_step(), 4);
}

// Whatever happens to the newest state, the one before it is taken and the damage named.
TEST_F(States, DamageIsRecognisedAndTheOneBeforeTaken) {
  save(1), save(2);
  const std::string whole = read_file(file("0000002.h5")), manifest = read_file(file("0000002.json"));
  const auto damaged = [&](const std::string& name, const std::string& bytes, const std::string& reason) {
    write_file_atomically(file(name), bytes);
    const StateFolder::Found found = states_.newest();
    ASSERT_TRUE(found.state && found.state->step == 1) << name << ", " << reason;
    ASSERT_EQ(found.passed_over.size(), 1u);
    EXPECT_HAS(found.passed_over[0], "0000002.");
    EXPECT_HAS(found.passed_over[0], reason);
    write_file_atomically(file("0000002.h5"), whole);
    write_file_atomically(file("0000002.json"), manifest);
    ASSERT_EQ(newest_step(), 2) << "mended";
  };
  for (size_t length = 0; length < whole.size(); length += 97)
    damaged("0000002.h5", whole.substr(0, length), "it was cut or replaced");
  for (size_t at = 0; at < whole.size(); at += 61) {
    std::string flipped = whole;
    flipped[at] = char(flipped[at] ^ 1 << at % 8);
    damaged("0000002.h5", flipped, "its checksum is not that of what was written");
  }
  for (size_t length = 0; length + 2 < manifest.size(); length += 7)
    damaged("0000002.json", manifest.substr(0, length), "damaged: it is not JSON");
  for (size_t at = 0; at < manifest.size(); ++at) {  // a manifest may differ where it does not matter, never load another file
    std::string flipped = manifest;
    flipped[at] = char(flipped[at] ^ 4);
    write_file_atomically(file("0000002.json"), flipped);
    const StateFolder::Found found = states_.newest();
    ASSERT_TRUE(found.state) << at;
    ASSERT_TRUE(found.state->step == 1 || found.state->file == file("0000002.h5")) << at;
  }
  damaged("0000002.json", "[1, 2]", "damaged: 'format' is missing");
  damaged("0000002.json", R"({"format": "relume training state 9"})", "this version reads 'relume training state 1'");
}

TEST_F(States, AFileWithoutItsManifestDoesNotCount) {
  save(1), save(2);
  fs::remove(file("0000002.json"));
  const StateFolder::Found found = states_.newest();
  EXPECT_EQ(found.state->step, 1);
  EXPECT_TRUE(found.passed_over.empty()) << "a process was killed in between, nothing is damaged";
  write_file_atomically(file("notes.txt"), "mine");
  states_.tidy();
  EXPECT_EQ(names(), (std::vector<std::string>{"0000001.h5", "0000001.json", "notes.txt"}));
}

TEST_F(States, AllButTheNewestAreRemoved) {
  for (const int64_t step : {1, 2, 3, 4}) save(step, 10);
  write_file_atomically(file("notes.txt"), "mine");
  states_.keep_newest(2);
  EXPECT_EQ(names(), (std::vector<std::string>{"0000003.h5", "0000003.json", "0000004.h5", "0000004.json", "notes.txt"}));
}

TEST_F(States, OneNamedByItsUserIsCheckedToo) {
  save(7);
  EXPECT_EQ(open_state(file("0000007.h5")).step, 7);
  EXPECT_HAS(input_error([&] { open_state(file("final.h5")); }), "not the name of a training's state");
  EXPECT_HAS(input_error([&] { open_state(file("0000008.h5")); }), "0000008.h5: no such file");
  fs::copy_file(file("0000007.h5"), file("0000008.h5"));
  EXPECT_HAS(input_error([&] { open_state(file("0000008.h5")); }), "its manifest 0000008.json is missing");
  fs::copy_file(file("0000007.json"), file("0000008.json"));
  EXPECT_HAS(input_error([&] { open_state(file("0000008.h5")); }), "it speaks of another file or step");
}

TEST_F(States, LeftoversOfTheDeadAreRemovedThoseOfTheLivingStay) {
  save(1);
  const std::string dead = ".0000002.h5.999999999.0.tmp", alive = ".0000002.h5." + std::to_string(getpid()) + ".9.tmp";
  for (const std::string& name : {dead, alive, std::string(".mine.tmp")}) std::ofstream(file(name)) << "part";
  states_.tidy();
  EXPECT_EQ(names(), (std::vector<std::string>{alive, ".mine.tmp", "0000001.h5", "0000001.json"}));
}

TEST_F(States, AreSavedInTheBackground) {
  AppendFile log(folder_ / "log", 0);
  StateSaver saver(states_, 3, {&log});
  for (int64_t step = 1; step <= 5; ++step) saver.save(step, 0, contents(step));
  saver.wait();
  EXPECT_EQ(newest_step(), 5);
}

TEST_F(States, AFailureInTheBackgroundReachesWhoWaits) {
  write_file_atomically(folder_ / "states", "a file where the folder should be");
  StateSaver saver(states_, 3, {});
  saver.save(1, 0, contents(1));
  try {
    saver.wait();
    ADD_FAILURE() << "saved into a file";
  } catch (const Error& e) {
    EXPECT_HAS(e.what(), "states: cannot create the folder");
  }
  saver.wait();  // told once
}

}  // namespace
}  // namespace relume::test
