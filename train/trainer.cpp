#include "train/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>

#include "base/files.h"
#include "base/folder_lock.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/version.h"
#include "train/adamw.h"
#include "train/state_saver.h"
#include "train/weight_average.h"

namespace relume {

namespace {

using Path = std::filesystem::path;

// How far a run has come: all of it is in a state, and all that is in a state's progress/ group is here.
struct Position {
  int64_t step = 0;     // steps taken
  int64_t batch = 0;    // batches used: the number of the next one
  double loss_sum = 0;  // since the last line of the log
  int64_t loss_count = 0;
  int64_t skipped = 0;       // steps without a finite loss and gradient, all together
  std::vector<int64_t> bad;  // batch numbers of those among the last 1000
  bool went_back = false;    // the training has gone back to an earlier state once
  LogPosition log;
};

void save(const Position& p, StateContents& out) {
  out.add("progress/step", p.step);
  out.add("progress/batch", p.batch);
  out.add("progress/loss_sum", p.loss_sum);
  out.add("progress/loss_count", p.loss_count);
  out.add("progress/skipped", p.skipped);
  out.add("progress/bad", Tensor::of<int64_t>({int64_t(p.bad.size())}, p.bad));
  out.add("progress/went_back", int64_t(p.went_back));
  out.add("progress/log_lines", p.log.lines);
  out.add("progress/log_events", p.log.events);
}

Position load_position(const StateFile& state) {
  const auto count = [&](const char* name) {
    const int64_t value = state.integer(name);
    RELUME_CHECK(value >= 0, state.where(), ": '", name, "' is ", value);
    return value;
  };
  const Tensor bad = state.tensor("progress/bad");
  RELUME_CHECK(bad.rank() == 1 && bad.dtype() == DType::i64, state.where(), ": 'progress/bad' is ", bad);
  return {.step = count("progress/step"),
          .batch = count("progress/batch"),
          .loss_sum = state.number("progress/loss_sum"),
          .loss_count = count("progress/loss_count"),
          .skipped = count("progress/skipped"),
          .bad = {bad.data<int64_t>(), bad.data<int64_t>() + bad.numel()},
          .went_back = count("progress/went_back") != 0,
          .log = {count("progress/log_lines"), count("progress/log_events")}};
}

// Tensors that follow the parameters, in groups of a state: weights, average, moments.
using Group = std::vector<Tensor>;

void save_group(const std::string& group, const std::vector<NamedTensor>& parameters, const Group& tensors,
                StateContents& out) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Tensor stored = to_stored(tensors[i].detach().to(Device{}), parameters[i].stored_as);
    out.add(group + "/" + parameters[i].name, stored.same_storage(tensors[i]) ? stored.clone() : stored);
  }
}

void load_group(const std::string& group, const std::vector<NamedTensor>& parameters, const Group& tensors,
                const StateFile& in) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    const Shape& shape = tensors[i].shape();
    const StoredAs stored_as = parameters[i].stored_as;
    const Tensor stored = in.tensor(group + "/" + parameters[i].name, stored_shape(shape, stored_as), DType::f32);
    tensors[i].copy_from(from_stored(stored, shape, stored_as).to(tensors[i].device()));
  }
}

class Training {
 public:
  Training(TrainingTask& task, const TrainingConfig& config, const TrainerOptions& options)
      : task_(task),
        config_(config),
        output_(options.output),
        states_(output_ / "states"),
        optimiser_(task.network().parameters(), AdamWOptions{.lr = config.lr,
                                                             .beta1 = config.betas[0],
                                                             .beta2 = config.betas[1],
                                                             .eps = config.eps,
                                                             .weight_decay = config.weight_decay,
                                                             .clip_norm = config.clip_norm}) {
    if (config.ema_decay > 0) average_.emplace(optimiser_.parameters(), config.ema_decay);
    if (const std::optional<SavedState> saved = state_to_resume(options)) {
      resume(*saved, options.overwrite);
    } else {
      task_.begin(0, nullptr);
      take_folder_anew(options.overwrite, options.resume == "auto");
    }
    write_file_atomically(output_ / "config.yaml", task_.config_yaml());
    first_step_ = at_.step;
    open_logs();
  }

  TrainingResult run() {
    Progress progress("step", config_.steps, first_step_);
    progress_ = &progress;
    while (at_.step < steps_) {
      if (at_.step % config_.validate_every == 0) validate();
      next_batch();
      const double rate = learning_rate(config_, at_.step, steps_);
      if (const std::optional<Step> done = train_step(rate)) note(*done, rate);
      if (at_.step % config_.checkpoint_every == 0) save_weights(checkpoint(at_.step));
      if (state_is_due()) save_state();
      stop_if_asked();
      if (out_of_time()) return paused();
      fit_into_budget();
    }
    // The state first: a run that is killed behind it, or one that is given more steps, goes on from before the last
    // validation.
    save_state();
    validate();
    save_weights(output_ / "final.safetensors");
    saver_->wait();
    result_.steps = at_.step;
    result_.seconds = seconds();
    result_.weights = output_ / "final.safetensors";
    return result_;
  }

