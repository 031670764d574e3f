#include "train/stage1.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/text.h"
#include "data/checkpoint/safetensors.h"
#include "data/loader.h"
#include "data/pack/pack_writer.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/run_files.h"
#include "tests/support/small_training.h"
#include "train/stage1_data.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class Stage1 : public testing::Test {
 protected:
  void SetUp() override {
    write_pictures(folder_ / "pictures", 4);
    write_pictures(folder_ / "held_out", 2, 100);
    config_ = small_training(folder_.path());
  }
  std::vector<std::string> written() const {
    std::vector<std::string> names;
    if (!fs::exists(output())) return names;
    for (const auto& entry : fs::recursive_directory_iterator(output()))
      if (entry.is_regular_file()) names.push_back(fs::relative(entry.path(), output()).string());
    std::ranges::sort(names);
    return names;
  }
  std::vector<nlohmann::json> log() const {
    std::vector<nlohmann::json> lines;
    for (const std::string& line : split(read_file(output() / "log.jsonl"), '\n'))
      if (!line.empty()) lines.push_back(nlohmann::json::parse(line));
    return lines;
  }
  // The bytes of final.safetensors of a training into a folder of its own.
  std::string weights(Stage1Config config, const std::string& name) {
    config.output = (folder_ / name).string();
    return read_file(train_stage1(config).weights);
  }
  fs::path output() const { return config_.output; }

  TemporaryFolder folder_;
  Stage1Config config_;
};

TEST_F(Stage1, LearnsAndWritesWhatItPromises) {
  config_.data.validation = (folder_ / "held_out").string();
  config_.train.state_every = 10;
  const TrainingResult result = train_stage1(config_);
  EXPECT_EQ(result.steps, 30);
  EXPECT_EQ(result.weights, output() / "final.safetensors");
  EXPECT_EQ(written(),
            (std::vector<std::string>{"checkpoints/0000010.safetensors", "checkpoints/0000020.safetensors",
                                      "checkpoints/0000030.safetensors", "config.yaml", "events.out.tfevents.relume",
                                      "final.safetensors", "log.jsonl", "states/0000010.h5", "states/0000010.json",
                                      "states/0000020.h5", "states/0000020.json", "states/0000030.h5", "states/0000030.json"}));

  ASSERT_EQ(result.loss.size(), 6u);
  EXPECT_LT(result.loss.back().second, 0.9 * result.loss.front().second) << "noise of a fixed strength: the loss is comparable";
  ASSERT_EQ(result.validation.at("psnr").size(), 3u);
  EXPECT_EQ(result.validation.at("psnr")[1].first, 15);
  EXPECT_GT(result.validation.at("psnr").back().second, result.validation.at("psnr").front().second + 0.5)
      << "it starts as the identity";

  int losses = 0, validations = 0;
  for (const nlohmann::json& line : log()) {
    EXPECT_TRUE(line.at("step").is_number_integer());
    if (line.contains("validation_psnr")) {
      EXPECT_EQ(line.at("validation_psnr").get<double>(), result.validation.at("psnr")[size_t(validations)].second);
      EXPECT_EQ(line.at("validation_ssim").get<double>(), result.validation.at("ssim")[size_t(validations++)].second);
      EXPECT_FALSE(line.contains("validation_niqe")) << "these pictures are too small for it";
      continue;
    }
    EXPECT_EQ(line.at("step"), result.loss[size_t(losses)].first);
    EXPECT_EQ(line.at("loss").get<double>(), result.loss[size_t(losses++)].second);
    EXPECT_EQ(line.at("lr").get<double>(), 1e-3);
    EXPECT_GT(line.at("seconds").get<double>(), 0);
    EXPECT_GT(line.at("images_per_second").get<double>(), 0);
    EXPECT_GT(line.at("gradient_norm").get<double>(), 0);
  }
  EXPECT_EQ(losses, 6);
  EXPECT_EQ(validations, 3);
}

