// Which devices an executable can compute on.
#pragma once

namespace relume {
void register_backends();  // fills the slots of every backend that was built; called once, before the first tensor
}