 private:
  struct Step {
    double loss, gradient_norm;
  };

  // ---- Beginning and resuming
  // ------------------------------------------------------------------------------------------------

  std::optional<SavedState> state_to_resume(const TrainerOptions& options) const {
    if (options.resume == "none") return {};
    if (options.resume != "auto") return open_state(options.resume);
    const StateFolder::Found found = states_.newest();
    for (const std::string& reason : found.passed_over) fmt::print(stderr, "passed over {}\n", reason);
    RELUME_CHECK(found.state || found.passed_over.empty(), states_.folder().string(),
                 ": none of the states there can be used; train anew with overwrite=true");
    return found.state;
  }

  // `continuing`: a run that was killed before its first state may have left weights, which it will write again.
  void take_folder_anew(bool overwrite, bool continuing) {
    const bool used = std::filesystem::exists(output_ / "final.safetensors") || states_.any() ||
                      (!continuing && std::filesystem::exists(output_ / "checkpoints"));
    RELUME_CHECK(overwrite || !used, output_.string(),
                 ": already holds a training; go on with it (--resume auto), choose another folder (output=...) or replace it "
                 "(overwrite=true)");
    make_folder(output_);
    lock_.emplace(output_);
    if (overwrite) {
      std::error_code ignored;  // what cannot be removed shows when it is written
      for (const char* name : {"final.safetensors", "bad_batch.safetensors", "checkpoints", "states"})
        std::filesystem::remove_all(output_ / name, ignored);
    }
    tidy();
  }

  // Removes what killed runs left half-written.
  void tidy() const {
    states_.tidy();
    remove_leftovers(output_);
    remove_leftovers(output_ / "checkpoints");
  }

  void resume(const SavedState& saved, bool overwrite) {
    const StateFile state(saved.file);
    RELUME_CHECK(state.text("meta/kind") == task_.kind(), saved.file.string(), ": the state of a training of ",
                 state.text("meta/kind"), ", not of ", task_.kind());
    const std::vector<Difference> changes = task_.changes_since(state.text("meta/config"));
    at_ = load_position(state);
    load_tensors(state);
    task_.begin(at_.batch, &state);
    const auto folder = [](const Path& path) { return std::filesystem::weakly_canonical(path); };
    if (folder(saved.file).parent_path() == folder(states_.folder())) {
      lock_.emplace(output_);
      states_.remove_newer_than(at_.step);
      states_.keep_newest(config_.keep_states);
      tidy();
      saved_step_ = at_.step;
    } else {
      at_.log = {};  // a state of another folder: the logs here begin with it
      take_folder_anew(overwrite, false);
    }
    seconds_before_ = saved.seconds;
    resumed_ = changes;
    fmt::print(stderr, "resuming after step {} from {}\n", at_.step, saved.file.string());
    for (const Difference& d : changes) fmt::print(stderr, "  {} is now {}, it was {}\n", d.key, d.after, d.before);
  }

  void open_logs() {
    log_.emplace(output_, at_.log);
    const LogPosition found = log_->position();
    if (found.lines < at_.log.lines || found.events < at_.log.events)
      fmt::print(stderr, "the logs in {} are shorter than when the state was saved; they go on where they end\n",
                 output_.string());
    saver_.emplace(states_, config_.keep_states, log_->files());
    if (!resumed_.empty()) {
      nlohmann::ordered_json now;
      for (const Difference& d : resumed_) now[d.key] = d.after;
      log_->note({{"step", at_.step}, {"changed", now}});
    }
  }

  void load_tensors(const StateFile& state) {
    load_group("weights", optimiser_.parameters(), weights(), state);
    load_group("adam_m", optimiser_.parameters(), first_moments(), state);
    load_group("adam_v", optimiser_.parameters(), second_moments(), state);
    optimiser_.restore_steps(state.integer("progress/optimiser_steps"));
    if (!average_) return;
    // An average that is switched on later begins with the weights as they are now.
    const bool saved = state.has("ema/" + optimiser_.parameters()[0].name);
    load_group(saved ? "ema" : "weights", optimiser_.parameters(), averages(), state);
  }

