// The command as its users meet it: exit codes, one message, nothing half-written (design D11).
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/version.h"
#include "data/checkpoint/safetensors.h"
#include "data/metrics/similarity.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_training.h"
#include "train/stage1.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class Command : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    if (IsSkipped()) return;
    write_pictures(folder_ / "pictures", 2);
    config_ = small_training(folder_.path());
    config_.train.steps = 2;
  }

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
  EXPECT_HAS(refused({"restore", "in.png"}), "output is required");
  EXPECT_HAS(refused({"restore", "in.png", "out", "--config", "network.yaml"}), "--config requires --checkpoint");
  EXPECT_HAS(refused({"restore", "in.png", "out", "--device", "gpu"}), "--device 'gpu': expected auto, cpu, cuda, or cuda:0");
  EXPECT_HAS(refused({"restore", "in.png", "out", "--device", "cpu", "--precision", "bf16"}), "--precision bf16 is for GPUs");
  EXPECT_HAS(refused({"restore", "in.png", "out", "--device", "cpu", "--tune"}), "--tune is for GPUs");
  EXPECT_HAS(refused({"train", config_file(), "--device", "cpu", "--tune"}), "--tune is for GPUs");
  refused({});
}

// Where there is a GPU there are fewer than 64; where there is none, doctor tells the same reason.
TEST_F(Command, SaysWhyADeviceCannotBeUsed) {
  const auto doctor = nlohmann::json::parse(run({"doctor", "--quick", "--json"}).out);
  const std::string reason = doctor["build"]["gpus"]["reason"];
  const std::string said = "--device cuda:63: " + (reason.empty() ? "this process sees" : reason);
  EXPECT_HAS(refused({"restore", "in.png", "out.png", "--device", "cuda:63"}), said);
  EXPECT_HAS(refused({"train", config_file(), "--device", "cuda:63"}), said);
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
  EXPECT_HAS(again.err, "already holds a training");
  EXPECT_TRUE(fs::exists(folder_ / "out/final.safetensors"));
}

TEST_F(Command, MeasuresPicturesAgainstOthers) {
  make_folder(folder_ / "truth/sub");
  fs::copy_file(folder_ / "pictures/0.png", folder_ / "truth/0.png");
  write_png(folder_ / "truth/1.png", natural_picture(36, 40, 9));
  const Ended e = run({"metrics", folder_ / "pictures", folder_ / "truth", "--crop", "2", "--json", folder_ / "scores.json",
                       "--csv", folder_ / "scores.csv"});
  ASSERT_EQ(e.code, 0) << e.err;
  EXPECT_HAS(e.out, "PSNR RGB: 1 infinite, not in the mean");
  EXPECT_HAS(e.out, "# crop: 2 pixels at every border");
  const double expected = psnr_exact(read_image(folder_ / "pictures/1.png"), read_image(folder_ / "truth/1.png"), {.crop = 2});
  const auto json = nlohmann::json::parse(read_file(folder_ / "scores.json"));
  EXPECT_EQ(json["pictures"][0]["name"], "0");
  EXPECT_EQ(json["pictures"][0]["psnr_rgb"], "inf");
  EXPECT_EQ(json["pictures"][0]["ssim_y"], 1.0);
  EXPECT_EQ(json["pictures"][1]["psnr_rgb"].get<double>(), expected);
  EXPECT_TRUE(json["pictures"][1]["niqe"].is_null()) << "too small for a block";
  EXPECT_EQ(json["mean"]["psnr_rgb"].get<double>(), expected);
  EXPECT_HAS(read_file(folder_ / "scores.csv"), "\n\"0\",inf,inf,1,1,,\n");

  write_png(folder_ / "large.png", natural_picture(200, 200, 4));
  const Ended alone = run({"metrics", folder_ / "large.png"});
  EXPECT_EQ(alone.code, 0) << alone.err;
  EXPECT_HAS(alone.out, "NIQE");
  EXPECT_EQ(occurrences(alone.out, "PSNR"), 0) << alone.out;
}

TEST_F(Command, MeasuresTheOthersWhenAPictureCannotBe) {
  write_pictures(folder_ / "truth", 3);
  fs::copy_file(folder_ / "pictures/0.png", folder_ / "pictures/4.png");
  write_png(folder_ / "truth/1.png", natural_picture(36, 41, 1));
  write_png(folder_ / "truth/4.png", natural_picture(36, 40, 1));
  truncate("truth/4.png");
  const Ended e = run({"metrics", folder_ / "pictures", folder_ / "truth", "--csv", folder_ / "scores.csv"});
  EXPECT_EQ(e.code, 2);
  EXPECT_HAS(e.err, "relume: 3 of 4 pictures could not be measured\n");
  EXPECT_HAS(e.err, "pictures/1.png: 40x36 pixels, but ");
  EXPECT_HAS(e.err, "truth/2.png: no picture of this name in ");
  EXPECT_HAS(e.err, "truth/4.png: truncated PNG");
  EXPECT_HAS(e.out, "\n0");
  EXPECT_HAS(read_file(folder_ / "scores.csv"), "\"mean\"");

  EXPECT_HAS(refused({"metrics", folder_ / "pictures", folder_ / "truth/0.png"}), "one is a folder, the other is not");
  EXPECT_HAS(refused({"metrics", folder_ / "absent"}), "absent: no such file or folder");
  EXPECT_HAS(refused({"metrics", folder_ / "pictures/0.png", "--crop", "18"}), "a border of 18 pixels leaves nothing");
  EXPECT_HAS(refused({"metrics", folder_ / "pictures/0.png", "--ssim", "box"}), "box not in {gauss,uniform}");
  EXPECT_HAS(refused({"metrics", folder_ / "pictures/0.png", folder_ / "truth/1.png"}), "pairs must be of one size");
}

TEST_F(Command, AnInterruptedTrainingSavesItsState) {
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
  EXPECT_HAS(e.err, "its state is in " + (folder_ / "out/states").string() + ", go on with --resume auto");
  EXPECT_FALSE(fs::exists(folder_ / "out/final.safetensors")) << "the training is not finished";
  EXPECT_EQ(list_files(folder_ / "out/states", {".h5"}, false).size(), 1u);
}

}  // namespace
}  // namespace relume::test
