// Classifier-free guidance (Ho and Salimans 2022; spec/diffbir.md 5.5): the prediction for the wanted text, driven away from
// that for the unwanted one.
#pragma once

#include <cstdint>
#include <functional>

#include "models/diffusion/sampler.h"

namespace relume {

struct ClassifierFreeOptions {
  double scale = 1;           // w of u + w (c - u), for positive c and negative u; 1: the positive text alone
  bool rescale = false;       // w grows with time from 1 at the start to scale + 1 at the end, when scale is above 1
  bool skip_negative = true;  // also in single steps where the rescaled w is exactly 1. The reference does so in spaced
                              // sampling alone; the numbers are the same
};

// w at the network's time t.
double classifier_free_scale(const ClassifierFreeOptions& options, double t);

// Which texts a call is for, and so how often the samples stand in its batch.
enum class Texts { positive, both };

// Predictions for latents x at time t. With Texts::both, x and the result are [2 N, ...]: N samples for the positive text, then
// the same for the negative one.
using ConditionedDenoiser = std::function<Tensor(const Tensor& x, double t, Texts texts)>;

// The samples of x [N, ...] and the same once more, [2 N, ...]: the batch of Texts::both.
Tensor twice(const Tensor& x);

// The denoiser that samplers take. InputError when the scale is negative.
Denoiser classifier_free(ConditionedDenoiser denoiser, const ClassifierFreeOptions& options);

}  // namespace relume