  Group weights() const {
    Group all;
    for (const NamedTensor& p : optimiser_.parameters()) all.push_back(p.tensor);
    return all;
  }
  Group averages() const { return average_->averages(); }
  Group first_moments() const {
    return collect([&](size_t i) { return optimiser_.first_moment(i); });
  }
  Group second_moments() const {
    return collect([&](size_t i) { return optimiser_.second_moment(i); });
  }
  template <class F> Group collect(F&& f) const {
    Group all;
    for (size_t i = 0; i < optimiser_.parameters().size(); ++i) all.push_back(f(i));
    return all;
  }

  // ---- One step
  // --------------------------------------------------------------------------------------------------------------

  // Pictures may turn out to be unusable after hours: what was learnt until then is kept.
  void next_batch() {
    std::vector<BadPicture> replaced;
    try {
      replaced = task_.next_batch();
    } catch (Error& e) {
      if (at_.step > 0) {
        save_state_now();
        e.add_context(fmt::format("met after step {}; the state of that step is saved, go on with --resume auto", at_.step));
      }
      throw;
    }
    for (const BadPicture& picture : replaced) {
      fmt::print(stderr, "skipped {}\n", to_string(picture));
      log_->note({{"step", at_.step + 1}, {"skipped", picture.name}, {"reason", picture.reason}});
    }
  }

  // None when loss or gradient are not finite: then nothing is learnt from the batch.
  std::optional<Step> train_step(double rate) {
    optimiser_.clear_gradients();
    std::vector<Tensor> losses;
    std::vector<int64_t> elements;
    for (int64_t part = 0; part < config_.accumulate; ++part) {
      const PartLoss loss = task_.add_gradients(at_.batch, part, config_.accumulate);
      losses.push_back(loss.sum), elements.push_back(loss.elements);
    }
    const AdamW::Outcome outcome = optimiser_.step(rate, losses, average_ ? &*average_ : nullptr);
    Step step{0, outcome.gradient_norm};
    for (size_t i = 0; i < losses.size(); ++i) step.loss += outcome.losses[i] / double(elements[i]);
    ++at_.batch;
    if (!outcome.done) {
      note_bad_step(step);
      return {};
    }
    ++at_.step;
    return step;
  }

  void note_bad_step(const Step& step) {
    constexpr int64_t window = 1000;
    ++at_.skipped;
    at_.bad.push_back(at_.batch - 1);
    std::erase_if(at_.bad, [&](int64_t batch) { return batch <= at_.batch - 1 - window; });
    const char* what = std::isfinite(step.loss) ? "gradient" : "loss";
    fmt::print(stderr, "step {}: the {} is not finite; nothing is learnt from this batch\n", at_.step + 1, what);
    log_->note({{"step", at_.step + 1}, {"not_finite", what}, {"skipped_steps", at_.skipped}});
    if (int64_t(at_.bad.size()) <= config_.bad_steps) {
      ++at_.step;
      return;
    }
    const Path batch = output_ / "bad_batch.safetensors";
    write_safetensors(batch, task_.batch(), {{"relume.step", std::to_string(at_.step + 1)}});
    if (!at_.went_back && go_back()) return;
    throw Error(
        fmt::format("{} of the last {} steps had no finite loss and gradient, the last at step {}{}; lower train.lr, or "
                    "set train.clip_norm; its batch is in {}",
                    at_.bad.size(), window, at_.step + 1, at_.went_back ? ", again" : "", batch.string()));
  }

  // To the newest state from before the trouble. The data go on where they are, so that what led into it is not repeated.
  bool go_back() {
    saver_->wait();
    size_t first = at_.bad.size() - 1;  // of the last uninterrupted row of bad steps
    while (first > 0 && at_.bad[first - 1] == at_.bad[first] - 1) --first;
    const std::optional<SavedState> found = states_.newest(at_.bad[first]).state;  // step and batch are still the same number
    if (!found) return false;
    const StateFile state(found->file);
    load_tensors(state);
    states_.remove_newer_than(found->step);
    fmt::print(stderr, "back to the state of step {}\n", found->step);
    log_->note({{"step", at_.step + 1}, {"back_to_step", found->step}});
    at_.step = found->step;
    saved_step_ = -1;  // the state there does not know of this
    at_.bad.clear();
    at_.loss_sum = 0, at_.loss_count = 0;
    at_.went_back = true;
    return true;
  }

  void note(const Step& step, double rate) {
    at_.loss_sum += step.loss;
    ++at_.loss_count;
    wait_seconds_ += task_.last_wait_seconds();
    const double images = double((at_.step - first_step_) * config_.batch_size) / progress_->seconds();
    progress_->update(at_.step, double(at_.step) / double(steps_),
                      fmt::format("loss {:.3e}  {:.1f} images/s", step.loss, images));
    if (config_.image_every > 0 && (at_.step == 1 || at_.step % config_.image_every == 0))
      for (const auto& [name, pictures] : task_.pictures()) log_->pictures(at_.step, "train/" + name, pictures);
    if (at_.step % config_.log_every != 0 && at_.step != steps_) return;
    const double mean = at_.loss_sum / double(at_.loss_count);
    log_->scores(at_.step, "train",
                 {{"loss", mean},
                  {"lr", rate},
                  {"gradient_norm", step.gradient_norm},
                  {"seconds", seconds()},
                  {"images_per_second", images},
                  {"wait_seconds", std::exchange(wait_seconds_, 0)}});
    result_.loss.emplace_back(at_.step, mean);
    at_.loss_sum = 0, at_.loss_count = 0;
  }

