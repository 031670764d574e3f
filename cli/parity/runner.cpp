#include "cli/parity/runner.h"

#include "base/files.h"
#include "base/interrupt.h"
#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <set>

namespace relume::parity {
namespace {

constexpr int64_t max_manifest = int64_t(256) << 20;  // bytes
constexpr int max_nesting = 64;
constexpr int worst_width = 60;

std::vector<std::string> read_globs(const std::string& text, const char* option) {
  const std::vector<std::string> globs = split(text, ',');
  for (const std::string& glob : globs) RELUME_CHECK(!glob.empty(), option, " '", text, "': empty pattern");
  return globs;
}

bool matches(const Case& c, const std::string& glob) { return glob_match(glob, c.name()) || glob_match(glob, c.kind()); }
bool matches_any(const Case& c, const std::vector<std::string>& globs) {
  return std::any_of(globs.begin(), globs.end(), [&](const std::string& glob) { return matches(c, glob); });
}

void check_globs(const std::vector<std::string>& globs, const std::vector<Case>& cases, const char* option,
                 const std::filesystem::path& folder) {
  for (const std::string& glob : globs) {
    if (std::any_of(cases.begin(), cases.end(), [&](const Case& c) { return matches(c, glob); })) continue;
    std::vector<std::string> names;
    for (const Case& c : cases) names.insert(names.end(), {c.name(), c.kind()});
    throw InputError(fmt::format("{} '{}' matches no case of {}{}", option, glob, folder.string(), did_you_mean(glob, names)));
  }
}

Verdict run_case(Case& c, Kind kind) {
  Verdict failed;
  try {
    c.load();
    Report report(c);
    kind(c, report);
    return report.finish();
  } catch (const Interrupted&) {
    throw;
  } catch (const NotImplemented&) {
    throw;
  } catch (const std::bad_alloc&) {
    failed.complaints.push_back("out of memory");
  } catch (const std::exception& error) {
    failed.complaints.push_back(error.what());
  }
  return failed;
}

}  // namespace

std::vector<Case> read_manifest(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "manifest.json";
  const auto limit_nesting = [&](int depth, Json::parse_event_t, Json&) {
    RELUME_CHECK(depth <= max_nesting, path.string(), ": nested more than ", max_nesting, " levels deep");
    return true;
  };
  Json manifest;
  try {
    manifest = Json::parse(read_file(path, max_manifest), limit_nesting);
  } catch (const Json::exception& error) {
    throw InputError(path.string() + ": not valid JSON (" + error.what() + ")");
  }
  RELUME_CHECK(manifest.is_object() && manifest.contains("cases") && manifest["cases"].is_array(), path.string(),
               ": no list under 'cases'");
  std::vector<Case> cases;
  std::set<std::string> names;
  for (Json& entry : manifest["cases"]) {
    cases.emplace_back(folder, std::move(entry));
    RELUME_CHECK(names.insert(cases.back().name()).second, path.string(), ": two cases named '", cases.back().name(), "'");
  }
  return cases;
}

Summary run_parity(const ParityOptions& options, const Kinds& kinds, std::ostream& out) {
  std::vector<Case> cases = read_manifest(options.folder);
  const std::vector<std::string> only = read_globs(options.only, "--only"), except = read_globs(options.except, "--except");
  check_globs(only, cases, "--only", options.folder);
  check_globs(except, cases, "--except", options.folder);
  std::erase_if(cases, [&](const Case& c) { return (!only.empty() && !matches_any(c, only)) || matches_any(c, except); });

  size_t width = 4;
  for (const Case& c : cases) width = std::max(width, c.name().size());
  const auto row = [&](const auto& name, const auto& worst, const auto& error, const auto& tolerance, const auto& verdict) {
    out << fmt::format("{:<{}}  {:<{}}  {:>9}  {:>9}  {}", name, width, worst, worst_width, error, tolerance, verdict)
        << std::endl;
  };
  row("name", "worst tensor", "error", "tolerance", "verdict");
  Summary summary;
  for (Case& entry : cases) {
    Case c = std::move(entry);  // its files are closed at the end of its turn
    c.set_device(options.device);
    throw_if_interrupted();
    const auto kind = kinds.find(c.kind());
    if (kind == kinds.end()) {
      ++summary.not_implemented;
      row(c.name(), "-", "-", "-", "not implemented (kind " + c.kind() + ")");
      continue;
    }
    Verdict v;
    try {
      v = run_case(c, kind->second);
    } catch (const NotImplemented& variant) {
      ++summary.not_implemented;
      row(c.name(), "-", "-", "-", std::string("not implemented (") + variant.what() + ")");
      continue;
    }
    ++(v.passed ? summary.passed : summary.failed);
    const bool measured = !v.worst.empty();
    row(c.name(), measured ? v.worst : "-", measured ? fmt::format("{:.2e}", v.error) : "-",
        measured ? fmt::format("{:.2e}", v.tolerance) : "-", v.passed ? "passed" : "FAILED");
    static constexpr size_t shown = 12;
    for (size_t i = 0; i < std::min(shown, v.complaints.size()); ++i) out << "    " << v.complaints[i] << '\n';
    if (v.complaints.size() > shown) out << "    and " << v.complaints.size() - shown << " more\n";
  }
  out << summary.passed << " passed, " << summary.failed << " failed, " << summary.not_implemented << " not implemented"
      << std::endl;
  return summary;
}

}  // namespace relume::parity
