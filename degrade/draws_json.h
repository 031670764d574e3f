// Draws in JSON: [["blur.kernel", "iso"], ["blur.sigma_x", 2.25], ["noise.field", {"seed": "17"}], ...].
#pragma once

#include <nlohmann/json.hpp>

#include <string>

#include "degrade/draws.h"

namespace relume {

// Numbers come back to the last bit; seeds are texts, since many readers of JSON have no 64-bit integers.
nlohmann::ordered_json to_json(const DrawRecord& record);

// Throws an InputError beginning with `where` for anything else than such a list.
DrawRecord draw_record_from_json(const nlohmann::ordered_json& list, const std::string& where);

}  // namespace relume
