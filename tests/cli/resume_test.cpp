// What a training survives: SIGKILL at any moment, inside writes too; failing writes, fsyncs and renames; a full disk. Each
// time the newest whole state loads and the end, after --resume auto, is byte for byte that of a training left in peace.
//
// RELUME_KILLS=100 asks for more kills (bench/reliability.sh), RELUME_FAULT_STEP=1 for every single call to fail instead of
// every seventh.
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/files.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/pictures.h"
#include "tests/support/run_files.h"
#include "tests/support/small_training.h"
#include "train/state_folder.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

int64_t from_environment(const char* name, int64_t otherwise) {
  const char* text = std::getenv(name);
  return text ? std::atoll(text) : otherwise;
}

class Resume : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    if (IsSkipped()) return;
    write_pictures(folder_ / "pictures", 4);
    write_pictures(folder_ / "held_out", 1, 100);
    config_ = small_training(folder_.path());
    config_.data.validation = (folder_ / "held_out").string();
    config_.train = {.steps = 12,
                     .batch_size = 4,
                     .lr = 1e-3,
                     .ema_decay = 0.9,
                     .log_every = 2,
                     .validate_every = 6,
                     .image_every = 6,
                     .checkpoint_every = 6,
                     .state_every = 2,
                     .state_minutes = 0};
  }
  std::vector<std::string> train(const std::string& resume = "auto") {
    write_file_atomically(folder_ / "config.yaml", to_yaml(config_));
    return {"train", folder_ / "config.yaml", "--resume", resume};
  }
  fs::path output() const { return config_.output; }

  // A training left in peace, for comparison; `output` is free afterwards.
  void train_whole() {
    const Ended e = run(train("none"));
    ASSERT_EQ(e.code, 0) << e.err;
    fs::rename(output(), whole());
  }
  fs::path whole() const { return folder_ / "whole"; }
  // Resumes what there is and expects the same end.
  void expect_same_end() {
    const Ended e = run(train());
    ASSERT_EQ(e.code, 0) << e.err;
    EXPECT_EQ(e.err.find("passed over"), std::string::npos) << e.err;
    expect_same_run(whole(), output());
  }
  // The newest state is whole, and no older than `before`; gives its step, 0 without any.
  int64_t newest_step(int64_t before) const {
    const StateFolder::Found found = StateFolder(output() / "states").newest();
    for (const std::string& reason : found.passed_over) ADD_FAILURE() << "a kill cannot damage a state: " << reason;
    const int64_t step = found.state ? found.state->step : 0;
    EXPECT_GE(step, before) << "a state that was whole is lost";
    return step;
  }

  Stage1Config config_;
};

