// The course of a training, on a network of a few numbers: resuming, averaging, accumulating, steps that go wrong.
#include "train/trainer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <limits>
#include <set>

#include "autograd/reduce.h"
#include "base/files.h"
#include "data/checkpoint/safetensors.h"
#include "layers/conv2d.h"
#include "layers/init.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/run_files.h"
#include "train/state_folder.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

struct ToyConfig {
  int64_t seed = 3, width = 2;
  TrainingConfig train;
  void fields(auto&& v) {
    v("seed", seed);
    v("width", width);
    v("train", train);
  }
};

struct ToyNetwork : Module {
  explicit ToyNetwork(int64_t width) : Module(nullptr, ""), conv(this, "conv", {.in = 3, .out = width}) {
    for (const NamedTensor& p : parameters()) init_normal(p.tensor, 0.3, 1, p.name);
  }
  Conv2d conv;
};

// A convolution learns another one. Batches whose positions are in `poisoned` hold an infinity.
class ToyTask : public TrainingTask {
 public:
  explicit ToyTask(const ToyConfig& config) : config_(config), network_(config.width), teacher_(config.width) {
    init_normal(teacher_.conv.weight, 0.5, 2, "teacher");
  }
  std::string kind() const override { return "toy"; }
  std::string config_yaml() const override { return to_yaml(config_); }
  Module& network() override { return network_; }
  std::vector<Difference> changes_since(const std::string& yaml) const override {
    const auto changes = differences(read_config_text<ToyConfig>(yaml, "state"), config_);
    for (const Difference& d : changes) RELUME_CHECK(d.key != "width", "width is fixed");
    return changes;
  }
  void begin(int64_t position, const StateFile* state) override {
    position_ = position;
    begun_with_ = state ? state->integer("data/answer") : 0;
  }
  void save(StateContents& state) const override { state.add("data/answer", int64_t(42)); }
  std::vector<BadPicture> next_batch() override {
    x_ = uniform({config_.train.batch_size, 4, 5, 3}, uint64_t(config_.seed * 1000 + position_));
    {
      const NoGrad no_grad;
      y_ = teacher_.conv(x_);
    }
    if (poisoned.contains(position_)) x_.data<float>()[7] = std::numeric_limits<float>::infinity();
    met.push_back(position_);
    if (position_++ == 3) return {{9, "nine.png", "torn"}};
    return {};
  }
  double last_wait_seconds() const override { return 0; }
  PartLoss add_gradients(int64_t position, int64_t part, int64_t parts) override {
    EXPECT_EQ(position, met.back());
    const int64_t samples = config_.train.batch_size / parts;
    const Tensor x = x_.slice(part * samples, (part + 1) * samples), y = y_.slice(part * samples, (part + 1) * samples);
    const Tensor loss = sum_squared_error(network_.conv(x), y);
    backward(loss);
    return {loss.detach(), y_.numel()};
  }
  NamedTensors batch() const override { return {{"x", x_}}; }
  std::vector<Score> validate() override {
    const NoGrad no_grad;
    return {{"sum", sum(network_.conv.weight).item()}};
  }
  std::vector<std::pair<std::string, Tensor>> pictures() override { return {{"x", x_}}; }
  void save_weights(const fs::path& path, int64_t step, bool averaged) const override {
    NamedTensors entries;
    for (const NamedTensor& t : stored_state(network_)) entries.emplace_back(t.name, t.tensor);
    write_safetensors(path, entries, {{"step", std::to_string(step)}, {"averaged", std::to_string(averaged)}});
  }

  std::set<int64_t> poisoned;
  std::vector<int64_t> met;  // positions of the batches used
  int64_t begun_with_ = 0;

 private:
  ToyConfig config_;
  ToyNetwork network_, teacher_;
  int64_t position_ = 0;
  Tensor x_, y_;
};

class Trainer : public testing::Test {
 protected:
  Trainer() {
    config_.train = {.steps = 24,
                     .batch_size = 4,
                     .lr = 0.05,
                     .ema_decay = 0.7,
                     .log_every = 5,
                     .validate_every = 8,
                     .image_every = 10,
                     .checkpoint_every = 12,
                     .state_every = 6,
                     .state_minutes = 0};
  }
  TrainingResult train(const std::string& name, const std::string& resume = "none", bool overwrite = false) {
    task_ = std::make_unique<ToyTask>(config_);
    task_->poisoned = poisoned_;
    return run_training(*task_, config_.train, {folder_ / name, overwrite, resume});
  }
  std::string final_weights(const std::string& name) const { return read_file(folder_ / name / "final.safetensors"); }
  Tensor weight(const std::string& name) const {
    return SafetensorsFile(folder_ / name / "final.safetensors").read("conv.weight").clone();
  }

