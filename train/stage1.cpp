#include "train/stage1.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "autograd/reduce.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/json_log.h"
#include "base/progress.h"
#include "base/version.h"
#include "data/checkpoint/safetensors.h"
#include "data/metrics/similarity.h"
#include "layers/drop_path.h"
#include "train/adamw.h"
#include "train/stage1_data.h"

namespace relume {

namespace {

using Path = std::filesystem::path;

Path prepared_output(const Stage1Config& config) {
  const Path output = config.output;
  const bool used = std::filesystem::exists(output / "final.safetensors") || std::filesystem::exists(output / "checkpoints");
  RELUME_CHECK(config.overwrite || !used, output.string(),
               ": already holds trained weights; choose another folder (output=...) or replace them (overwrite=true)");
  std::error_code ignored;  // what cannot be removed shows when it is written
  std::filesystem::remove(output / "final.safetensors", ignored);
  std::filesystem::remove_all(output / "checkpoints", ignored);
  make_folder(output);
  write_file_atomically(output / "config.yaml", to_yaml(config, true));
  return output;
}

// Factor of the learning rate when `progress` (0 to 1) of the training is done.
double schedule(const Stage1TrainConfig& train, int64_t step, double progress) {
  const double rise = train.warmup_steps > 0 ? std::min(1.0, double(step + 1) / double(train.warmup_steps)) : 1;
  return rise * (train.schedule == "cosine" ? 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, progress))) : 1);
}

double mean_psnr(const SwinIR& network, const std::vector<Degraded>& pairs) {
  const NoGrad no_grad;
  double sum = 0;
  for (const Degraded& pair : pairs) {
    const Shape& s = pair.lq.shape();
    const Tensor restored = network(pair.lq.reshape({1, s[0], s[1], s[2]}));
    sum += psnr(restored.reshape(s), pair.gt);
  }
  return sum / double(pairs.size());
}

// What a training run carries from step to step.
class Stage1Run {
 public:
  explicit Stage1Run(const Stage1Config& config)
      : config_(config),
        batches_(config),
        validation_(validation_pairs(config)),
        network_(config.model),
        output_(prepared_output(config)),
        log_(output_ / "log.jsonl") {
    network_.initialise(uint64_t(config.seed));
    network_.set_activation_checkpointing(config.train.activation_checkpointing);
    optimiser_.emplace(network_.parameters(), AdamWOptions{.lr = config.train.lr,
                                                           .beta1 = config.train.betas[0],
                                                           .beta2 = config.train.betas[1],
                                                           .eps = config.train.eps,
                                                           .weight_decay = config.train.weight_decay});
  }

  Stage1Result run() {
    Progress progress("step", config_.train.steps);
    for (step_ = 0; step_ < steps_; ++step_) {
      if (step_ % config_.train.validate_every == 0) validate();
      const Batch batch = next_batch();
      report_skipped();
      const double rate = config_.train.lr * schedule(config_.train, step_, double(step_) / double(steps_));
      const double loss = train_step(batch, rate);
      note(loss, rate, progress);
      if ((step_ + 1) % config_.train.checkpoint_every == 0) save_checkpoint(step_ + 1);
      if (interrupted()) {
        save_checkpoint(step_ + 1);
        throw Interrupted(
            fmt::format("interrupted after step {}; its weights are in {}", step_ + 1, checkpoint(step_ + 1).string()));
      }
      fit_into_time(progress.seconds());
    }
    validate();
    result_.steps = step_;
    result_.seconds = progress.seconds();
    result_.weights = output_ / "final.safetensors";
    save_swinir(network_, step_, result_.weights);
    return result_;
  }

 private:
  // Under a time limit the number of steps is what the speed so far will reach, at most what was asked for, from a twentieth of
  // the time on. A machine that is fast enough takes exactly the steps asked for, and is reproducible.
  void fit_into_time(double seconds) {
    const double limit = config_.train.time_limit;
    if (limit <= 0 || seconds < limit / 20) return;
    const double reachable = std::min(double(config_.train.steps), double(step_ + 1) * limit / seconds);
    steps_ = std::max(step_ + 1, int64_t(reachable));
  }

