#include "cli/parity/kinds.h"

namespace relume::parity {

void register_kinds(Kinds& kinds) {
  register_swinir_kinds(kinds);
#ifndef RELUME_MINIMAL
  register_degrade_kinds(kinds);
  register_degrade_op_kinds(kinds);
  register_image_kinds(kinds);
  register_metric_kinds(kinds);
  register_restore_kinds(kinds);
  register_format_kinds(kinds);
  register_diffusion_kinds(kinds);
  register_sampler_kinds(kinds);
#endif
}

}  // namespace relume::parity
