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

fs::path config_file(const std::string& kind, const std::string& folder, const std::string& name_or_file) {
  if (fs::is_regular_file(name_or_file)) return name_or_file;
  const fs::path shipped = source_folder() / "configs" / folder;
  std::vector<std::string> names;
  for (const fs::path& file : list_files(shipped, {".yaml"}, false)) names.push_back(file.stem().string());
  RELUME_CHECK(std::ranges::count(names, name_or_file) > 0, "no file and no ", kind, " is called '", name_or_file, "'",
               did_you_mean(name_or_file, names), "; ", kind, "s are ", join(names, ", "));
  return shipped / (name_or_file + ".yaml");
}

Recipe recipe_named(const std::string& name_or_file, const std::vector<std::string>& overrides) {
  return read_config<Recipe>(config_file("recipe", "degrade", name_or_file), overrides);
}

}  // namespace relume