  TemporaryFolder folder_;
  ToyConfig config_;
  std::set<int64_t> poisoned_;
  std::unique_ptr<ToyTask> task_;
};

TEST_F(Trainer, LearnsAndTells) {
  const TrainingResult result = train("a");
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(result.steps, 24);
  ASSERT_EQ(result.loss.size(), 5u) << "every fifth step and the last";
  EXPECT_LT(result.loss.back().second, 0.5 * result.loss.front().second);
  EXPECT_EQ(result.validation.at("sum").size(), 4u) << "at 0, 8, 16 and the end";
  const std::vector<std::string> log = comparable_log(folder_ / "a/log.jsonl");
  EXPECT_EQ(std::ranges::count(log, R"({"step":4,"skipped":"nine.png","reason":"torn"})"), 1);
  const std::vector<std::string> events = comparable_events(folder_ / "a/events.out.tfevents.relume");
  const auto count = [&](const std::string& tag) {
    return std::ranges::count_if(events, [&](const std::string& e) { return e.find(tag) != e.npos; });
  };
  EXPECT_EQ(count("train/loss"), 5);
  EXPECT_EQ(count("train/gradient_norm"), 5);
  EXPECT_EQ(count("validation/sum"), 4);
  EXPECT_EQ(count("train/x"), 3) << "at 1, 10 and 20";
}

// The promise of this file: interrupted after every single step, everything written is the same.
TEST_F(Trainer, ARunResumedAfterEveryStepIsTheUninterruptedOne) {
  poisoned_ = {5, 13};  // passed over, and counted across interruptions
  train("whole");
  config_.train.time_limit = 1e-9;
  int runs = 0;
  while (!train("parts", "auto").finished) ASSERT_LT(++runs, 100);
  EXPECT_GE(runs, 22);
  EXPECT_EQ(task_->begun_with_, 42);
  const StateFile whole(folder_ / "whole/states/0000024.h5"), parts(folder_ / "parts/states/0000024.h5");
  for (const char* name : {"weights/conv.weight", "ema/conv.weight", "ema/conv.bias", "adam_m/conv.weight", "adam_v/conv.bias"})
    EXPECT_TRUE(same_bits(whole.tensor(name), parts.tensor(name))) << name;
  EXPECT_EQ(parts.integer("progress/skipped"), 2);
  EXPECT_TRUE(final_weights("whole") == final_weights("parts"));
  EXPECT_EQ(comparable_log(folder_ / "whole/log.jsonl"), comparable_log(folder_ / "parts/log.jsonl"));
  EXPECT_TRUE(comparable_events(folder_ / "whole/events.out.tfevents.relume") ==
              comparable_events(folder_ / "parts/events.out.tfevents.relume"));
}

// With one configuration the files are equal byte for byte, states included: here the run is resumed from older and older
// states.
TEST_F(Trainer, WhateverStateItGoesOnFromTheFilesAreTheSame) {
  config_.train.keep_states = 10;
  train("whole");
  for (const char* state : {"0000018.h5", "0000012.h5", "0000006.h5"}) {
    fs::remove_all(folder_ / "parts");
    fs::copy(folder_ / "whole", folder_ / "parts", fs::copy_options::recursive);
    fs::remove(folder_ / "parts/final.safetensors");
    train("parts", (folder_ / "parts/states" / state).string());
    expect_same_run(folder_ / "whole", folder_ / "parts");
  }
}

// A state that is replaced is gone for a moment: a kill in it would cost what was whole.
TEST_F(Trainer, ARunResumedAtItsLastStepKeepsTheStateThere) {
  train("a");
  const fs::path manifest = folder_ / "a/states/0000024.json", witness = folder_ / "witness";
  fs::create_hard_link(manifest, witness);
  train("a", "auto");
  EXPECT_TRUE(fs::equivalent(manifest, witness));
}

TEST_F(Trainer, AFinishedRunIsResumedToTheSameEnd) {
  train("whole"), train("again"), train("again", "auto");
  EXPECT_TRUE(task_->met.empty());
  expect_same_run(folder_ / "whole", folder_ / "again");
}

// A process that is killed behind its last state, and before it removes the oldest, leaves one too many.
TEST_F(Trainer, StatesThatAKilledRunLeftAreRemoved) {
  train("whole"), train("again");
  for (const char* extension : {".h5", ".json"})
    fs::copy_file(folder_ / (std::string("again/states/0000024") + extension),
                  folder_ / (std::string("again/states/0000001") + extension));
  train("again", "auto");
  expect_same_run(folder_ / "whole", folder_ / "again");
}

