// What happens when one of three ranks is killed, stopped, fails, or does not come: the others end in time and name it. The
// ranks are this very program, started by mpirun with an argument.
#include <gtest/gtest.h>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include "base/error.h"
#include "base/files.h"
#include "tensor/backends.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "train/dist/communicator.h"

namespace relume::test {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// One rank: writes its process's number to a file, then adds up until it is told or made to stop.
int work(const std::string& folder, const std::string& what) {
  const auto everyone =
      make_communicator({.heartbeat = milliseconds(200), .silence = milliseconds(2500), .collective = milliseconds(3000)});
  const int rank = everyone->rank();
  write_file_atomically(std::filesystem::path(folder) / std::to_string(rank), std::to_string(getpid()));
  const Tensor x = Tensor::zeros({1000});
  for (int step = 0;; ++step) {
    if (rank == 1 && step == 20 && what == "fail") throw Error("the disk is full");
    if (rank == 1 && step == 20 && what == "stay_away") std::this_thread::sleep_for(std::chrono::seconds(60));
    if (step == 20 && what == "finish") break;
    everyone->all_reduce(x);
    std::this_thread::sleep_for(milliseconds(10));
  }
  return 0;
}

class LostRank : public testing::Test {
 protected:
  // Starts three ranks; their output goes to a file.
  void start(const std::string& what) {
    std::vector<std::string> words{
        RELUME_MPIRUN, "--allow-run-as-root", "--oversubscribe", "-n", "3", "/proc/self/exe", "--rank", folder_.path(), what};
    words[5] = std::filesystem::read_symlink(words[5]);  // else it would be mpirun's own
    std::vector<char*> argv;
    for (std::string& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, (folder_ / "output").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    ASSERT_EQ(posix_spawn(&launcher_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  pid_t process_of(int rank) const {
    for (int tries = 0; tries < 300; ++tries) {
      if (std::ifstream in(folder_ / std::to_string(rank)); in) {
        pid_t process = 0;
        if (in >> process) return process;
      }
      std::this_thread::sleep_for(milliseconds(100));
    }
    return 0;
  }
  // Seconds until the launcher has ended, which it does when all ranks have; 100 when it has not.
  double wait_for_end() {
    const Clock::time_point begin = Clock::now();
    for (int i = 0; i < 1000; ++i) {
      if (waitpid(launcher_, &status_, WNOHANG) == launcher_)
        return std::chrono::duration<double>(Clock::now() - begin).count();
      std::this_thread::sleep_for(milliseconds(100));
    }
    kill(launcher_, SIGKILL);
    return 100;
  }
  std::string output() const { return read_file(folder_ / "output"); }
  bool ended_well() const { return WIFEXITED(status_) && WEXITSTATUS(status_) == 0; }

  TemporaryFolder folder_;
  pid_t launcher_ = 0;
  int status_ = 0;
};

TEST_F(LostRank, NobodyIsLostWhereAllFinish) {
  start("finish");
  EXPECT_LT(wait_for_end(), 60);
  EXPECT_TRUE(ended_well()) << output();
  EXPECT_EQ(output(), "");
}

TEST_F(LostRank, AKilledRankEndsTheOthers) {
  start("work");
  const pid_t process = process_of(1);
  ASSERT_GT(process, 0) << output();
  process_of(0), process_of(2);
  kill(process, SIGKILL);
  EXPECT_LT(wait_for_end(), 30);
  EXPECT_FALSE(ended_well());
  EXPECT_HAS(output(), "rank 1");
}

TEST_F(LostRank, AStoppedRankEndsTheOthers) {
  start("work");
  const pid_t process = process_of(1), others[] = {process_of(0), process_of(2)};
  ASSERT_GT(process, 0) << output();
  kill(process, SIGSTOP);
  for (const pid_t other : others) {
    const Clock::time_point begin = Clock::now();
    while (kill(other, 0) == 0 && Clock::now() - begin < std::chrono::seconds(30))
      std::this_thread::sleep_for(milliseconds(50));
    EXPECT_NE(kill(other, 0), 0) << "still there";
  }
  EXPECT_HAS(output(), "relume: rank 1 (process " + std::to_string(process));
  EXPECT_HAS(output(), "is lost: no sign of life for ");
  kill(process, SIGKILL);
  wait_for_end();
}

TEST_F(LostRank, AFailingRankEndsTheOthers) {
  start("fail");
  EXPECT_LT(wait_for_end(), 30);
  EXPECT_FALSE(ended_well());
  EXPECT_HAS(output(), "rank 1: the disk is full");
  EXPECT_HAS(output(), "is lost: its process ended");
}

TEST_F(LostRank, ARankThatDoesNotComeEndsTheOthers) {
  start("stay_away");
  EXPECT_LT(wait_for_end(), 30);
  EXPECT_FALSE(ended_well());
  EXPECT_HAS(output(), "relume: rank 1 (process ");
  EXPECT_HAS(output(), "has waited for it for ");
}

}  // namespace
}  // namespace relume::test

int main(int argc, char** argv) {
  relume::register_backends();
  if (argc == 4 && std::string(argv[1]) == "--rank") {
    const char* rank = std::getenv("OMPI_COMM_WORLD_RANK");
    try {
      return relume::test::work(argv[2], argv[3]);
    } catch (const std::exception& e) {
      std::fprintf(stderr, "rank %s: %s\n", rank ? rank : "?", e.what());
      return 1;
    }
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
