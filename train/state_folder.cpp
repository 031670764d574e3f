#include "train/state_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/files.h"
#include "base/version.h"
#include "data/checksum.h"

namespace relume {

namespace {

namespace fs = std::filesystem;
constexpr const char* format_name = "relume training state 1";

std::string hex(uint64_t value) { return fmt::format("{:016x}", value); }

// The step of a name like 0000123.json; -1 for other names.
int64_t step_of(const fs::path& path, const char* extension) {
  const std::string stem = path.stem().string();
  const bool digits = stem.size() >= 7 && stem.size() <= 15 && stem.find_first_not_of("0123456789") == std::string::npos;
  return digits && path.extension() == extension ? std::stoll(stem) : -1;
}

template <class F> void for_each_name(const fs::path& folder, F&& f) {
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error)) f(at->path());
}

SavedState checked_against(const fs::path& manifest, int64_t step) {
  const nlohmann::json facts = [&] {
    try {
      return nlohmann::json::parse(read_file(manifest, 65536));
    } catch (const nlohmann::json::exception&) {
      throw InputError(manifest.string() + ": damaged: it is not JSON");
    }
  }();
  const auto field = [&](const char* name, auto good) -> const nlohmann::json& {
    const auto at = facts.is_object() ? facts.find(name) : facts.end();
    RELUME_CHECK(at != facts.end() && good(*at), manifest.string(), ": damaged: '", name, "' is missing or of another kind");
    return *at;
  };
  const auto is_text = [](const nlohmann::json& v) { return v.is_string(); };
  const auto is_count = [](const nlohmann::json& v) { return v.is_number_integer() && v.get<int64_t>() >= 0; };
  RELUME_CHECK(field("format", is_text) == format_name, manifest.string(), ": its format is ", facts["format"],
               ", this version reads '", format_name, "'");
  const fs::path file = fs::path(manifest).replace_extension(".h5");
  RELUME_CHECK(field("file", is_text) == file.filename().string() && field("step", is_count) == step, manifest.string(),
               ": damaged: it speaks of another file or step");
  const MappedFile bytes = map_file(file);
  const int64_t expected = field("bytes", is_count).get<int64_t>();
  RELUME_CHECK(int64_t(bytes.bytes.size()) == expected, file.string(), ": ", bytes.bytes.size(), " bytes, ", expected,
               " were written; it was cut or replaced");
  RELUME_CHECK(hex(checksum(bytes.bytes.data(), bytes.bytes.size())) == field("xxh3", is_text), file.string(),
               ": its checksum is not that of what was written; the file is damaged");
  return {step, field("seconds", [](const nlohmann::json& v) { return v.is_number(); }).get<double>(), file};
}

}  // namespace

SavedState StateFolder::save(int64_t step, double seconds, const StateContents& contents, int keep) const {
  make_folder(folder_);
  const std::string stem = fmt::format("{:07}", step);
  const fs::path file = folder_ / (stem + ".h5"), manifest = folder_ / (stem + ".json");
  std::error_code ignored;
  fs::remove(manifest, ignored);  // of another file of this name, which is about to be replaced
  const StateFacts facts = write_state(file, contents);
  const nlohmann::ordered_json text{{"format", format_name},
                                    {"file", file.filename().string()},
                                    {"bytes", facts.bytes},
                                    {"xxh3", hex(facts.xxh3)},
                                    {"step", step},
                                    {"seconds", seconds},
                                    {"version", version_number()}};
  write_file_atomically(manifest, text.dump(2) + "\n");
  keep_newest(keep);
  return {step, seconds, file};
}

void StateFolder::keep_newest(int count) const {
  const std::vector<Entry> all = entries();
  for (size_t i = size_t(count); i < all.size(); ++i) remove(all[i]);
}

std::vector<StateFolder::Entry> StateFolder::entries() const {
  std::vector<Entry> found;
  for_each_name(folder_, [&](const fs::path& path) {
    if (const int64_t step = step_of(path, ".json"); step >= 0) found.push_back({step, path});
  });
  std::ranges::sort(found, std::greater(), &Entry::step);
  return found;
}

StateFolder::Found StateFolder::newest(int64_t limit) const {
  Found found;
  for (const Entry& entry : entries()) {
    if (entry.step > limit) continue;
    try {
      found.state = checked(entry);
      return found;
    } catch (const InputError& e) {
      found.passed_over.push_back(e.what());
    }
  }
  return found;
}

SavedState StateFolder::checked(const Entry& entry) const {
  const SavedState state = checked_against(entry.manifest, entry.step);
  const StateFile readable(state.file);  // throws when it is not
  return state;
}

bool StateFolder::any() const { return !entries().empty(); }

// The manifest first: a file without one does not count, a manifest without its file would be complained about.
void StateFolder::remove(const Entry& entry) const {
  std::error_code ignored;
  fs::remove(entry.manifest, ignored);
  fs::remove(fs::path(entry.manifest).replace_extension(".h5"), ignored);
}

void StateFolder::remove_newer_than(int64_t step) const {
  for (const Entry& entry : entries())
    if (entry.step > step) remove(entry);
}

void StateFolder::tidy() const {
  remove_leftovers(folder_);
  std::vector<fs::path> orphans;
  for_each_name(folder_, [&](const fs::path& path) {
    if (step_of(path, ".h5") >= 0 && !fs::exists(fs::path(path).replace_extension(".json"))) orphans.push_back(path);
  });
  std::error_code ignored;
  for (const fs::path& path : orphans) fs::remove(path, ignored);
}

SavedState open_state(const fs::path& file) {
  const int64_t step = step_of(file, ".h5");
  const fs::path manifest = fs::path(file).replace_extension(".json");
  RELUME_CHECK(step >= 0, file.string(), ": not the name of a training's state; they are called like states/0001000.h5");
  RELUME_CHECK(fs::exists(file), file.string(), ": no such file");
  RELUME_CHECK(fs::exists(manifest), file.string(), ": its manifest ", manifest.filename().string(),
               " is missing; the file was never finished, or the manifest must be copied with it");
  return checked_against(manifest, step);
}

}  // namespace relume
