#include "train/training_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace relume {

double learning_rate(const TrainingConfig& c, int64_t step, int64_t steps) {
  const double rise = c.warmup_steps > 0 ? std::min(1.0, double(step + 1) / double(c.warmup_steps)) : 1;
  const double progress = std::min(1.0, double(step) / double(steps));
  double rate = c.lr;
  if (c.schedule == "cosine") rate = c.end_lr + (c.lr - c.end_lr) * 0.5 * (1 + std::cos(std::numbers::pi * progress));
  if (c.schedule == "linear") rate = c.lr + (c.end_lr - c.lr) * progress;
  if (c.schedule == "milestones")
    rate *= std::pow(c.milestone_factor, double(std::ranges::count_if(c.milestones, [&](int64_t m) { return m <= step; })));
  return rise * rate;
}

}  // namespace relume
