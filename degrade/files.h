// Degrading pictures in files: what `relume degrade` does.
#pragma once

#include <cstdint>
#include <filesystem>

#include "degrade/recipe.h"

namespace relume {

struct DegradeOptions {
  std::filesystem::path input, output;  // as picture_jobs() has them
  std::filesystem::path target;         // where the targets go too (sharpened, where the recipe does that); empty: nowhere
  Recipe recipe;
  uint64_t seed = 231;
  std::filesystem::path record;  // where what was drawn is written; empty: nowhere
  std::filesystem::path replay;  // a record: its recipe and draws are used in place of `recipe` and `seed`; empty: none
  int threads = 1;
  bool overwrite = false;
};

// Degrades one picture or a folder. A picture's draws depend on the seed and its name within the folder, nothing else; results
// are 8-bit pictures. Pictures that cannot be read are left out and, after the others, named in an InputError. Gives the number
// of pictures degraded.
int64_t degrade_files(const DegradeOptions& options);

// The draws of one picture of a run with this seed.
SeededDraws draws_of_picture(uint64_t seed, const std::string& name);

}  // namespace relume
