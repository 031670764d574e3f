// The configurations and weights that come with the project.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "degrade/recipe.h"

namespace relume {

// The folder that holds configs/: named by RELUME_SOURCE_DIR (the wrapper sets it), or the current folder.
std::filesystem::path source_folder();

// The weights that restore photographs where no others are named: weights/photo_small (docs/results.md).
std::filesystem::path shipped_restorer();

// A configuration by a file's name, or by that of one in configs/`folder` without its ending. InputError with the names there
// are; `kind` ("preset") is what it calls them.
std::filesystem::path config_file(const std::string& kind, const std::string& folder, const std::string& name_or_file);

// A degradation recipe: a file, or the name of one in configs/degrade ("second_order"), then `overrides` ("wide.noise_range=[0,
// 5]"). InputError with the names there are.
Recipe recipe_named(const std::string& name_or_file, const std::vector<std::string>& overrides = {});

}  // namespace relume
