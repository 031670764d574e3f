// The built command, run as its users run it.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/numbers.h"

namespace relume::test {

struct Ended {
  int code = -1;  // -1: ended by a signal
  std::string out, err;
};

class CommandTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* command = std::getenv("RELUME_COMMAND");
    if (!command) GTEST_SKIP() << "RELUME_COMMAND is not set to the built command";
    command_ = command;
  }

  pid_t start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), command_);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    std::vector<char*> variables;
    for (std::string& v : environment_) variables.push_back(v.data());  // the first of a name counts
    for (char** v = environ; *v; ++v) variables.push_back(*v);
    variables.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const auto& [descriptor, name] : {std::pair{STDOUT_FILENO, "stdout"}, std::pair{STDERR_FILENO, "stderr"}})
      posix_spawn_file_actions_addopen(&actions, descriptor, (folder_ / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t process = 0;
    const int error = posix_spawn(&process, command_.c_str(), &actions, nullptr, argv.data(), variables.data());
    posix_spawn_file_actions_destroy(&actions);
    if (error != 0) throw Error(command_ + " cannot be started");
    return process;
  }
  Ended end(pid_t process) {
    int status = 0;
    waitpid(process, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_file(folder_ / "stdout"), read_file(folder_ / "stderr")};
  }
  Ended run(const std::vector<std::string>& arguments) { return end(start(arguments)); }
  // What it says when it refuses its arguments or their files.
  std::string refused(const std::vector<std::string>& arguments) {
    const Ended e = run(arguments);
    EXPECT_EQ(e.code, 2) << e.err;
    EXPECT_EQ(e.out, "");
    return e.err;
  }

  TemporaryFolder folder_;
  std::string command_;
  std::vector<std::string> environment_;  // "NAME=value", for the command alone
};

}  // namespace relume::test
