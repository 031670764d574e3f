#include "cli/parity/kinds.h"

namespace relume::parity {

Tensor maps_of(const Case& c, const Tensor& stored) { return to_channels_last(stored).to(c.device()); }
Tensor maps_of(const Case& c, const std::string& full_name) { return maps_of(c, c.f32(full_name)); }

namespace {

void compare_gradient(const NamedTensor& p, const std::string& prefix, Report& report) {
  RELUME_CHECK(grad(p.tensor), "no gradient reached ", prefix, p.name);
  report.compare_gradient("param." + prefix + p.name, to_stored(grad(p.tensor), p.stored_as));
}

}  // namespace

void compare_parameter_gradients(const Module& module, Report& report, const std::string& prefix) {
  for (const NamedTensor& p : module.parameters()) compare_gradient(p, prefix, report);
}

void compare_stored_gradients(const Module& module, Report& report, const std::string& prefix) {
  for (const NamedTensor& p : module.parameters())
    if (report.stores_gradient("param." + prefix + p.name)) compare_gradient(p, prefix, report);
}

void register_kinds(Kinds& kinds) {
  register_swinir_kinds(kinds);
  register_unet_kinds(kinds);
  register_vae_kinds(kinds);
  register_cleaner_kinds(kinds);
#ifndef RELUME_MINIMAL
  register_degrade_kinds(kinds);
  register_degrade_op_kinds(kinds);
  register_image_kinds(kinds);
  register_metric_kinds(kinds);
  register_restore_kinds(kinds);
  register_clip_kinds(kinds);
  register_colour_kinds(kinds);
  register_format_kinds(kinds);
  register_inventory_kinds(kinds);
  register_diffusion_kinds(kinds);
  register_sampler_kinds(kinds);
  register_pipeline_kinds(kinds);
  register_cldm_loss_kinds(kinds);
#endif
}

}  // namespace relume::parity
