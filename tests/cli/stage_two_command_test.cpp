// relume restore with stage two, and relume init, as their users meet them.
#include "base/files.h"
#include "configs/reader.h"
#include "data/image.h"
#include "infer/stage_two_config.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/pictures.h"
#include "tests/support/reference_training.h"
#include "tests/support/small_control_ldm.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class StageTwoCommand : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    if (IsSkipped()) return;
    StageTwoConfig preset;
    preset.networks = small_published_config();
    preset.sampler = "spaced", preset.steps = 2, preset.cfg_scale = 1, preset.upscale = 1;
    preset.files.prior = "random";
    write_file_atomically(folder_ / "small.yaml", to_yaml(preset));
    make_folder(folder_ / "published");
    save_small_restorer(folder_ / "published/random.safetensors");
    write_png(folder_ / "in.png", natural_picture(40, 50, 1));
  }
  Ended restore(const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> all{"restore", folder_ / "in.png", folder_ / out};
    all.insert(all.end(), more.begin(), more.end());
    return run(all);
  }
};

TEST_F(StageTwoCommand, APresetAndAFolderOfPublishedFilesAreEnough) {
  const std::vector<std::string> common{"--preset", folder_ / "small.yaml", "--models", folder_ / "published", "--short-edge",
                                        "64"};
  const auto with = [&](const std::string& out, std::vector<std::string> more) {
    more.insert(more.begin(), common.begin(), common.end());
    return restore(out, more);
  };
  const Ended plain = with("plain.png", {});
  ASSERT_EQ(plain.code, 0) << plain.err;
  EXPECT_HAS(plain.err, "stage two 2 steps of spaced, guidance 1, seed 231, from random.safetensors");
  EXPECT_EQ(read_image(folder_ / "plain.png").shape(), (Shape{40, 50, 3}));
  const Ended other = with("other.png", {"--steps", "3", "--start_point_type", "cond", "--seed", "7", "--checkpoint", "none"});
  ASSERT_EQ(other.code, 0) << other.err;
  EXPECT_HAS(other.err, "none: pictures are taken as they are");
  EXPECT_HAS(other.err, "stage two 3 steps of spaced, guidance 1, seed 7");
  EXPECT_NE(read_file(folder_ / "plain.png"), read_file(folder_ / "other.png"));
}

TEST_F(StageTwoCommand, WhatIsMissingOrMakesNoSenseIsNamed) {
  const auto says = [&](const std::vector<std::string>& more, const char* words) {
    const Ended e = restore("out.png", more);
    EXPECT_EQ(e.code, 2) << words;
    EXPECT_HAS(e.err, words);
  };
  says({"--version", "v2.1"}, "name its file with --prior, or the folder that holds sd2.1-base-zsnr-laionaes5");
  says({"--version", "v2.1", "--models", folder_ / "published"}, "holds no sd2.1-base-zsnr-laionaes5");
  says({"--cfg-scale", "4"}, "--cfg-scale is for stage two; give --version (v1, v2, v2.1, custom) or --preset too");
  says({"--preset", "v3-sr"}, "no file and no preset is called 'v3-sr' (did you mean 'v1-sr'?)");
  says({"--preset", folder_ / "small.yaml", "--models", folder_ / "published", "--steps", "none"}, "steps=none");
  says({"--preset", folder_ / "small.yaml", "--models", folder_ / "published", "--prompt", "x", "--short-edge", "64",
        "--merges", folder_ / "merges.gz"},
       "merges.gz");
}

// Networks, schedule and files of a training are those of the preset that says the same.
TEST_F(StageTwoCommand, CustomTakesATrainingsConfiguration) {
  const fs::path whole = folder_ / "published/random.safetensors", control = folder_ / "control.safetensors",
                 stage1 = folder_ / "stage1.safetensors", training = folder_ / "train.yaml";
  ASSERT_EQ(run({"convert", whole, control, "--part", "control"}).code, 0);
  ASSERT_EQ(run({"convert", whole, stage1, "--part", "stage1"}).code, 0);
  write_file_atomically(training, small_reference_training(whole, stage1));
  const auto custom = [&](const std::string& out, std::vector<std::string> more) {
    more.insert(more.end(), {"--version", "custom", "--sampler", "spaced", "--steps", "2", "--cfg-scale", "1", "--upscale", "1",
                             "--pos-prompt", "", "--short-edge", "64"});
    return restore(out, more);
  };
  const Ended made = custom("custom.png", {"--train_cfg", training, "--ckpt", control});
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_HAS(made.err, "from random.safetensors and control.safetensors");
  ASSERT_EQ(restore("preset.png", {"--preset", folder_ / "small.yaml", "--prior", whole, "--short-edge", "64"}).code, 0);
  EXPECT_EQ(read_file(folder_ / "custom.png"), read_file(folder_ / "preset.png"));
  ASSERT_EQ(custom("raw.png", {"--train-cfg", training, "--ckpt", control, "--checkpoint", "none"}).code, 0);
  EXPECT_NE(read_file(folder_ / "raw.png"), read_file(folder_ / "preset.png"));

  EXPECT_HAS(custom("x.png", {"--train-cfg", training}).err, "--version custom needs --train-cfg");
  EXPECT_HAS(custom("x.png", {"--train-cfg", training, "--ckpt", control, "--control", control}).err, "leave --control out");
  EXPECT_HAS(restore("x.png", {"--version", "v2", "--ckpt", control}).err, "go with --version custom");
  write_file_atomically(training, small_reference_training("", stage1));
  EXPECT_HAS(custom("x.png", {"--train-cfg", training, "--ckpt", control}).err, "its train.sd_path is empty");
  write_file_atomically(training, small_reference_training(whole, ""));
  EXPECT_HAS(custom("x.png", {"--train-cfg", training, "--ckpt", control}).err, "its train.swinir_path is empty");
}