TEST(Stage1Config, TheShippedOnesAreThePublishedRecipes) {
  const auto read = [](const std::string& version) {
    return read_config<Stage1Config>(source_folder() / ("configs/train/stage1_" + version + ".yaml"));
  };
  for (const auto& [version, recipe, steps] : {std::tuple{"v1", "second_order_plain", 150000},
                                               {"v2", "wide_general", 150000},
                                               {"v2.1", "second_order_plain", 100000},
                                               {"face", "wide_face", 150000}}) {
    const Stage1Config c = read(version);
    EXPECT_EQ(to_yaml(c.model), to_yaml(SwinIRConfig{})) << version;
    EXPECT_EQ(to_yaml(c.degradation),
              to_yaml(read_config<Recipe>(source_folder() / ("configs/degrade/" + std::string(recipe) + ".yaml"))))
        << version;
    EXPECT_EQ(c.train.steps, steps) << version;
    EXPECT_EQ(c.train.batch_size, 96) << version;
    EXPECT_EQ(c.train.lr, 1e-4) << version;
    EXPECT_EQ(c.train.weight_decay, 0) << version;
    EXPECT_EQ(c.data.size, 512) << version;
    EXPECT_EQ(c.data.crop, version == std::string("v1") || version == std::string("v2") ? "center" : "none") << version;
  }
}

TEST_F(Stage1, WeightsCarryTheirConfigurationAndLoadStrictly) {
  config_.train.steps = 3;
  const SafetensorsFile file(train_stage1(config_).weights);
  EXPECT_EQ(file.metadata().at("relume.step"), "3");
  EXPECT_EQ(file.metadata().at("relume.weights"), "raw");
  const SwinIR network(read_config_text<SwinIRConfig>(file.metadata().at("relume.swinir"), "metadata"));
  EXPECT_EQ(to_yaml(network.config()), to_yaml(config_.model));
  load_strict(network, file);
}

TEST_F(Stage1, BeginsWithTheWeightsThatAreNamed) {
  const fs::path first = train_stage1(config_).weights;
  Stage1Config next = config_;
  next.weights = first.string(), next.output = (folder_ / "next").string(), next.train.steps = 0;
  const SafetensorsFile before(first), after(train_stage1(next).weights);
  for (const TensorInfo& t : before.tensors()) EXPECT_TRUE(same_bits(before.read(t.name), after.read(t.name))) << t.name;
  next.model.embed_dim += 4, next.output = (folder_ / "other").string();
  EXPECT_HAS(input_error([&] { train_stage1(next); }), first.string() + ": does not fit this network");
  EXPECT_FALSE(fs::exists(next.output));
}

TEST_F(Stage1, TheResolvedConfigurationReadsBackEqual) {
  config_.train.steps = 1;
  config_.train.lr = 1.0 / 3;
  train_stage1(config_);
  EXPECT_EQ(to_yaml(read_config<Stage1Config>(output() / "config.yaml")), to_yaml(config_));
}

TEST_F(Stage1, TheSameSeedGivesTheSameFileWhateverTheThreads) {
  config_.train.steps = 8;
  const std::string first = weights(config_, "a");
  EXPECT_TRUE(weights(config_, "b") == first) << "a second run differs";
  Stage1Config threads = config_, checkpointing = config_, seed = config_;
  threads.data.threads = 3;
  EXPECT_TRUE(weights(threads, "c") == first) << "three loader threads differ from one";
  checkpointing.train.activation_checkpointing = true;
  EXPECT_TRUE(weights(checkpointing, "d") == first) << "activation checkpointing changes the result";
  seed.seed = 6;
  EXPECT_FALSE(weights(seed, "e") == first) << "another seed must differ";
}

TEST_F(Stage1, ALastCheckpointEqualsTheFinalWeights) {
  config_.train.steps = 4;
  config_.train.checkpoint_every = 2;
  train_stage1(config_);
  EXPECT_TRUE(read_file(output() / "checkpoints/0000004.safetensors") == read_file(output() / "final.safetensors"));
  EXPECT_FALSE(read_file(output() / "checkpoints/0000002.safetensors") == read_file(output() / "final.safetensors"));
}