  void validate() {
    const WeightAverage::InPlace averaged(average_ ? &*average_ : nullptr);
    const std::vector<Score> scores = task_.validate();
    if (scores.empty()) return;
    log_->scores(at_.step, "validation", scores);
    for (const Score& score : scores) result_.validation[score.name].emplace_back(at_.step, score.value);
  }

  // ---- Time
  // ------------------------------------------------------------------------------------------------------------------

  double seconds() const { return seconds_before_ + progress_->seconds(); }

  bool out_of_time() const { return config_.time_limit > 0 && progress_->seconds() >= config_.time_limit && at_.step < steps_; }

  // Under a budget the number of steps is what the speed so far will reach, at most what was asked for, from a twentieth of the
  // time on. A machine that is fast enough takes exactly the steps asked for, and is reproducible.
  void fit_into_budget() {
    const double budget = config_.time_budget;
    if (budget <= 0 || seconds() < budget / 20) return;
    const double reachable = std::min(double(config_.steps), double(at_.step) * budget / seconds());
    steps_ = std::max(at_.step, int64_t(reachable));
  }

  void stop_if_asked() {
    if (!interrupted()) return;
    save_state_now();
    throw Interrupted(fmt::format("interrupted after step {}; its state is in {}, go on with --resume auto", at_.step,
                                  states_.folder().string()));
  }

  TrainingResult paused() {
    save_state_now();
    result_.steps = at_.step;
    result_.finished = false;
    result_.seconds = seconds();
    return result_;
  }

  // ---- Saving
  // ----------------------------------------------------------------------------------------------------------------

  Path checkpoint(int64_t step) const { return output_ / "checkpoints" / fmt::format("{:07}.safetensors", step); }

  void save_weights(const Path& path) {
    make_folder(path.parent_path());
    const WeightAverage::InPlace averaged(average_ ? &*average_ : nullptr);
    task_.save_weights(path, at_.step, average_.has_value());
  }

  bool state_is_due() const {
    if (at_.step == steps_) return false;  // saved at the end, with everything else
    const std::chrono::duration<double, std::ratio<60>> minutes = std::chrono::steady_clock::now() - state_saved_;
    return (config_.state_every > 0 && at_.step % config_.state_every == 0) ||
           (config_.state_minutes > 0 && minutes.count() >= config_.state_minutes);
  }

  void save_state() {
    if (saved_step_ == at_.step) return;  // replacing it would leave a moment without it
    StateContents contents;
    contents.add("meta/kind", task_.kind());
    contents.add("meta/config", task_.config_yaml());
    contents.add("meta/revision", git_revision());
    at_.log = log_->position();
    save(at_, contents);
    contents.add("progress/optimiser_steps", optimiser_.steps_done());
    save_group("weights", optimiser_.parameters(), weights(), contents);
    save_group("adam_m", optimiser_.parameters(), first_moments(), contents);
    save_group("adam_v", optimiser_.parameters(), second_moments(), contents);
    if (average_) save_group("ema", optimiser_.parameters(), averages(), contents);
    task_.save(contents);
    saver_->save(at_.step, seconds(), std::move(contents));
    saved_step_ = at_.step;
    state_saved_ = std::chrono::steady_clock::now();
  }

  void save_state_now() {
    save_state();
    saver_->wait();
  }

  TrainingTask& task_;
  const TrainingConfig config_;
  const Path output_;
  StateFolder states_;
  std::optional<FolderLock> lock_;
  AdamW optimiser_;
  std::optional<WeightAverage> average_;
  Position at_;
  std::vector<Difference> resumed_;
  std::optional<RunLog> log_;
  std::optional<StateSaver> saver_;  // after the logs, which it flushes
  TrainingResult result_;
  int64_t saved_step_ = -1;  // of the newest state
  Progress* progress_ = nullptr;
  int64_t steps_ = config_.steps, first_step_ = 0;
  double seconds_before_ = 0, wait_seconds_ = 0;
  std::chrono::steady_clock::time_point state_saved_ = std::chrono::steady_clock::now();
};

}  // namespace

TrainingResult run_training(TrainingTask& task, const TrainingConfig& config, const TrainerOptions& options) {
  return Training(task, config, options).run();
}

}  // namespace relume
