// --device, for the commands that compute with networks.
#pragma once

#include <string>

#include "tensor/core/device.h"

namespace CLI {
class App;
}

namespace relume {

// Declares --device, auto by default, which fills `text`.
void add_device_option(CLI::App& command, std::string& text);

// The device of that text. Where it is a GPU, a line on standard error names it.
Device chosen_device(const std::string& text);

}  // namespace relume
