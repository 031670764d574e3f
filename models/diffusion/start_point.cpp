#include "models/diffusion/start_point.h"

namespace relume {
namespace {

std::vector<int64_t> for_every_sample(const Tensor& condition, int64_t t) {
  return std::vector<int64_t>(size_t(condition.shape(0)), t);
}

}  // namespace

Tensor start_from_condition(const NoiseSchedule& schedule, const Tensor& condition, const Tensor& noise) {
  return add_noise(schedule, condition, noise, for_every_sample(condition, schedule.steps() - 1));
}

Tensor augment_condition(const NoiseSchedule& schedule, const Tensor& condition, const Tensor& noise, int64_t t) {
  if (t == 0) return condition;
  return add_noise(schedule, condition, noise, for_every_sample(condition, t));
}

}  // namespace relume
