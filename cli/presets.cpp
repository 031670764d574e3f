#include "cli/presets.h"

#include <algorithm>
#include <cstdlib>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace relume {

namespace fs = std::filesystem;

fs::path source_folder() {
  const char* named = std::getenv("RELUME_SOURCE_DIR");
  const fs::path folder = named ? named : ".";
  RELUME_CHECK(fs::is_directory(folder / "configs"), (folder / "configs").string(),
               ": no such folder; call `./relume` in the project's folder, or set RELUME_SOURCE_DIR to it");
  return folder;
}

fs::path shipped_restorer() { return source_folder() / "weights/photo_small/final.safetensors"; }

Recipe recipe_named(const std::string& name_or_file, const std::vector<std::string>& overrides) {
  if (fs::is_regular_file(name_or_file)) return read_config<Recipe>(name_or_file, overrides);
  const fs::path presets = source_folder() / "configs/degrade";
  std::vector<std::string> names;
  for (const fs::path& file : list_files(presets, {".yaml"}, false)) names.push_back(file.stem().string());
  RELUME_CHECK(std::ranges::count(names, name_or_file) > 0, "no file and no recipe is called '", name_or_file, "'",
               did_you_mean(name_or_file, names), "; recipes are ", join(names, ", "));
  return read_config<Recipe>(presets / (name_or_file + ".yaml"), overrides);
}

}  // namespace relume
