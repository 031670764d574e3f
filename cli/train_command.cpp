#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/device_option.h"
#include "cli/presets.h"
#include "train/stage1.h"

namespace relume {

namespace {
struct TrainArguments {
  std::string config;
  std::string recipe;
  std::string resume = "none", device = "auto";
  std::vector<std::string> overrides;
  bool tune = false;
};

// The configuration, its degradation replaced by --recipe; overrides of the degradation then change that recipe.
Stage1Config config_of(const TrainArguments& a) {
  if (a.recipe.empty()) return read_config<Stage1Config>(a.config, a.overrides);
  constexpr std::string_view section = "degradation.";
  std::vector<std::string> of_recipe, others;
  for (const std::string& setting : a.overrides)
    setting.starts_with(section) ? of_recipe.push_back(setting.substr(section.size())) : others.push_back(setting);
  const Recipe recipe = recipe_named(a.recipe, of_recipe);
  others.push_back("degradation.kind=" + recipe.kind);  // what is checked against the kind sees the one it will be
  auto config = read_config<Stage1Config>(a.config, others);
  config.degradation = recipe;
  return config;
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "Train a network from a configuration file");
  const auto arguments = std::make_shared<TrainArguments>();
  command->add_option("config", arguments->config, "Configuration, e.g. configs/mini/stage1.yaml")
      ->required()
      ->type_name("CONFIG");
  command->add_option("overrides", arguments->overrides, "Settings that replace the file's, e.g. train.steps=1000")
      ->type_name("KEY=VALUE");
  command
      ->add_option("--recipe", arguments->recipe,
                   "How pictures are spoilt, in place of the file's: a recipe of configs/degrade (second_order, ...) or a file")
      ->type_name("NAME|FILE");
  command
      ->add_option("--resume", arguments->resume,
                   "auto: go on from the newest whole state in the output folder, or begin where there is none; a state file "
                   "(out/first/states/0001000.h5); none: begin, and refuse a folder that holds a training")
      ->type_name("auto|none|FILE")
      ->capture_default_str();
  add_device_option(*command, arguments->device);
  add_tune_option(*command, arguments->tune);
  command->footer(
      "Examples:\n"
      "  relume train configs/mini/stage1.yaml data.pictures=photos output=out/first train.steps=2000\n"
      "  relume train configs/mini/stage1.yaml data.pictures=photos output=out/first train.steps=2000 --resume auto\n"
      "  relume train configs/train/stage1_v2.yaml data.pictures=photos.h5 data.validation=held_out train.ema_decay=0.999\n\n"
      "The second continues the first wherever it ended: an interrupt, a crash, a time limit.\n\nKeys:\n" +
      describe<Stage1Config>());
  command->callback([arguments] {
    const Stage1Config config = config_of(*arguments);
    const Device device = chosen_device(arguments->device);
    if (arguments->tune) tune_products(device);
    const TrainingResult result = train_stage1(config, arguments->resume, device);
    if (!result.finished) {
      std::cout << "stopped at the time limit after step " << result.steps << "; go on with --resume auto" << std::endl;
      return;
    }
    std::cout << "trained " << result.steps << " steps in " << human_seconds(result.seconds)
              << "; weights: " << result.weights.string();
    if (const auto psnr = result.validation.find("psnr"); psnr != result.validation.end())
      std::cout << "; validation PSNR " << psnr->second.front().second << " dB before, " << psnr->second.back().second
                << " dB after";
    std::cout << std::endl;
  });
}

}  // namespace relume