TEST_F(Trainer, AStateOfAnotherFolderBeginsLogsOfItsOwn) {
  train("first");
  const TrainingResult result = train("second", (folder_ / "first/states/0000018.h5").string());
  EXPECT_EQ(result.steps, 24);
  EXPECT_TRUE(final_weights("first") == final_weights("second"));
  EXPECT_EQ(result.loss.front().first, 20);
  EXPECT_HAS(input_error([&] { train("second", (folder_ / "first/states/0000018.h5").string()); }), "already holds a training");
}

TEST_F(Trainer, WhatMayChangeIsToldWhatMayNotIsRefused) {
  config_.train.steps = 10;
  train("a");
  config_.train.steps = 14, config_.train.lr = 0.01;
  EXPECT_EQ(train("a", "auto").steps, 14);
  EXPECT_EQ(std::ranges::count(comparable_log(folder_ / "a/log.jsonl"),
                               R"({"step":10,"changed":{"train.steps":"14","train.lr":"0.01"}})"),
            1);
  config_.width = 5;
  EXPECT_HAS(input_error([&] { train("a", "auto"); }), "width is fixed");
}

TEST_F(Trainer, ATornStateGivesWayToTheOneBefore) {
  train("whole");
  fs::copy(folder_ / "whole", folder_ / "torn", fs::copy_options::recursive);
  for (const char* name : {"0000024.h5", "0000018.h5"}) {
    const std::string bytes = read_file(folder_ / "torn/states" / name);
    write_file_atomically(folder_ / "torn/states" / name, std::string_view(bytes).substr(0, bytes.size() / 2));
  }
  train("torn", "auto");
  EXPECT_EQ(task_->met.front(), 12);
  expect_same_run(folder_ / "whole", folder_ / "torn");
  for (const auto& entry : fs::directory_iterator(folder_ / "torn/states"))
    if (entry.path().extension() == ".h5") write_file_atomically(entry.path(), "");
  EXPECT_HAS(input_error([&] { train("torn", "auto"); }),
             "none of the states there can be used; train anew with overwrite=true");
}

TEST_F(Trainer, TheAverageIsThatOfTheWeights) {
  config_.train.ema_decay = 0;
  config_.train.checkpoint_every = 1;
  train("raw");
  const auto of_step = [&](int step) {
    char name[64];
    std::snprintf(name, sizeof name, "raw/checkpoints/%07d.safetensors", step);
    return SafetensorsFile(folder_ / name).read("conv.weight").to(DType::f64);
  };
  Tensor average = to_stored(ToyNetwork(2).conv.weight.detach(), StoredAs::conv).to(DType::f64);
  for (int step = 1; step <= 24; ++step) {
    const Tensor now = of_step(step);
    for (int64_t i = 0; i < now.numel(); ++i)
      average.data<double>()[i] += 0.3 * (now.data<double>()[i] - average.data<double>()[i]);
  }
  config_.train.ema_decay = 0.7;
  train("averaged");
  EXPECT_LT(relative_l2(weight("averaged").to(DType::f64), average), 1e-6);
  EXPECT_EQ(SafetensorsFile(folder_ / "averaged/final.safetensors").metadata().at("averaged"), "1");
  EXPECT_TRUE(same_bits(StateFile(folder_ / "averaged/states/0000024.h5").tensor("weights/conv.weight"), weight("raw")))
      << "averaging must not change the training";
}

TEST_F(Trainer, APartedBatchLearnsTheSame) {
  train("whole");
  config_.train.accumulate = 4;
  train("parts");
  EXPECT_LT(relative_l2(weight("parts"), weight("whole")), 1e-5);
  EXPECT_FALSE(final_weights("parts") == final_weights("whole")) << "sums in another order: not the same bits";
}

TEST_F(Trainer, LargeGradientsAreScaledDown) {
  config_.train.steps = 1, config_.train.log_every = 1;
  train("free");
  const double norm = nlohmann::json::parse(comparable_log(folder_ / "free/log.jsonl")[1]).at("gradient_norm");
  const auto moment = [&](const std::string& name) {
    return StateFile(folder_ / name / "states/0000001.h5").tensor("adam_m/conv.weight");
  };
  config_.train.clip_norm = norm / 8;
  train("clipped");
  const Tensor expected = moment("free");
  for (int64_t i = 0; i < expected.numel(); ++i) expected.data<float>()[i] /= 8;
  EXPECT_LT(relative_l2(moment("clipped"), expected), 1e-6);
  config_.train.clip_norm = norm * 2;
  train("loose");
  EXPECT_TRUE(final_weights("loose") == final_weights("free"));
}

