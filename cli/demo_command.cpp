// relume demo: a small SwinIR learns from real photographs and restores pictures it never saw, in a few minutes.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>

#include "base/files.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/commands.h"
#include "cli/demo_filter.h"
#include "cli/demo_photos.h"
#include "cli/demo_report.h"
#include "cli/presets.h"
#include "data/convert.h"
#include "data/dataset.h"
#include "data/metrics/similarity.h"
#include "infer/load_network.h"
#include "infer/restore.h"
#include "train/stage1.h"

namespace relume {

namespace {

using Path = std::filesystem::path;

struct DemoArguments {
  Path photos, output = "out/demo";
  std::string source;  // folder that holds configs/
  bool quick = false;
  int64_t seed = 231;
};

// The photographs of the kept list, or those of one's own folder, of which every fourth is held out.
std::vector<DemoPhoto> photos_of(const DemoArguments& a, const Path& source) {
  if (a.photos.empty()) return read_photo_list(source / "configs/demo/photos.txt");
  const FileDataset folder(a.photos);
  RELUME_CHECK(folder.size() >= 2, a.photos.string(),
               ": holds one picture; the demo needs at least two, one to learn from and one to restore");
  std::vector<DemoPhoto> photos;
  for (int64_t i = 0; i < folder.size(); ++i)
    photos.push_back(
        {"", std::filesystem::absolute(folder.path(i)), "your own", i % 4 == 1 ? PhotoSplit::held_out : PhotoSplit::train});
  return photos;
}

Path write_list(const Path& path, const std::vector<DemoPhoto>& photos, PhotoSplit split) {
  std::string text;
  for (const DemoPhoto& photo : photos)
    if (photo.split == split) text += photo.file.string() + "\n";
  write_file_atomically(path, text);
  return path;
}

Stage1Config demo_config(const DemoArguments& a, const Path& source, const Path& train, const Path& held_out) {
  std::vector<std::string> overrides{"output=" + (a.output / "training").string(), "overwrite=true",
                                     "data.pictures=" + train.string(), "data.validation=" + held_out.string(),
                                     fmt::format("seed={}", a.seed)};
  if (a.quick)
    overrides.insert(overrides.end(), {"train.steps=600", "train.time_budget=30", "train.validate_every=1000000"});
  else
    overrides.push_back("train.time_budget=360");  // the whole demo stays below ten minutes on a slow machine
  return read_config<Stage1Config>(source / "configs/mini/stage1.yaml", overrides);
}

// "2560x1600.jpg" says nothing: then the nearest folder with a name of its own does.
std::string title_of(const Path& file) {
  if (!std::isdigit(static_cast<unsigned char>(file.stem().string()[0]))) return file.stem().string();
  Path folder = file.parent_path();
  while (folder.filename() == "images" || folder.filename() == "contents") folder = folder.parent_path();
  return folder.filename().string();
}

Scores scores_of(const Tensor& picture, const Tensor& truth) { return {psnr(picture, truth), ssim(picture, truth)}; }

ReportPicture restored_picture(const DemoPhoto& photo, const Tensor& truth, const SwinIR& network, const Recipe& recipe,
                               uint64_t seed, uint32_t number) {
  SeededDraws draws({.seed = seed, .purpose = "demo", .sample = number});
  const Tensor degraded = to_u8_rounded(degrade(to_float(truth), recipe, draws).lq);
  ReportPicture p{.name = title_of(photo.file), .licence = photo.licence, .truth = truth, .degraded = degraded};
  p.filter_sigma = best_gaussian_sigma(to_float(truth), to_float(degraded), &p.filtered);
  p.restored = to_u8_truncated(restore_picture(network, degraded));
  p.degraded_scores = scores_of(p.degraded, truth);
  p.filter_scores = scores_of(p.filtered, truth);
  p.restored_scores = scores_of(p.restored, truth);
  return p;
}

std::vector<ReportPicture> restore_held_out(const DemoArguments& a, const Path& source, const std::vector<DemoPhoto>& photos,
                                            const Stage1Config& config, const Path& weights) {
  const auto recipe = read_config<Recipe>(source / "configs/demo/degrade.yaml");
  const auto network = load_swinir(weights);
  FileDataset pictures(config.data.validation, {.max_side = config.data.max_side});
  std::vector<ReportPicture> restored;
  for (const DemoPhoto& photo : photos) {
    if (photo.split != PhotoSplit::held_out) continue;
    const uint32_t number = uint32_t(restored.size());
    if (a.quick && number == 3) break;
    std::cerr << "restoring " << title_of(photo.file) << std::endl;
    restored.push_back(restored_picture(photo, pictures.picture(number), *network, recipe, uint64_t(a.seed), number));
  }
  return restored;
}

std::vector<ChartPoint> chart_points(const std::vector<std::pair<int64_t, double>>& values) {
  std::vector<ChartPoint> points;
  for (const auto& [step, value] : values) points.push_back({double(step), value});
  return points;
}

void run_demo(const DemoArguments& a) {
  const auto start = std::chrono::steady_clock::now();
  const auto seconds = [&] { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(); };
  const Path source = source_folder();
  const std::vector<DemoPhoto> photos = photos_of(a, source);
  make_folder(a.output);
  const Path train = write_list(std::filesystem::absolute(a.output / "train.txt"), photos, PhotoSplit::train);
  const Path held_out = write_list(std::filesystem::absolute(a.output / "held_out.txt"), photos, PhotoSplit::held_out);
  const Stage1Config config = demo_config(a, source, train, held_out);
  const auto learning =
      std::count_if(photos.begin(), photos.end(), [](const DemoPhoto& p) { return p.split == PhotoSplit::train; });
  std::cerr << "training on " << learning << " photographs; restoring " << photos.size() - size_t(learning) << " others"
            << std::endl;
  const TrainingResult trained = train_stage1(config);

  DemoReport report{.loss = chart_points(trained.loss), .validation_psnr = chart_points(trained.validation.at("psnr"))};
  report.pictures = restore_held_out(a, source, photos, config, trained.weights);
  const int64_t parameters = SwinIR(config.model).parameter_count();
  report.facts = {
      {"Network", fmt::format("SwinIR, {} parameters, started as the identity", parameters)},
      {"Training", fmt::format("{} steps of {} squares of {} pixels from {} photographs, {}", trained.steps,
                               config.train.batch_size, config.data.size, learning, human_seconds(trained.seconds))},
      {"Task", "blur sigma 0.2 to 1, Gaussian noise 10 to 40 of 255, JPEG 60 to 95 (configs/demo/degrade.yaml)"},
      {"Pictures", config.data.max_side > 0 ? fmt::format("reduced to {} pixels on the long side", config.data.max_side)
                                            : std::string("at their full size")},
      {"Machine", fmt::format("{} processors, {} in all", std::thread::hardware_concurrency(), human_seconds(seconds()))},
      {"Version", "relume " + version_number() + ", " + git_revision()}};
  const Path page = a.output / "report.html";
  write_demo_report(page, report);

  const MeanScores means = mean_scores(report.pictures);
  std::cerr << verdict(report.pictures) << std::endl;
  const auto rounded = [](double v, double parts) { return std::round(v * parts) / parts; };
  std::cout << nlohmann::ordered_json{{"psnr_degraded", rounded(means.degraded.psnr, 1e3)},
                                      {"psnr_filter", rounded(means.filter.psnr, 1e3)},
                                      {"psnr_restored", rounded(means.restored.psnr, 1e3)},
                                      {"ssim_degraded", rounded(means.degraded.ssim, 1e4)},
                                      {"ssim_restored", rounded(means.restored.ssim, 1e4)},
                                      {"seconds", rounded(seconds(), 10)},
                                      {"report", page.string()}}
                   .dump()
            << std::endl;
}

}  // namespace

void add_demo(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("demo", "Train a small network on real photographs and restore others; writes a report");
  const auto arguments = std::make_shared<DemoArguments>();
  command->add_option("--photos", arguments->photos, "Folder of your own photographs instead of the kept list")
      ->type_name("DIR");
  command->add_option("--output", arguments->output, "Folder for the report and the training")
      ->type_name("DIR")
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "Seed of every random number")->type_name("N")->capture_default_str();
  command->add_flag("--quick", arguments->quick, "About a minute instead of several: less training, fewer pictures");
  command->footer(
      "Examples: relume demo --quick\n"
      "          relume demo --photos ~/Pictures --output out/mine");
  command->callback([arguments] { run_demo(*arguments); });
}

}  // namespace relume
