// What can be run: one function per kind of case. A kind computes from the case's config, weights and inputs, and hands every
// result to the report; it never looks at what is expected.
#pragma once

#include <map>
#include <string>

#include "cli/parity/case.h"
#include "cli/parity/report.h"
#include "models/clip_text.h"
#include "models/control_net.h"
#include "models/diffusion/schedule.h"
#include "models/rrdbnet.h"
#include "models/scunet.h"
#include "models/swinir.h"
#include "models/vae.h"

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
void register_vae_kinds(Kinds& kinds);         // vae, vae_block, vae_full
void register_cleaner_kinds(Kinds& kinds);     // rrdbnet, scunet
void register_unet_kinds(Kinds& kinds);        // timestep_embedding, unet_resblock, spatial_transformer, unet, unet_control,
                                               // unet_full, cldm_init
void register_degrade_kinds(Kinds& kinds);     // degrade_codeformer, degrade_jpeg, degrade_filter_resize
void register_degrade_op_kinds(Kinds& kinds);  // degrade_diffjpeg, degrade_noise, degrade_usm
void register_image_kinds(Kinds& kinds);       // torch_resize, torch_resize_scale_factor, pil_resize
void register_metric_kinds(Kinds& kinds);      // metric_psnr_ssim, metric_niqe
void register_restore_kinds(Kinds& kinds);     // gaussian_weights, tiled_fn, cleaner
void register_format_kinds(Kinds& kinds);      // format_good, format_malformed
void register_clip_kinds(Kinds& kinds);        // clip_text, clip_full, tokenizer, asset
void register_colour_kinds(Kinds& kinds);      // colour_fix
void register_inventory_kinds(Kinds& kinds);   // state_dict_inventory
void register_diffusion_kinds(Kinds& kinds);   // schedule, sampler_schedules, cfg_rescale, start_point, guidance
void register_sampler_kinds(Kinds& kinds);     // sampler_spaced, sampler_ddim, sampler_dpm, sampler_edm, sampler_guided
void register_pipeline_kinds(Kinds& kinds);    // e2e_cldm, e2e_swinir, e2e_v20, tiled_vae
void register_cldm_loss_kinds(Kinds& kinds);   // cldm_loss

// Constructor calls of the reference as our configurations; arguments without a counterpart must have a value that changes
// nothing.
SwinIRConfig swinir_config_of(const Case& c, const Json& call);
UNetConfig unet_config_of(const Case& c, const Json& call);
ControlNetConfig control_net_config_of(const Case& c, const Json& call);
AutoencoderConfig autoencoder_config_of(const Case& c, const Json& call);
ClipTextConfig clip_text_config_of(const Case& c, const Json& call);

// The SwinIR of a case, on its device: `call` is the reference's constructor call, `prefix` what the case's weights carry
// before their names.
std::unique_ptr<SwinIR> swinir_of(const Case& c, const Json& call, const std::string& prefix = "");
std::unique_ptr<RRDBNet> rrdbnet_of(const Case& c, const Json& call);
std::unique_ptr<SCUNet> scunet_of(const Case& c, const Json& call);
std::unique_ptr<AutoencoderKL> autoencoder_of(const Case& c, const Json& call);

// A constructor call as a configuration whose fields have the names of the reference's parameters; Error for another name.
template <class Config> Config config_of_call(const Case& c, Json call) {
  call.erase("procedural");
  return read_config_text<Config>(call.dump(), c.name(), {});
}

// Stored maps [N, C, H, W] as networks take them, where the case computes.
Tensor maps_of(const Case& c, const Tensor& stored);
Tensor maps_of(const Case& c, const std::string& full_name);

// Compares the gradient that reached every parameter with the case's, which has `prefix` before their names; a parameter that
// none reached is an Error.
void compare_parameter_gradients(const Module& module, Report& report, const std::string& prefix = "");
// The same of those parameters whose gradient the case stores.
void compare_stored_gradients(const Module& module, Report& report, const std::string& prefix);

// The noise schedule of a case; `diffusion` is the object that holds timesteps, linear_start and linear_end.
ScheduleOptions schedule_options(const Case& c, const Json& diffusion, bool zero_snr);

}  // namespace relume::parity
