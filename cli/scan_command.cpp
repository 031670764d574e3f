// relume scan: what is wrong with a collection of pictures.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/commands.h"
#include "data/file_list.h"
#include "data/scan.h"

namespace relume {

namespace {

using Path = std::filesystem::path;

struct ScanArguments {
  Path source, json, list;
  ScanOptions options;
};

std::map<Finding, int64_t> counts_of(const std::vector<ScannedPicture>& pictures) {
  std::map<Finding, int64_t> counts;
  for (const ScannedPicture& p : pictures) ++counts[p.finding];
  return counts;
}

int64_t wrong_extensions(const std::vector<ScannedPicture>& pictures) {
  return std::ranges::count_if(pictures, [](const ScannedPicture& p) { return !p.wrong_extension.empty(); });
}

// Counts, then the pictures of each finding with the reason.
void print(const std::vector<ScannedPicture>& pictures) {
  std::map<Finding, int64_t> counts = counts_of(pictures);
  for (const Finding finding : all_findings) fmt::print("{:<16}{:>9}\n", name_of(finding), counts[finding]);
  fmt::print("{:<16}{:>9}\n{:<16}{:>9}\n", "all", pictures.size(), "wrong extension", wrong_extensions(pictures));
  for (const Finding finding : all_findings) {
    if (finding == Finding::good || counts[finding] == 0) continue;
    fmt::print("\n{}:\n", name_of(finding));
    for (const ScannedPicture& p : pictures)
      if (p.finding == finding)
        fmt::print("  {}\n", p.reason.starts_with(p.path.string()) ? p.reason : p.path.string() + ": " + p.reason);
  }
  if (wrong_extensions(pictures) > 0) fmt::print("\nwrong extension:\n");
  for (const ScannedPicture& p : pictures)
    if (!p.wrong_extension.empty()) fmt::print("  {}: is {}\n", p.path.string(), p.wrong_extension);
}

void write_json(const ScanArguments& a, const std::vector<ScannedPicture>& pictures) {
  nlohmann::ordered_json report{{"source", a.source.string()}, {"pictures", pictures.size()}};
  std::map<Finding, int64_t> counts = counts_of(pictures);
  for (const Finding finding : all_findings) report["counts"][name_of(finding)] = counts[finding];
  report["counts"]["wrong_extension"] = wrong_extensions(pictures);
  report["findings"] = nlohmann::ordered_json::array();
  for (const ScannedPicture& p : pictures) {
    if (p.finding == Finding::good && p.wrong_extension.empty()) continue;
    nlohmann::ordered_json line{
        {"path", p.path.string()}, {"finding", name_of(p.finding)}, {"width", p.width}, {"height", p.height}};
    if (!p.reason.empty()) line["reason"] = p.reason;
    if (p.same_as >= 0) line["same_as"] = pictures[size_t(p.same_as)].path.string();
    if (!p.wrong_extension.empty()) line["is"] = p.wrong_extension;
    report["findings"].push_back(std::move(line));
  }
  // Names of files may be any bytes.
  write_file_atomically(a.json, report.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n");
}

// The good pictures as a list to train on; absolute paths, so that the list may lie anywhere.
void write_list(const Path& path, const std::vector<ScannedPicture>& pictures) {
  std::string text;
  for (const ScannedPicture& p : pictures) {
    if (p.finding != Finding::good) continue;
    const std::string line = std::filesystem::absolute(p.path).lexically_normal().string();
    RELUME_CHECK(
        is_utf8(line) && line.find_first_of("\r\n") == std::string::npos && !line.ends_with(' ') && !line.ends_with('\t'), line,
        ": a name that a list cannot hold (not UTF-8, a line end, a blank at its end); rename it");
    text += line + "\n";
  }
  write_file_atomically(path, text);
}

void run(ScanArguments& a) {
  std::vector<Path> paths;
  for (ListEntry& entry : list_pictures(a.source)) paths.push_back(std::move(entry.path));
  std::vector<ScannedPicture> pictures;
  {
    Progress progress("picture", int64_t(paths.size()));
    a.options.progress = [&](int64_t done) {
      throw_if_interrupted();
      progress.update(done, "scanned");
    };
    pictures = scan_pictures(paths, a.options);
  }
  print(pictures);
  if (!a.json.empty()) write_json(a, pictures);
  if (!a.list.empty()) write_list(a.list, pictures);
}

}  // namespace

void add_scan(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("scan", "Find broken, tiny, duplicate and non-photographic pictures before training does");
  const auto a = std::make_shared<ScanArguments>();
  a->options.threads = int(std::max(1u, std::thread::hardware_concurrency()));
  command->add_option("source", a->source, "Folder of pictures, or a list of files (.txt, .csv, .jsonl)")
      ->required()
      ->type_name("DIR|LIST");
  command->add_option("--json", a->json, "Write the findings as JSON")->type_name("FILE");
  command->add_option("--write-list", a->list, "Write the good pictures, one path per line, to train on")->type_name("FILE");
  command->add_option("--min-side", a->options.min_side, "Pictures with a shorter side are tiny")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  command->add_option("--threads", a->options.threads, "Pictures at a time; findings do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->footer(
      "Example: relume scan photos --write-list photos.txt && relume train configs/mini/stage1.yaml data.pictures=photos.txt");
  command->callback([a] { run(*a); });
}

}  // namespace relume
