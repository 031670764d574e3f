// The globals that the pickles of checkpoints may name, and what calling them gives. All of them build plain values or tensors;
// the list is closed.
#pragma once

#include "data/checkpoint/pickle.h"

namespace relume {

// The value that stands for module.name; InputError "refuses the global ..." for everything that is not on the list.
PickleValue known_global(std::string_view module, std::string_view name);

// What callable(*arguments) gives (opcode REDUCE); InputError when `callable` is no global that can be called, or for arguments
// that PyTorch does not write.
PickleValue call_global(PickleDocument& document, const PickleValue& callable, const PickleValue& arguments);

// Checks target.__setstate__(state) (opcode BUILD) as PyTorch and NumPy write it: the attributes of an OrderedDict, which are
// dropped, and the byte order of a number type. InputError for every other target.
void check_state(const PickleDocument& document, const PickleValue& target, const PickleValue& state);

// The storage that a persistent id names (opcode BINPERSID).
PickleValue storage_of(PickleDocument& document, const PickleValue& id);

}  // namespace relume
