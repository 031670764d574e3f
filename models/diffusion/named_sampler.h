// All samplers by their published names (spec/diffbir.md 5.4, 5.6).
#pragma once

#include <string>

#include "models/diffusion/sampler.h"

namespace relume {

struct SamplerOptions {
  // "spaced"; "ddim" (without noise); "dpm++_m2" and the other forms of dpm_options(); "edm_" and a name of edm_solver_named()
  std::string name = "edm_dpm++_3m_sde";
  int64_t steps = 10;
  double s_churn = 0, s_tmin = 0, s_tmax = 300, s_noise = 1, eta = 1;  // edm_ alone, as EdmOptions has them
  int order = 1;
  bool exact_reference = false;  // edm_ alone: EdmOptions says what of

  void validate() const;  // InputError for a name that there is none of
};

// Latents from x, standard normal latents (or the noised condition), by the named sampler; the samplers' headers say which
// draws they take.
Tensor sample_by_name(const DiffusionModel& model, const SamplerOptions& options, const Tensor& x, const Sampling& sampling);

}  // namespace relume