TEST_F(StageTwoCommand, FacesAreRestoredApart) {
  const std::string header = "file_name,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n";
  write_file_atomically(folder_ / "faces.csv", header + "in.png,20,15,30,15,25,21,21,26,29,26\n");
  const std::vector<std::string> common{"--preset", folder_ / "small.yaml", "--models", folder_ / "published", "--short-edge",
                                        "64"};
  const auto with = [&](const std::string& out, std::vector<std::string> more) {
    more.insert(more.begin(), common.begin(), common.end());
    return restore(out, more);
  };
  const std::vector<std::string> faces{
      "--task", "unaligned_face", "--landmarks",      folder_ / "faces.csv", "--face-checkpoint",
      "none",   "--save-stages",  folder_ / "stages", "--json-log",          folder_ / "log.jsonl"};
  const Ended restored = with("faces.png", faces);
  ASSERT_EQ(restored.code, 0) << restored.err;
  EXPECT_HAS(restored.err, "faces     no network of stage one");
  EXPECT_EQ(read_image(folder_ / "faces.png").shape(), (Shape{40, 50, 3}));
  EXPECT_EQ(read_image(folder_ / "stages/restored_faces/faces_0.png").shape(), (Shape{512, 512, 3}));
  EXPECT_HAS(read_file(folder_ / "log.jsonl"), "\"faces\":[{\"points\":[[");
  ASSERT_EQ(with("plain.png", {}).code, 0);
  EXPECT_NE(read_file(folder_ / "faces.png"), read_file(folder_ / "plain.png"));

  EXPECT_HAS(with("x.png", {"--task", "unaligned_face"}).err, "needs --landmarks");
  EXPECT_HAS(with("x.png", {"--task", "unaligned_face", "--landmarks", folder_ / "faces.csv"}).err, "--face-checkpoint");
  EXPECT_HAS(with("x.png", {"--landmarks", folder_ / "faces.csv"}).err, "go with --task unaligned_face");
  EXPECT_HAS(restore("x.png", {"--version", "v1", "--task", "unaligned_face"}).err, "is not for v1");
}

TEST_F(StageTwoCommand, EveryPresetIsWhole) {
  for (const char* version : {"v1", "v2", "v2.1"})
    for (const std::string task : {"sr", "face", "denoise", "unaligned_face"}) {
      if (task == "unaligned_face" && version == std::string("v1")) continue;
      std::vector<std::string> asked{"--version", version, "--task", task};
      if (task == "unaligned_face") asked.insert(asked.end(), {"--landmarks", folder_ / "published"});
      const Ended e = restore("out.png", asked);
      EXPECT_EQ(e.code, 2) << e.err;
      EXPECT_HAS(e.err, "with --models");
    }
}

TEST_F(StageTwoCommand, InitWritesNetworksThatRestore) {
  const std::string file = folder_ / "random.safetensors";
  std::vector<std::string> arguments{"init", file};
  for (const char* key : {"control.model_channels=32", "control.channel_mult=[1, 2]", "control.num_res_blocks=1",
                          "control.attention_resolutions=[2]", "control.num_head_channels=16", "control.context_dim=12",
                          "vae.ch=32", "vae.ch_mult=[1, 1, 1, 1]", "vae.num_res_blocks=1", "text.width=12", "text.heads=2",
                          "text.layers=2", "text.embed_dim=12"})
    arguments.push_back(std::string("networks.") + key);
  const Ended made = run(arguments);
  ASSERT_EQ(made.code, 0) << made.err;
  EXPECT_HAS(made.out, "random numbers, written to " + file);
  EXPECT_EQ(run(arguments).code, 2);
  const Ended restored = restore("out.png", {"--preset", folder_ / "small.yaml", "--prior", file, "--control", "none",
                                             "--checkpoint", "none", "--short-edge", "64"});
  EXPECT_EQ(restored.code, 0) << restored.err;
}

TEST_F(StageTwoCommand, ConvertTakesPartsOut) {
  const std::string whole = folder_ / "published/random.safetensors";
  const auto part = [&](const std::string& name) {
    const std::string to = folder_ / (name + ".safetensors");
    const Ended e = run({"convert", whole, to, "--part", name});
    EXPECT_EQ(e.code, 0) << e.err;
    return run({"inspect", to}).out;
  };
  EXPECT_HAS(part("stage1"), "network:   SwinIR, whole");
  EXPECT_HAS(part("control"), "network:   IRControlNet");
  EXPECT_HAS(part("unet"), "network:   UNet of Stable Diffusion");
  EXPECT_HAS(part("prior"), "network:   Stable Diffusion");
  const std::string prior = folder_ / "prior.safetensors", control = folder_ / "control.safetensors",
                    stage1 = folder_ / "stage1.safetensors";
  const Ended again = run({"convert", prior, folder_ / "none.safetensors", "--part", "control"});
  EXPECT_EQ(again.code, 2);
  EXPECT_HAS(again.err, "holds no tensors of the part control");
  const auto restored = [&](const std::string& out, std::vector<std::string> files) {
    files.insert(files.end(), {"--preset", folder_ / "small.yaml", "--short-edge", "64"});
    const Ended e = restore(out, files);
    EXPECT_EQ(e.code, 0) << e.err;
    return read_file(folder_ / out);
  };
  EXPECT_EQ(restored("parts.png", {"--prior", prior, "--control", control, "--checkpoint", stage1}),
            restored("whole.png", {"--prior", whole, "--control", "none"}));
}

}  // namespace
}  // namespace relume::test
