#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/text.h"
#include "base/workers.h"
#include "cli/commands.h"
#include "data/image.h"
#include "data/metrics/niqe.h"
#include "data/metrics/similarity.h"
#include "tensor/core/serial.h"

namespace relume {
namespace {

using Path = std::filesystem::path;

struct MetricsArguments {
  Path a, b, json, csv;
  int64_t crop = 0;
  std::string psnr = "exact", ssim = "gauss";
};

constexpr size_t columns = 5, niqe_column = 4;
constexpr std::array<const char*, columns> titles{"PSNR RGB", "PSNR Y", "SSIM RGB", "SSIM Y", "NIQE"};
constexpr std::array<const char*, columns> keys{"psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y", "niqe"};
using Numbers = std::array<std::optional<double>, columns>;

struct Row {
  std::string name;
  Path a, b;  // b is empty where A stands alone
  Numbers numbers;
  std::string problem;  // why nothing was measured
};

struct Mean {
  Numbers numbers;                          // of the finite ones
  std::array<int64_t, columns> infinite{};  // how many were not
};

// The pictures of a folder by their path inside it, without extension.
std::map<std::string, Path> pictures_by_name(const Path& folder) {
  std::map<std::string, Path> pictures;
  for (const Path& path : list_files(folder, image_extensions(), true)) {
    const auto [at, is_new] = pictures.emplace(path.lexically_relative(folder).replace_extension().string(), path);
    RELUME_CHECK(is_new, path.string(), ": has the name of ", at->second.string(),
                 "; pairs are found by name without extension");
  }
  RELUME_CHECK(!pictures.empty(), folder.string(), ": holds no picture (", join(image_extensions(), ", "), ")");
  return pictures;
}

std::vector<Row> rows_of(const MetricsArguments& o) {
  for (const Path& path : {o.a, o.b})
    RELUME_CHECK(path.empty() || std::filesystem::exists(path), path.string(), ": no such file or folder");
  const bool folders = std::filesystem::is_directory(o.a);
  if (!o.b.empty())
    RELUME_CHECK(folders == std::filesystem::is_directory(o.b), o.a.string(), " and ", o.b.string(),
                 ": one is a folder, the other is not; name two pictures or two folders");
  if (!folders) return {{.name = o.a.filename().string(), .a = o.a, .b = o.b}};

  std::vector<Row> rows;
  std::map<std::string, Path> others;
  if (!o.b.empty()) others = pictures_by_name(o.b);
  for (const auto& [name, path] : pictures_by_name(o.a)) {
    Row& row = rows.emplace_back(Row{.name = name, .a = path});
    if (o.b.empty()) continue;
    if (auto partner = others.extract(name))
      row.b = partner.mapped();
    else
      row.problem = path.string() + ": no picture of this name in " + o.b.string();
  }
  for (const auto& [name, path] : others)
    rows.push_back({.name = name, .b = path, .problem = path.string() + ": no picture of this name in " + o.a.string()});
  return rows;
}

void measure(Row& row, const MetricsArguments& o) {
  const Tensor a = read_image(row.a);
  RELUME_CHECK(2 * o.crop < a.shape(0) && 2 * o.crop < a.shape(1), row.a.string(), ": a border of ", o.crop,
               " pixels leaves nothing of ", a.shape(1), "x", a.shape(0), " pixels");
  if (!row.b.empty()) {
    const Tensor b = read_image(row.b);
    RELUME_CHECK(a.shape() == b.shape(), row.a.string(), ": ", a.shape(1), "x", a.shape(0), " pixels, but ", row.b.string(),
                 " has ", b.shape(1), "x", b.shape(0), "; pairs must be of one size");
    MetricOptions options{.crop = o.crop, .ssim_window = o.ssim == "uniform" ? SsimWindow::uniform : SsimWindow::gauss};
    for (const size_t y : {0, 1}) {
      options.channels = y ? MetricChannels::luma : MetricChannels::rgb;
      row.numbers[y] = (o.psnr == "torch" ? psnr : psnr_exact)(a, b, options);
      row.numbers[2 + y] = ssim(a, b, options);
    }
  }
  row.numbers[niqe_column] = niqe(a, {.crop = o.crop});
}

void measure_all(std::vector<Row>& rows, const MetricsArguments& o) {
  const int threads = int(std::max(1u, std::thread::hardware_concurrency()));
  for_each_on_threads(int64_t(rows.size()), threads, [&](int64_t i) {
    make_thread_serial();
    Row& row = rows[size_t(i)];
    if (!row.problem.empty()) return;
    try {
      measure(row, o);
    } catch (const InputError& error) {
      row.numbers = {};
      row.problem = error.what();
      if (!row.problem.starts_with(row.a.string()) && (row.b.empty() || !row.problem.starts_with(row.b.string())))
        row.problem = row.a.string() + ": " + row.problem;
    }
  });
}

Mean mean_of(const std::vector<Row>& rows) {
  Mean mean;
  for (size_t k = 0; k < columns; ++k) {
    double sum = 0, count = 0;
    for (const Row& row : rows) {
      if (!row.numbers[k]) continue;
      if (std::isinf(*row.numbers[k]))
        ++mean.infinite[k];
      else
        sum += *row.numbers[k], ++count;
    }
    if (count > 0) mean.numbers[k] = sum / count;
  }
  return mean;
}

// How the numbers were made, by topic.
std::vector<std::pair<std::string, std::string>> conventions(const MetricsArguments& o) {
  std::vector<std::pair<std::string, std::string>> list{{"pictures", "8 bit RGB"},
                                                        {"crop", fmt::format("{} pixels at every border", o.crop)}};
  if (!o.b.empty()) {
    list.emplace_back("psnr", o.psnr == "torch" ? "10 log10(1 / (MSE + 1e-8)) on 0..1: 80 dB for equal pictures"
                                                : "10 log10(255^2 / MSE): infinite for equal pictures");
    list.emplace_back("ssim", o.ssim == "uniform" ? "7x7 mean window, unbiased variances (scikit-image's default)"
                                                  : "11x11 Gaussian window, sigma 1.5, valid region (BasicSR)");
    list.emplace_back("y", "BT.601, 16..235, not rounded");
  }
  list.emplace_back("niqe", "of A: Y rounded, blocks of 96x96, BasicSR's model; n/a below two blocks that are not flat");
  list.emplace_back("mean", "of the values of the pictures, infinite and n/a ones left out");
  return list;
}

std::string number_text(const std::optional<double>& number, size_t column) {
  return number ? fmt::format("{:.{}f}", *number, column == 2 || column == 3 ? 5 : 4) : "n/a";
}

// Only NIQE for pictures without partners.
size_t first_column(const MetricsArguments& o) { return o.b.empty() ? niqe_column : 0; }

std::string table(const std::vector<Row>& rows, const MetricsArguments& o) {
  size_t width = 7;
  for (const Row& row : rows) width = std::max(width, row.name.size());
  std::string out = fmt::format("{:<{}}", "picture", width);
  for (size_t k = first_column(o); k < columns; ++k) out += fmt::format("  {:>9}", titles[k]);
  const auto line = [&](const std::string& name, const Numbers& numbers) {
    out += fmt::format("\n{:<{}}", name, width);
    for (size_t k = first_column(o); k < columns; ++k) out += fmt::format("  {:>9}", number_text(numbers[k], k));
  };
  for (const Row& row : rows)
    row.problem.empty() ? line(row.name, row.numbers) : void(out += fmt::format("\n{:<{}}  not measured", row.name, width));
  const Mean mean = mean_of(rows);
  line("mean", mean.numbers);
  for (size_t k = 0; k < columns; ++k)
    if (mean.infinite[k] > 0) out += fmt::format("\n{}: {} infinite, not in the mean", titles[k], mean.infinite[k]);
  for (const auto& [topic, text] : conventions(o)) out += fmt::format("\n# {}: {}", topic, text);
  return out + "\n";
}

std::string json_text(const std::vector<Row>& rows, const MetricsArguments& o) {
  using Json = nlohmann::ordered_json;
  const auto object = [&](const Numbers& numbers) {
    Json out = Json::object();
    for (size_t k = first_column(o); k < columns; ++k) {
      Json& value = out[keys[k]];  // null where there is no score
      if (numbers[k] && std::isinf(*numbers[k]))
        value = "inf";
      else if (numbers[k])
        value = *numbers[k];
    }
    return out;
  };
  Json all{{"conventions", Json::object()}, {"pictures", Json::array()}};
  for (const auto& [topic, text] : conventions(o)) all["conventions"][topic] = text;
  for (const Row& row : rows) {
    Json picture{{"name", row.name}};
    if (row.problem.empty())
      picture.update(object(row.numbers));
    else
      picture["error"] = row.problem;
    all["pictures"].push_back(picture);
  }
  const Mean mean = mean_of(rows);
  all["mean"] = object(mean.numbers);
  all["infinite"] = Json::object();
  for (size_t k = first_column(o); k < columns; ++k) all["infinite"][keys[k]] = mean.infinite[k];
  return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string csv_text(const std::vector<Row>& rows, const MetricsArguments& o) {
  const auto quoted = [](const std::string& text) {
    std::string out = "\"";
    for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
    return out + "\"";
  };
  std::string out;
  for (const auto& [topic, text] : conventions(o)) out += fmt::format("# {}: {}\n", topic, text);
  out += "name";
  for (size_t k = first_column(o); k < columns; ++k) out += fmt::format(",{}", keys[k]);
  out += ",error";
  const auto line = [&](const std::string& name, const Numbers& numbers, const std::string& problem) {
    out += "\n" + quoted(name);
    for (size_t k = first_column(o); k < columns; ++k) out += numbers[k] ? fmt::format(",{}", *numbers[k]) : ",";
    out += "," + (problem.empty() ? "" : quoted(problem));
  };
  for (const Row& row : rows) line(row.name, row.numbers, row.problem);
  line("mean", mean_of(rows).numbers, "");
  return out + "\n";
}

void run(const MetricsArguments& o) {
  std::vector<Row> rows = rows_of(o);
  std::optional<AtomicFile> json, csv;  // opened first: a wrong name should not cost the work
  if (!o.json.empty()) json.emplace(o.json);
  if (!o.csv.empty()) csv.emplace(o.csv);
  measure_all(rows, o);
  const auto failed = std::ranges::count_if(rows, [](const Row& row) { return !row.problem.empty(); });
  if (failed < std::ssize(rows)) {
    std::cout << table(rows, o) << std::flush;
    if (json) json->write(json_text(rows, o)), json->commit();
    if (csv) csv->write(csv_text(rows, o)), csv->commit();
  }
  if (failed == 0) return;
  if (rows.size() == 1) throw InputError(rows.front().problem);
  InputError error(fmt::format("{} of {} pictures could not be measured", failed, rows.size()));
  for (const Row& row : rows)
    if (!row.problem.empty()) error.add_context(row.problem);
  throw error;
}

}  // namespace

void add_metrics(CLI::App& app) {
  CLI::App* command = app.add_subcommand("metrics", "PSNR, SSIM and NIQE of pictures");
  const auto o = std::make_shared<MetricsArguments>();
  command->add_option("a", o->a, "A picture, or a folder of pictures")->required()->type_name("A");
  command
      ->add_option(
          "b", o->b,
          "What they should look like: a picture, or a folder with pictures of the same names (extensions may differ). "
          "Without it only NIQE of A is measured")
      ->type_name("B");
  command->add_option("--crop", o->crop, "Pixels left out at every border")
      ->check(CLI::Range(int64_t(0), int64_t(1) << 20))
      ->type_name("N")
      ->capture_default_str();
  command->add_option("--psnr", o->psnr, "exact: 10 log10(255^2 / MSE); torch: 1e-8 added to the MSE on 0..1")
      ->check(CLI::IsMember({"exact", "torch"}))
      ->capture_default_str();
  command->add_option("--ssim", o->ssim, "gauss: 11x11 Gaussian window (BasicSR); uniform: 7x7 mean window (scikit-image)")
      ->check(CLI::IsMember({"gauss", "uniform"}))
      ->capture_default_str();
  command->add_option("--json", o->json, "Write all numbers in full precision; an existing file is replaced")
      ->type_name("FILE");
  command->add_option("--csv", o->csv, "The same as a table")->type_name("FILE");
  command->footer("Example: relume metrics restored/ truth/ --crop 4 --csv scores.csv");
  command->callback([o] { run(*o); });
}

}  // namespace relume
