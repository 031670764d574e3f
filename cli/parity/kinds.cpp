#include "cli/parity/kinds.h"

namespace relume::parity {

void register_kinds(Kinds& kinds) {
  register_swinir_kinds(kinds);
  register_unet_kinds(kinds);
#ifndef RELUME_MINIMAL
  register_degrade_kinds(kinds);
  register_degrade_op_kinds(kinds);
  register_image_kinds(kinds);
  register_metric_kinds(kinds);
  register_restore_kinds(kinds);
  register_format_kinds(kinds);
#endif
}

void compare_parameter_gradients(const Module& module, Report& report, const std::string& prefix) {
  for (const NamedTensor& p : module.parameters()) {
    const Tensor g = grad(p.tensor);
    RELUME_CHECK(g, "no gradient reached ", prefix, p.name);
    report.compare_gradient("param." + prefix + p.name, to_stored(g, p.stored_as));
  }
}

}  // namespace relume::parity
