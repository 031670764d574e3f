#include "models/diffusion/named_sampler.h"

#include "models/diffusion/ddim.h"
#include "models/diffusion/dpm_solver.h"
#include "models/diffusion/edm.h"
#include "models/diffusion/spaced.h"

namespace relume {
namespace {

constexpr std::string_view edm_prefix = "edm_";

EdmOptions edm_options(const SamplerOptions& o) {
  return {.solver = edm_solver_named(o.name.substr(edm_prefix.size())),
          .s_churn = o.s_churn,
          .s_tmin = o.s_tmin,
          .s_tmax = o.s_tmax,
          .s_noise = o.s_noise,
          .eta = o.eta,
          .order = o.order,
          .exact_reference = o.exact_reference};
}

}  // namespace

void SamplerOptions::validate() const {
  if (name == "spaced" || name == "ddim") return;
  if (name.starts_with(edm_prefix)) return void(edm_options(*this));
  RELUME_CHECK(name.starts_with("dpm"), "sampler '", name,
               "': unknown; they are spaced, ddim, dpm++_m2 and its relatives, and edm_ before the name of a solver, as in "
               "edm_dpm++_3m_sde");
  dpm_options(name);
}

Tensor sample_by_name(const DiffusionModel& model, const SamplerOptions& o, const Tensor& x, const Sampling& sampling) {
  o.validate();
  if (o.name == "spaced") return sample_spaced(model, o.steps, x, sampling);
  if (o.name == "ddim") return sample_ddim(model, o.steps, 0, x, sampling);
  if (o.name.starts_with(edm_prefix)) return sample_edm(model, o.steps, edm_options(o), x, sampling);
  return sample_dpm(model, o.steps, dpm_options(o.name), x, sampling);
}

}  // namespace relume