TEST_F(Stage1, TheRateFollowsItsSchedule) {
  config_.train.steps = 10, config_.train.log_every = 1;
  config_.train.warmup_steps = 4, config_.train.schedule = "cosine";
  train_stage1(config_);
  const auto lines = log();
  ASSERT_EQ(lines.size(), 10u);
  for (int step = 0; step < 10; ++step) {
    const double expected = 1e-3 * std::min(1.0, (step + 1) / 4.0) * 0.5 * (1 + std::cos(std::numbers::pi * step / 10));
    EXPECT_NEAR(lines[size_t(step)].at("lr").get<double>(), expected, 1e-12) << step;
  }
}

TEST_F(Stage1, AnExistingTrainingIsKeptUnlessOverwritten) {
  config_.train.steps = 2;
  train_stage1(config_);
  const std::string before = read_file(output() / "final.safetensors"), log_before = read_file(output() / "log.jsonl");
  config_.seed = 9;
  EXPECT_HAS(input_error([&] { train_stage1(config_); }),
             output().string() + ": already holds a training; go on with it (--resume auto)");
  EXPECT_TRUE(read_file(output() / "final.safetensors") == before);
  EXPECT_EQ(read_file(output() / "log.jsonl"), log_before);
  make_folder(output() / "checkpoints");
  write_file_atomically(output() / "checkpoints/0000001.safetensors", "old");
  config_.overwrite = true;
  train_stage1(config_);
  EXPECT_FALSE(read_file(output() / "final.safetensors") == before);
  EXPECT_EQ(written(), (std::vector<std::string>{"config.yaml", "events.out.tfevents.relume", "final.safetensors", "log.jsonl",
                                                 "states/0000002.h5", "states/0000002.json"}))
      << "old checkpoints are gone";
}

TEST_F(Stage1, ATimeBudgetTakesFewerSteps) {
  config_.train.steps = 100000000, config_.train.checkpoint_every = 100000000;
  config_.train.time_budget = 0.3;
  const TrainingResult result = train_stage1(config_);
  EXPECT_GE(result.steps, 1);
  EXPECT_LT(result.steps, 100000);
  EXPECT_GE(result.seconds, 0.25);
  EXPECT_LE(result.seconds, 3);
  EXPECT_TRUE(fs::exists(result.weights));
}

TEST_F(Stage1, TooFewStepsToLogStillLogTheLast) {
  config_.train.steps = 7;
  EXPECT_EQ(train_stage1(config_).loss.back().first, 7);
}

// Whatever is wrong with what it was given is found before anything is written.
TEST_F(Stage1, RefusalsLeaveNothingBehind) {
  const auto refused = [&](auto change, const std::string& message) {
    Stage1Config config = config_;
    change(config);
    EXPECT_HAS(input_error([&] { train_stage1(config); }), message);
    EXPECT_EQ(written(), std::vector<std::string>{}) << message;
    EXPECT_FALSE(fs::exists(output())) << message;
  };
  make_folder(folder_ / "empty");
  write_pictures(folder_ / "small", 1);
  write_png(folder_ / "small/0.png", natural_picture(12, 40, 1));
  make_folder(folder_ / "cut");
  const std::string whole = read_file(folder_ / "pictures/0.png");
  write_file_atomically(folder_ / "cut/0.png", std::string_view(whole).substr(0, whole.size() / 2));
  make_folder(folder_ / "speck");
  write_png(folder_ / "speck/0.png", natural_picture(1, 40, 1));

  refused([&](Stage1Config& c) { c.data.pictures = (folder_ / "none").string(); }, "none: no such folder");
  refused([&](Stage1Config& c) { c.data.pictures = (folder_ / "empty").string(); }, "empty: no pictures in this folder");
  refused([&](Stage1Config& c) { c.data.pictures = (folder_ / "small").string(); },
          "small/0.png: picture of 40x12 pixels is too small");
  refused([&](Stage1Config& c) { c.data.pictures = (folder_ / "cut").string(); }, "cut/0.png: truncated PNG");
  refused([&](Stage1Config& c) { c.data.validation = (folder_ / "cut").string(); }, "cut/0.png: truncated PNG");
  refused([&](Stage1Config& c) { c.data.validation = (folder_ / "speck").string(); }, "speck/0.png: 40 x 1 pixels are too few");
  refused([&](Stage1Config& c) { c.data.bad_rate = 0; }, "say data.bad_pictures=stop");
  refused([&](Stage1Config& c) { c.data.size = 17; }, "data.size 17 is no multiple of 2");
  refused([&](Stage1Config& c) { c.model.sf = 2; }, "model.unshuffle must be on, or model.sf 1");
  refused([&](Stage1Config& c) { c.train.accumulate = 3; }, "train.accumulate 3 does not divide train.batch_size 4");
  refused([&](Stage1Config& c) { c.train.schedule = "milestones"; }, "train.milestones and train.schedule=milestones belong");
}

