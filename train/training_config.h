// The `train` section of a configuration: what every training has, whatever its network.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "base/error.h"
#include "configs/reader.h"

namespace relume {

struct TrainingConfig {
  int64_t steps = 150000;
  int64_t batch_size = 96;
  int64_t accumulate = 1;
  double lr = 1e-4, weight_decay = 0;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double clip_norm = 0;
  std::string schedule = "constant";
  int64_t warmup_steps = 0;
  double end_lr = 0;
  std::vector<int64_t> milestones;
  double milestone_factor = 0.5;
  double ema_decay = 0;
  bool activation_checkpointing = false;
  std::string precision = "f32";
  double time_limit = 0, time_budget = 0;
  int64_t log_every = 50, validate_every = 1000, image_every = 1000, checkpoint_every = 10000;
  int64_t state_every = 500;
  double state_minutes = 2;
  int keep_states = 3;
  int64_t bad_steps = 10;

  void fields(auto&& v) {
    v("steps", steps, Range{0, 1e12}, "optimiser steps");
    v("batch_size", batch_size, Range{1, 65536}, "pictures per step");
    v("accumulate", accumulate, Range{1, 65536},
      "parts in which a batch is computed, one after another: less memory, the same gradients; divides batch_size");
    v("lr", lr, Range{0, 10}, "learning rate");
    v("weight_decay", weight_decay, Range{0, 10}, "decoupled weight decay");
    v("betas", betas, Range{0, 0.999999}, "decay of AdamW's two moments");
    v("eps", eps, Range{1e-30, 1}, "AdamW's epsilon");
    v("clip_norm", clip_norm, Range{0, 1e30},
      "gradients of a larger L2 norm over all parameters are scaled down to it; 0: never");
    v("schedule", schedule, OneOf{{"constant", "cosine", "linear", "milestones"}},
      "course of the learning rate; cosine and linear fall to end_lr");
    v("warmup_steps", warmup_steps, Range{0, 1e9}, "steps of linear rise at the start");
    v("end_lr", end_lr, Range{0, 10}, "learning rate at the end of a cosine or linear course");
    v("milestones", milestones, Range{1, 1e12}, "steps at which the schedule of that name multiplies by milestone_factor");
    v("milestone_factor", milestone_factor, Range{0, 1}, "see milestones");
    v("ema_decay", ema_decay, Range{0, 0.9999999},
      "keep a running average of the weights, which validation and saved weights use; 0: none, usual: 0.999");
    v("activation_checkpointing", activation_checkpointing,
      "recompute each group in the backward pass: less memory, more time");
    v("precision", precision, OneOf{{"f32", "tf32", "bf16"}},
      "type the network computes in; on a GPU tf32, f32 with rounded products, is faster, and bf16 more so, in less memory; "
      "weights and optimiser stay in f32");
    v("time_limit", time_limit, Range{0, 1e9},
      "seconds after which the state is saved and the run ends, to be resumed; 0: none");
    v("time_budget", time_budget, Range{0, 1e9},
      "take fewer steps where this machine would need more seconds than that, resumed runs together; 0: none");
    v("log_every", log_every, Range{1, 1e9}, "steps between lines of the log");
    v("validate_every", validate_every, Range{1, 1e9}, "steps between validations");
    v("image_every", image_every, Range{0, 1e9}, "steps between pictures in TensorBoard, the first step included; 0: none");
    v("checkpoint_every", checkpoint_every, Range{1, 1e12}, "steps between saved weights, all of which are kept");
    v("state_every", state_every, Range{0, 1e12}, "steps between states to resume from; 0: by time alone");
    v("state_minutes", state_minutes, Range{0, 1e6},
      "a state is also saved when so much time has passed since the last; 0: never");
    v("keep_states", keep_states, Range{2, 1000}, "so many states are kept, the newest");
    v("bad_steps", bad_steps, Range{0, 1000},
      "steps without a finite loss and gradient that are passed over among the last 1000; one more, and the training goes back "
      "to its last state, the second time it ends");
  }
  void validate() const {
    RELUME_CHECK(batch_size % accumulate == 0, "train.accumulate ", accumulate, " does not divide train.batch_size ",
                 batch_size);
    RELUME_CHECK((schedule == "milestones") == !milestones.empty(),
                 "train.milestones and train.schedule=milestones belong together");
    RELUME_CHECK(end_lr <= lr, "train.end_lr ", end_lr, " is above train.lr ", lr);
  }
};

// The learning rate of a step (0 is the first) of a training of `steps` steps.
double learning_rate(const TrainingConfig& config, int64_t step, int64_t steps);

}  // namespace relume
