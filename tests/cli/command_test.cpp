// The command as its users meet it: exit codes, one message, nothing half-written (design D11).
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fcntl.h>

#include <chrono>
#include <thread>

#include "base/files.h"
#include "base/version.h"
#include "data/checkpoint/safetensors.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_training.h"
#include "train/stage1.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

struct Ended {
  int code = -1;
  std::string out, err;
};

class Command : public testing::Test {
 protected:
  void SetUp() override {
    const char* command = std::getenv("RELUME_COMMAND");
    if (!command) GTEST_SKIP() << "RELUME_COMMAND is not set to the built command";
    command_ = command;
    write_pictures(folder_ / "pictures", 2);
    config_ = small_training(folder_.path());
    config_.train.steps = 2;
  }

  pid_t start(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), command_);
    std::vector<char*> argv;
    for (std::string& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    for (const auto& [descriptor, name] : {std::pair{STDOUT_FILENO, "stdout"}, std::pair{STDERR_FILENO, "stderr"}})
      posix_spawn_file_actions_addopen(&actions, descriptor, (folder_ / name).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    pid_t process = 0;
    const int error = posix_spawn(&process, command_.c_str(), &actions, nullptr, argv.data(), environ);
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

  std::string config_file() {
    write_file_atomically(folder_ / "config.yaml", to_yaml(config_));
    return folder_ / "config.yaml";
  }
  // Expects exit code 2, silence on standard output, and one message: "relume: ...", further lines indented.
  std::string refused(const std::vector<std::string>& arguments) {
    const Ended e = run(arguments);
    EXPECT_EQ(e.code, 2) << e.err;
    EXPECT_EQ(e.out, "");
    EXPECT_TRUE(e.err.starts_with("relume: ")) << e.err;
    EXPECT_TRUE(e.err.ends_with("\n")) << e.err;
    for (size_t at = e.err.find('\n'); at + 1 < e.err.size(); at = e.err.find('\n', at + 1))
      EXPECT_EQ(e.err.substr(at + 1, 2), "  ") << e.err;
    EXPECT_FALSE(fs::exists(folder_ / "out")) << "left behind by: " << e.err;
    return e.err;
  }
  std::string weights(const SwinIRConfig& config = small_network()) {
    const SwinIR network(config);
    network.initialise(1);
    save_swinir(network, 0, folder_ / "weights.safetensors");
    return folder_ / "weights.safetensors";
  }
  void truncate(const std::string& name) {
    const std::string whole = read_file(folder_ / name);
    write_file_atomically(folder_ / name, std::string_view(whole).substr(0, whole.size() / 2));
  }

  TemporaryFolder folder_;
  std::string command_;
  Stage1Config config_;
};

TEST_F(Command, TellsItsVersion) {
  const Ended e = run({"--version"});
  EXPECT_EQ(e.code, 0);
  EXPECT_HAS(e.out, version_number());
  EXPECT_EQ(e.err, "");
}

TEST_F(Command, RefusesAnUnknownSubCommandWithTheNearest) {
  EXPECT_HAS(refused({"restor"}), "unknown command 'restor' (did you mean 'restore'?)");
  EXPECT_HAS(refused({"train", config_file(), "--overwrit"}), "unknown argument '--overwrit'");
  EXPECT_HAS(refused({"restore", "in.png", "out"}), "--checkpoint is required");
  refused({});
}

TEST_F(Command, RefusesAMisspeltKeyWithFileLineAndNearestName) {
  write_file_atomically(folder_ / "config.yaml", "output: " + (folder_ / "out").string() +
                                                     "\nmodel:\n  embed_dim: 8\n  window_sise: 4\ndata:\n  pictures: " +
                                                     (folder_ / "pictures").string() + "\n");
  EXPECT_EQ(refused({"train", folder_ / "config.yaml"}),
            "relume: " + (folder_ / "config.yaml").string() +
                ":4: unknown key 'model.window_sise' (did you mean 'model.window_size'?)\n");
  EXPECT_HAS(refused({"train", config_file(), "train.stebs=3"}),
             "command line: train.stebs=3: unknown key 'train.stebs' (did you mean 'train.steps'?)");
}

TEST_F(Command, RefusesAWrongTypeAndAWrongRange) {
  EXPECT_HAS(refused({"train", config_file(), "train.steps=many"}), "train.steps is 'many', expected an integer");
  EXPECT_HAS(refused({"train", config_file(), "train.batch_size=0"}), "train.batch_size is 0, expected 1..65536");
  EXPECT_HAS(refused({"train", config_file(), "data.crop=middle"}), "data.crop is 'middle', expected ");
  write_file_atomically(folder_ / "config.yaml", "train:\n  lr: [1, 2]\ndata:\n  pictures: x\n");
  EXPECT_HAS(refused({"train", folder_ / "config.yaml"}), "config.yaml:2: train.lr ");
}

TEST_F(Command, RefusesMissingFilesAndEmptyFolders) {
  make_folder(folder_ / "empty");
  EXPECT_HAS(refused({"train", folder_ / "absent.yaml"}), "absent.yaml: ");
  EXPECT_HAS(refused({"train", config_file(), "data.pictures=" + (folder_ / "absent").string()}), "absent: no such folder");
  EXPECT_HAS(refused({"train", config_file(), "data.pictures=" + (folder_ / "empty").string()}),
             "empty: no pictures in this folder");
  EXPECT_HAS(refused({"restore", folder_ / "absent.png", folder_ / "out", "--checkpoint", weights()}),
             "absent.png: no such file");
  EXPECT_HAS(refused({"restore", folder_ / "empty", folder_ / "out", "--checkpoint", weights()}), "empty: holds no picture");
  EXPECT_HAS(refused({"restore", folder_ / "pictures", folder_ / "out", "--checkpoint", folder_ / "absent.safetensors"}),
             "absent.safetensors: ");
}

TEST_F(Command, RefusesPicturesThatAreTooSmallOrTruncated) {
  write_pictures(folder_ / "small", 1);
  write_png(folder_ / "small/0.png", natural_picture(15, 40, 1));
  write_pictures(folder_ / "cut", 1);
  truncate("cut/0.png");
  EXPECT_HAS(refused({"train", config_file(), "data.pictures=" + (folder_ / "small").string()}),
             "small/0.png: picture of 40x15 pixels is too small for patches of 16x16; ");
  EXPECT_HAS(refused({"train", config_file(), "data.pictures=" + (folder_ / "cut").string()}), "cut/0.png: truncated PNG");
  EXPECT_HAS(refused({"restore", folder_ / "cut/0.png", folder_ / "out.png", "--checkpoint", weights()}),
             "cut/0.png: truncated PNG");
  EXPECT_FALSE(fs::exists(folder_ / "out.png"));
}

TEST_F(Command, RefusesACheckpointOfAnotherNetwork) {
  SwinIRConfig other = small_network();
  other.embed_dim = 10;
  write_file_atomically(folder_ / "other.yaml", to_yaml(other));
  const std::string message = refused(
      {"restore", folder_ / "pictures", folder_ / "out", "--checkpoint", weights(), "--config", folder_ / "other.yaml"});
  EXPECT_EQ(occurrences(message, "\n  shape of conv_first.weight: [8, 12, 3, 3], expected [10, 12, 3, 3]"), 1) << message;
}

TEST_F(Command, TrainsAndRestores) {
  const Ended trained = run({"train", config_file(), "train.checkpoint_every=1", "seed=8"});
  ASSERT_EQ(trained.code, 0) << trained.err;
  EXPECT_HAS(trained.out, "trained 2 steps");
  EXPECT_HAS(read_file(folder_ / "out/config.yaml"), "seed: 8");
  const Ended restored =
      run({"restore", folder_ / "pictures", folder_ / "restored", "--checkpoint", folder_ / "out/final.safetensors"});
  ASSERT_EQ(restored.code, 0) << restored.err;
  EXPECT_HAS(restored.out, "2 pictures restored");
  EXPECT_EQ(read_image(folder_ / "restored/1.png").shape(), (Shape{36, 40, 3}));
  const Ended again = run({"train", config_file()});
  EXPECT_EQ(again.code, 2);
  EXPECT_HAS(again.err, "already holds trained weights");
  EXPECT_TRUE(fs::exists(folder_ / "out/final.safetensors"));
}

TEST_F(Command, AnInterruptedTrainingSavesItsWeights) {
  config_.train.steps = 1000000000, config_.train.checkpoint_every = 1000000000;
  config_.train.log_every = 1;
  const pid_t process = start({"train", config_file()});
  const fs::path log = folder_ / "out/log.jsonl";
  const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!(fs::exists(log) && fs::file_size(log) > 0) && std::chrono::steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  kill(process, SIGINT);
  const Ended e = end(process);
  EXPECT_EQ(e.code, 130) << e.err;
  EXPECT_EQ(occurrences(e.err, "relume: "), 1) << e.err;
  EXPECT_HAS(e.err, "relume: interrupted after step ");
  EXPECT_FALSE(fs::exists(folder_ / "out/final.safetensors")) << "the training is not finished";
  std::vector<fs::path> saved = list_files(folder_ / "out/checkpoints", {".safetensors"}, false);
  ASSERT_EQ(saved.size(), 1u);
  EXPECT_HAS(e.err, saved[0].string());
  const SwinIR network(small_network());
  load_strict(network, SafetensorsFile(saved[0]));
}

}  // namespace
}  // namespace relume::test
