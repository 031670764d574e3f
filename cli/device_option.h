// --device and --tune, for the commands that compute with networks.
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

// Declares --tune, which sets `tune`.
void add_tune_option(CLI::App& command, bool& tune);

// Lets the GPU's library find its fastest products; a line on standard error says where the results lie. InputError on the CPU.
void tune_products(Device device);

}  // namespace relume