  // A picture may turn out to be broken after hours: what was learnt until then is kept.
  Batch next_batch() {
    try {
      return batches_.next();
    } catch (Error& e) {
      if (step_ > 0) {
        save_checkpoint(step_);
        e.add_context(fmt::format("met after step {}; the weights of that step are in {}", step_, checkpoint(step_).string()));
      }
      throw;
    }
  }

  void report_skipped() {
    for (const BadPicture& picture : batches_.take_skipped()) {
      fmt::print(stderr, "skipped {}\n", to_string(picture));
      log_.write({{"step", step_ + 1}, {"skipped", picture.name}, {"reason", picture.reason}});
    }
  }

  // One optimiser step; gives the loss per element, comparable between batch and picture sizes.
  double train_step(const Batch& batch, double rate) {
    network_.set_training(true);
    network_.set_drop_path(
        [draws = DropPathDraws{.seed = uint64_t(config_.seed), .step = uint32_t(step_)}](
            int branch, double probability, int64_t samples) { return drop_path_scale(draws, branch, probability, samples); });
    const Tensor loss = sum_squared_error(network_(batch.lq), batch.gt);
    optimiser_->clear_gradients();
    backward(loss);
    optimiser_->step(rate);
    network_.set_training(false);
    const double value = loss.item() / double(batch.gt.numel());
    if (!std::isfinite(value)) throw Error(fmt::format("the loss is {} at step {}; lower train.lr", value, step_ + 1));
    return value;
  }

  void note(double loss, double rate, Progress& progress) {
    loss_sum_ += loss;
    ++loss_count_;
    const double images = double((step_ + 1) * config_.train.batch_size) / progress.seconds();
    progress.update(step_ + 1, double(step_ + 1) / double(steps_), fmt::format("loss {:.3e}  {:.1f} images/s", loss, images));
    if ((step_ + 1) % config_.train.log_every != 0 && step_ + 1 != steps_) return;
    const double mean = loss_sum_ / double(loss_count_);
    log_.write(
        {{"step", step_ + 1}, {"loss", mean}, {"lr", rate}, {"seconds", progress.seconds()}, {"images_per_second", images}});
    result_.loss.emplace_back(step_ + 1, mean);
    loss_sum_ = 0, loss_count_ = 0;
  }

  void validate() {
    if (validation_.empty()) return;
    const double mean = mean_psnr(network_, validation_);
    log_.write({{"step", step_}, {"validation_psnr", mean}});
    result_.validation_psnr.emplace_back(step_, mean);
  }

  Path checkpoint(int64_t step) const { return output_ / "checkpoints" / fmt::format("{:07}.safetensors", step); }
  void save_checkpoint(int64_t step) const {
    make_folder(output_ / "checkpoints");
    save_swinir(network_, step, checkpoint(step));
  }

  Stage1Config config_;
  Stage1Batches batches_;
  std::vector<Degraded> validation_;
  SwinIR network_;
  Path output_;
  JsonLog log_;
  std::optional<AdamW> optimiser_;
  Stage1Result result_;
  int64_t steps_ = config_.train.steps, step_ = 0, loss_count_ = 0;
  double loss_sum_ = 0;
};

}  // namespace

void save_swinir(const SwinIR& network, int64_t step, const Path& path) {
  NamedTensors entries;
  for (const NamedTensor& t : stored_state(network)) entries.emplace_back(t.name, t.tensor);
  write_safetensors(path, entries,
                    {{"format", "pt"},
                     {"relume.swinir", to_yaml(network.config())},
                     {"relume.step", std::to_string(step)},
                     {"relume.version", version_number()}});
}

Stage1Result train_stage1(const Stage1Config& config) {
  config.validate();
  return Stage1Run(config).run();
}

}  // namespace relume
