// Where sampling begins, and the condition it is led by (spec/diffbir.md 5.3). Latents [N, H, W, C] of the condition, and noise
// of their shape.
#pragma once

#include "models/diffusion/schedule.h"

namespace relume {

// The condition at the schedule's last time: a start that is steadier than noise alone. With zero terminal SNR it is the noise.
Tensor start_from_condition(const NoiseSchedule& schedule, const Tensor& condition, const Tensor& noise);

// The condition with the noise of time t, which the network is not told of; 0 leaves it as it is. InputError when t is no time
// of the schedule.
Tensor augment_condition(const NoiseSchedule& schedule, const Tensor& condition, const Tensor& noise, int64_t t);

}  // namespace relume
