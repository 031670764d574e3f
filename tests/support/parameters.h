// Two networks with the same numbers.
#pragma once

#include <vector>

#include "layers/module.h"

namespace relume::test {

// The parameters of a network to another one of the same structure, on the other's device.
inline void copy_parameters(const Module& from, const Module& to) {
  const std::vector<NamedTensor> values = from.parameters(), parameters = to.parameters();
  for (size_t i = 0; i < values.size(); ++i) parameters[i].tensor.copy_from(values[i].tensor.to(to.device()));
}

}  // namespace relume::test