TEST_F(Resume, KilledAtAnyMomentItEndsTheSame) {
  train_whole();
  const int64_t kills = from_environment("RELUME_KILLS", 10), seed = from_environment("RELUME_KILL_SEED", 1);
  RandomStream random({.seed = uint64_t(seed), .purpose = "kills"});
  int64_t done = 0, rounds = 0, without_progress = 0;
  double longest = 0.5;  // seconds that a whole training takes, about
  while (done < kills) {
    fs::remove_all(output());
    ++rounds;
    for (int64_t step = 0, tries = 0; done < kills && tries < 50; ++tries) {
      const auto start = std::chrono::steady_clock::now();
      const pid_t process = this->start(train());
      std::this_thread::sleep_for(std::chrono::duration<double>(random.uniform(0.02, longest)));
      ::kill(process, SIGKILL);
      const Ended e = end(process);
      if (e.code == 0) {
        longest = std::min(longest, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
        break;
      }
      ASSERT_EQ(e.code, -1) << e.err;
      ++done;
      const int64_t now = newest_step(step);
      without_progress += now == step;
      step = now;
      longest = without_progress * 2 > done ? longest * 1.3 : longest;
    }
    expect_same_end();
    if (HasFailure()) return;
  }
  std::cout << done << " kills in " << rounds << " trainings (seed " << seed << ")\n";
}

// The library that makes calls fail, and what it is told.
class Faults : public Resume {
 protected:
  void SetUp() override {
    Resume::SetUp();
    if (IsSkipped()) return;
    if (RELUME_SANITIZED) GTEST_SKIP() << "a sanitizer's runtime must come first among the libraries";
    config_.train.steps = 6;
    train_whole();
  }
  Ended run_with(const std::string& call, int64_t number, const std::string& what) {
    environment_ = {preload_, "RELUME_FAULT=" + call + ":" + std::to_string(number) + ":" + what + ":/out"};
    const Ended e = run(train());
    environment_.clear();
    return e;
  }
  int64_t calls(const std::string& call) {
    fs::remove_all(output());
    environment_ = {preload_, "RELUME_FAULT=" + call + ":1:0:/out", "RELUME_FAULT_COUNT=" + (folder_ / "count").string()};
    EXPECT_EQ(run(train()).code, 0);
    environment_.clear();
    fs::remove_all(output());
    return std::stoll(read_file(folder_ / "count"));
  }
  static int64_t step() { return from_environment("RELUME_FAULT_STEP", 7); }
  const std::string preload_ = "LD_PRELOAD=" RELUME_FAULT_SHIM;
};

TEST_F(Faults, KilledInsideAnyWriteItEndsTheSame) {
  for (const std::string call : {"write", "fsync", "rename", "fallocate"})
    for (const std::string what : {"kill", "torn"}) {
      if (what == "torn" && call != "write") continue;
      const int64_t count = calls(call);
      ASSERT_GE(count, 3) << call;
      for (int64_t number = 1; number <= count; number += call == "write" ? 3 * step() : std::min<int64_t>(step(), 3)) {
        fs::remove_all(output());
        const Ended e = run_with(call, number, what);
        ASSERT_EQ(e.code, -1) << call << ' ' << number << ": " << e.err;
        newest_step(0);
        expect_same_end();
        ASSERT_FALSE(HasFailure()) << call << ' ' << number << ' ' << what;
      }
    }
}

TEST_F(Faults, AFailingCallIsAnErrorThatNamesTheFileAndCostsNothingElse) {
  struct Kind {
    std::string call;
    int error;
    std::string reason;
  };
  for (const Kind& kind :
       {Kind{"fsync", EIO, "Input/output error"}, Kind{"rename", EACCES, "Permission denied"},
        Kind{"write", ENOSPC, "No space left on device"}, Kind{"fallocate", ENOSPC, "No space left on device"}}) {
    const int64_t count = calls(kind.call);
    for (int64_t number = 1; number <= count; number += kind.call == "write" ? 3 * step() : std::min<int64_t>(step(), 2)) {
      fs::remove_all(output());
      const Ended e = run_with(kind.call, number, std::to_string(kind.error));
      const std::string which = kind.call + " " + std::to_string(number) + ": " + e.err;
      // A folder that cannot be flushed is no failure: file systems without that exist.
      if (kind.call == "fsync" && e.code == 0) continue;
      ASSERT_EQ(e.code, 1) << which;
      const size_t message = e.err.find("relume: ");
      ASSERT_NE(message, std::string::npos) << which;
      EXPECT_NE(e.err.find(output().string(), message), std::string::npos) << which;
      EXPECT_NE(e.err.find(kind.reason, message), std::string::npos) << which;
      if (kind.error == ENOSPC) {
        EXPECT_NE(e.err.find(" needed, ", message), std::string::npos) << which;
        EXPECT_NE(e.err.find(" free; make room and repeat", message), std::string::npos) << which;
      }
      newest_step(0);
      for (const auto& entry : fs::recursive_directory_iterator(output()))
        EXPECT_NE(entry.path().extension(), ".tmp") << which << " left " << entry.path();
      expect_same_end();
      ASSERT_FALSE(HasFailure()) << which;
    }
  }
}

// A disk of its own, too small for all the states: the error tells the figures, the states before are intact, and with room
// made the training goes on.
TEST_F(Resume, AFullDiskEndsItWithFiguresAndWithoutLoss) {
  train_whole();
  // In a child with a name space of its own, since a mount needs one.
  const pid_t child = ::fork();
  if (child == 0) {
    const bool own = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    make_folder(output());
    if (!own || ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", output().c_str(), "tmpfs", 0, "size=420k") != 0)
      ::_exit(77);
    const Ended full = run(train());
    const bool told = full.code == 1 &&
                      full.err.find(".h5: cannot reserve its room: No space left on device; at least ") != full.err.npos &&
                      full.err.find(" free; make room and repeat") != full.err.npos;
    const StateFolder::Found kept = StateFolder(output() / "states").newest();
    const bool intact = kept.state && kept.passed_over.empty();
    ::mount("tmpfs", output().c_str(), "tmpfs", MS_REMOUNT, "size=8m");
    const Ended e = run(train());
    if (!told || !intact || e.code != 0) std::cerr << full.code << ' ' << full.err << "\nthen " << e.code << ' ' << e.err;
    fs::copy(output(), folder_ / "result", fs::copy_options::recursive);
    ::_exit(told && intact && e.code == 0 ? 0 : 1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 77) GTEST_SKIP() << "mounting a small disk is not allowed here";
  ASSERT_TRUE(WIFEXITED(status));
  ASSERT_EQ(WEXITSTATUS(status), 0);
  expect_same_run(whole(), folder_ / "result");
}

TEST_F(Resume, AnInterruptAndATimeLimitSaveTheState) {
  train_whole();
  config_.train.steps = 100000;
  const pid_t process = start(train());
  while (!fs::exists(output() / "states/0000002.json")) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  ::kill(process, SIGTERM);
  const Ended e = end(process);
  EXPECT_EQ(e.code, 130);
  EXPECT_HAS(e.err, "interrupted after step ");
  EXPECT_HAS(e.err, "go on with --resume auto");
  newest_step(2);
  fs::remove_all(output());

  config_.train.steps = 12, config_.train.time_limit = 1e-9;
  const Ended limited = run(train());
  EXPECT_EQ(limited.code, 0);
  EXPECT_HAS(limited.out, "stopped at the time limit after step 1; go on with --resume auto");
  EXPECT_FALSE(fs::exists(output() / "final.safetensors"));
  EXPECT_EQ(newest_step(1), 1);
}

TEST_F(Resume, WrongRequestsAreRefused) {
  const auto refused = [&](const std::string& resume) {
    const Ended e = run(train(resume));
    EXPECT_EQ(e.code, 2) << e.err;
    return e.err;
  };
  EXPECT_HAS(refused((folder_ / "none.h5").string()), "none.h5: not the name of a training's state");
  EXPECT_HAS(refused((folder_ / "0000012.h5").string()), "0000012.h5: no such file");
  ASSERT_EQ(run(train("none")).code, 0);
  EXPECT_HAS(refused("none"), "already holds a training; go on with it (--resume auto)");
}

}  // namespace
}  // namespace relume::test
