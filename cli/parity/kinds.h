// What can be run: one function per kind of case. A kind computes from the case's config, weights and inputs, and hands every
// result to the report; it never looks at what is expected.
#pragma once

#include <map>
#include <string>

#include "cli/parity/case.h"
#include "cli/parity/report.h"
#include "models/diffusion/schedule.h"
#include "models/swinir.h"

namespace relume::parity {

// Thrown by a kind of which only some variants can be run, saying which one this is: the case counts as not implemented.
class NotImplemented : public Error {
 public:
  using Error::Error;
};

using Kind = void (*)(const Case&, Report&);
using Kinds = std::map<std::string, Kind>;

void register_kinds(Kinds& kinds);             // all of the build
void register_swinir_kinds(Kinds& kinds);      // swinir, swinir_rstb, swinir_droppath, swinir_adamw, swinir_full
void register_degrade_kinds(Kinds& kinds);     // degrade_codeformer, degrade_jpeg, degrade_filter_resize
void register_degrade_op_kinds(Kinds& kinds);  // degrade_diffjpeg, degrade_noise, degrade_usm
void register_image_kinds(Kinds& kinds);       // torch_resize, torch_resize_scale_factor, pil_resize
void register_metric_kinds(Kinds& kinds);      // metric_psnr_ssim, metric_niqe
void register_restore_kinds(Kinds& kinds);     // gaussian_weights, tiled_fn, cleaner
void register_format_kinds(Kinds& kinds);      // format_good, format_malformed
void register_diffusion_kinds(Kinds& kinds);   // schedule, sampler_schedules, cfg_rescale, start_point, guidance
void register_sampler_kinds(Kinds& kinds);     // sampler_spaced, sampler_ddim, sampler_dpm, sampler_edm

// The SwinIR of a case, on its device: `call` is the reference's constructor call, `prefix` what the case's weights carry
// before their names.
std::unique_ptr<SwinIR> swinir_of(const Case& c, const Json& call, const std::string& prefix = "");

// The noise schedule of a case; `diffusion` is the object that holds timesteps, linear_start and linear_end.
ScheduleOptions schedule_options(const Case& c, const Json& diffusion, bool zero_snr);

}  // namespace relume::parity