TEST_F(Stage1, APictureThatFailsLaterDoesNotCostWhatWasLearnt) {
  config_.train.batch_size = 1;
  config_.data.bad_pictures = "stop";
  const uint32_t sixth = epoch_order(uint64_t(config_.seed), 0, 8)[5];
  write_pictures(folder_ / "pictures", 8);
  write_png(folder_ / "pictures" / (std::to_string(sixth) + ".png"), natural_picture(15, 40, 1));
  const std::string message = input_error([&] { train_stage1(config_); });
  EXPECT_HAS(message, "is too small for patches");
  EXPECT_HAS(message, "\n  met after step 5; the state of that step is saved, go on with --resume auto");
  EXPECT_EQ(written(), (std::vector<std::string>{"config.yaml", "events.out.tfevents.relume", "log.jsonl", "states/0000005.h5",
                                                 "states/0000005.json"}));
}

TEST_F(Stage1, BadPicturesAreReplacedAndLoggedOnce) {
  config_.train.steps = 8;
  write_pictures(folder_ / "pictures", 8);
  write_file_atomically(folder_ / "pictures/2.png", "broken");
  write_png(folder_ / "pictures/5.png", natural_picture(12, 40, 1));
  const std::string first = weights(config_, "a");
  std::vector<std::string> skipped;
  config_.output = (folder_ / "a").string();
  for (const nlohmann::json& line : log())
    if (line.contains("skipped"))
      skipped.push_back(line.at("skipped").get<std::string>() + "|" + line.at("reason").get<std::string>());
  ASSERT_EQ(skipped.size(), 2u) << "32 samples of eight pictures meet both, each four times";
  std::ranges::sort(skipped);
  EXPECT_HAS(skipped[0], "2.png|");
  EXPECT_HAS(skipped[0], "not a picture");
  EXPECT_HAS(skipped[1], "5.png: picture of 40x12 pixels is too small");
  config_.data.threads = 3;
  EXPECT_TRUE(weights(config_, "b") == first) << "replacements must not depend on threads";
}

TEST_F(Stage1, TooManyBadPicturesEndIt) {
  write_pictures(folder_ / "pictures", 12);
  for (int i = 1; i < 12; ++i) write_file_atomically(folder_ / ("pictures/" + std::to_string(i) + ".png"), "broken");
  EXPECT_HAS(input_error([&] { train_stage1(config_); }), "\n  11 of 12 pictures cannot be used, more than the 1 % allowed");
  config_.data.bad_rate = 1;
  config_.output = (folder_ / "all").string();
  EXPECT_EQ(train_stage1(config_).steps, 30) << "one good picture is enough for who insists";
}

TEST_F(Stage1, APackTrainsAsItsFolderDoes) {
  config_.train.steps = 4;
  const std::string folder = weights(config_, "a");
  write_pack({.input = folder_ / "pictures", .output = folder_ / "pack.h5"});
  config_.data.pictures = (folder_ / "pack.h5").string();
  EXPECT_TRUE(weights(config_, "b") == folder);
}

TEST_F(Stage1, ALossThatIsNoNumberIsAnErrorWithARemedy) {
  config_.train.lr = config_.train.weight_decay = 10;  // every step multiplies the weights by -99
  try {
    train_stage1(config_);
    FAIL() << "the weights cannot be finite";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), 1);
    EXPECT_HAS(e.what(), "lower train.lr");
  }
  EXPECT_FALSE(fs::exists(output() / "final.safetensors"));
}