TEST_F(Trainer, AStepThatIsNotFiniteTeachesNothing) {
  poisoned_ = {4};
  train("a");
  const std::vector<std::string> log = comparable_log(folder_ / "a/log.jsonl");
  EXPECT_EQ(std::ranges::count(log, R"({"step":5,"not_finite":"loss","skipped_steps":1})"), 1);
  EXPECT_TRUE(std::isfinite(weight("a").data<float>()[0]));
  EXPECT_EQ(task_->met.size(), 24u) << "a skipped step counts as one";
  EXPECT_EQ(StateFile(folder_ / "a/states/0000024.h5").integer("progress/optimiser_steps"), 23);
}

TEST_F(Trainer, TooManyOfThemLeadBackOnceThenEndIt) {
  config_.train.bad_steps = 2;
  for (int64_t position = 14; position < 17; ++position) poisoned_.insert(position);
  const TrainingResult result = train("once");
  EXPECT_TRUE(result.finished);
  EXPECT_EQ(task_->met.size(), 17u + (24 - 12)) << "back to step 12, the data go on";
  EXPECT_EQ(task_->met.back(), 28);
  const std::vector<std::string> log = comparable_log(folder_ / "once/log.jsonl");
  EXPECT_EQ(std::ranges::count(log, R"({"step":17,"back_to_step":12})"), 1);
  EXPECT_EQ(SafetensorsFile(folder_ / "once/bad_batch.safetensors").metadata().at("relume.step"), "17");

  // The same with interruptions: that it went back is remembered.
  config_.train.time_limit = 1e-9;
  int runs = 0;
  while (!train("parts", "auto").finished) ASSERT_LT(++runs, 100);
  EXPECT_EQ(StateFile(folder_ / "parts/states/0000024.h5").integer("progress/went_back"), 1);
  config_.train.time_limit = 0;

  for (int64_t position = 20; position < 30; ++position) poisoned_.insert(position);
  try {
    train("twice");
    FAIL() << "it must end";
  } catch (const Error& e) {
    EXPECT_EQ(e.exit_code(), 1);
    EXPECT_HAS(e.what(), "3 of the last 1000 steps had no finite loss and gradient");
    EXPECT_HAS(e.what(), "again; lower train.lr, or set train.clip_norm; its batch is in ");
  }
  EXPECT_FALSE(fs::exists(folder_ / "twice/final.safetensors"));
  EXPECT_TRUE(std::isinf(SafetensorsFile(folder_ / "twice/bad_batch.safetensors").read("x").data<float>()[7]));
}

TEST_F(Trainer, TwoDoNotWriteToOneFolder) {
  make_folder(folder_ / "a");
  const int descriptor = ::open((folder_ / "a").c_str(), O_RDONLY | O_DIRECTORY);
  ASSERT_EQ(::flock(descriptor, LOCK_EX | LOCK_NB), 0);
  EXPECT_HAS(input_error([&] { train("a"); }), "another process is writing into this folder");
  ::close(descriptor);
  train("a");
}

TEST(LearningRate, FollowsItsCourse) {
  const auto at = [](TrainingConfig c, int64_t step) { return learning_rate(c, step, 100); };
  const TrainingConfig constant{.lr = 0.1}, warm{.lr = 0.1, .warmup_steps = 4};
  EXPECT_EQ(at(constant, 0), 0.1);
  EXPECT_EQ(at(constant, 99), 0.1);
  EXPECT_DOUBLE_EQ(at(warm, 0), 0.025);
  EXPECT_DOUBLE_EQ(at(warm, 3), 0.1);
  const TrainingConfig cosine{.lr = 0.1, .schedule = "cosine", .end_lr = 0.02};
  EXPECT_DOUBLE_EQ(at(cosine, 0), 0.1);
  EXPECT_DOUBLE_EQ(at(cosine, 50), 0.06);
  EXPECT_DOUBLE_EQ(at(cosine, 100), 0.02);
  const TrainingConfig linear{.lr = 0.1, .schedule = "linear", .end_lr = 0.02};
  EXPECT_DOUBLE_EQ(at(linear, 25), 0.08);
  const TrainingConfig stairs{.lr = 0.1, .schedule = "milestones", .milestones = {10, 20}, .milestone_factor = 0.5};
  EXPECT_DOUBLE_EQ(at(stairs, 9), 0.1);
  EXPECT_DOUBLE_EQ(at(stairs, 10), 0.05);
  EXPECT_DOUBLE_EQ(at(stairs, 20), 0.025);
}

}  // namespace
}  // namespace relume::test