// With everything that a state must hold beyond weights: a pool of pairs, pictures replaced, stochastic depth, an average.
TEST_F(Stage1, AResumedTrainingIsTheUninterruptedOne) {
  write_pictures(folder_ / "pictures", 6);
  write_file_atomically(folder_ / "pictures/3.png", "broken");
  config_.degradation.kind = "second_order";
  config_.data = {.pictures = config_.data.pictures,
                  .validation = (folder_ / "held_out").string(),
                  .crop = "patch",
                  .size = 32,
                  .threads = 2,
                  .shared_draws = true,
                  .pair_pool = 8};
  config_.model.drop_path_rate = 0.3;
  config_.train = {.steps = 14,
                   .batch_size = 4,
                   .accumulate = 2,
                   .lr = 1e-3,
                   .warmup_steps = 5,
                   .ema_decay = 0.9,
                   .log_every = 3,
                   .validate_every = 5,
                   .image_every = 4,
                   .checkpoint_every = 7,
                   .state_every = 2,
                   .state_minutes = 0,
                   .keep_states = 10};
  train_stage1(config_);
  const fs::path whole = folder_ / "whole";
  fs::rename(output(), whole);
  for (const char* state : {"0000002", "0000008", "0000012"}) {  // before the pool is full, when it just was, long after
    fs::remove_all(output());
    fs::copy(whole, output(), fs::copy_options::recursive);
    fs::remove(output() / "final.safetensors");
    train_stage1(config_, (output() / "states" / state).string() + ".h5");
    expect_same_run(whole, output());
  }
  int skipped = 0;
  for (const nlohmann::json& line : log()) skipped += line.contains("skipped");
  EXPECT_EQ(skipped, 1);
}

TEST_F(Stage1, WhatCannotBeResumedIsNamed) {
  config_.train.steps = 2;
  train_stage1(config_);
  config_.model.embed_dim = 16, config_.seed = 9, config_.train.lr = 0.5;
  const std::string message = input_error([&] { train_stage1(config_, "auto"); });
  EXPECT_HAS(message, "cannot be resumed under these settings");
  EXPECT_HAS(message, "\n  seed is 9, the state was trained with 5");
  EXPECT_HAS(message, "\n  model.embed_dim is 16, the state was trained with 8");
  EXPECT_EQ(message.find("train.lr"), message.npos);
}

TEST_F(Stage1, SharedDrawsAndTheirPoolGiveTheSameBatchesOnAnyThreads) {
  config_.degradation.kind = "second_order";
  config_.data.shared_draws = true;
  config_.data.pair_pool = 8;
  config_.data.size = 32;
  config_.validate();
  std::vector<Batch> batches[2];
  for (const int run : {0, 1}) {
    config_.data.threads = 1 + 2 * run;
    Stage1Batches all(config_);
    for (int step = 0; step < 5; ++step) batches[run].push_back(all.next());
  }
  for (size_t step = 0; step < 5; ++step) {
    EXPECT_EQ(batches[0][step].lq.shape(), Shape({4, 32, 32, 3}));
    EXPECT_TRUE(test::same_bits(batches[0][step].lq, batches[1][step].lq)) << step;
    EXPECT_TRUE(test::same_bits(batches[0][step].gt, batches[1][step].gt)) << step;
  }
  // Without the pool the first two batches, which fill it, are the same, and the third, which comes out of it, is another.
  config_.data.pair_pool = 0;
  Stage1Batches plain(config_);
  for (size_t step = 0; step < 3; ++step) EXPECT_EQ(test::same_bits(plain.next().lq, batches[0][step].lq), step < 2) << step;

  config_.degradation.kind = "wide";
  EXPECT_HAS(test::input_error([&] { config_.validate(); }), "degradation.kind=second_order");
  config_.degradation.kind = "second_order";
  config_.data.pair_pool = 6;
  EXPECT_HAS(test::input_error([&] { config_.validate(); }), "multiple of train.batch_size");
}

}  // namespace
}  // namespace relume::test
