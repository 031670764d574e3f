#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "train/stage1.h"

namespace relume {

namespace {
struct TrainArguments {
  std::string config;
  std::vector<std::string> overrides;
};
}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "Train a network from a configuration file");
  const auto arguments = std::make_shared<TrainArguments>();
  command->add_option("config", arguments->config, "Configuration, e.g. configs/mini/stage1.yaml")
      ->required()
      ->type_name("CONFIG");
  command->add_option("overrides", arguments->overrides, "Settings that replace the file's, e.g. train.steps=1000")
      ->type_name("KEY=VALUE");
  command->footer(
      "Example: relume train configs/mini/stage1.yaml data.pictures=photos output=out/first train.steps=2000\n\nKeys:\n" +
      describe<Stage1Config>());
  command->callback([arguments] {
    const auto config = read_config<Stage1Config>(arguments->config, arguments->overrides);
    const Stage1Result result = train_stage1(config);
    std::cout << "trained " << result.steps << " steps in " << human_seconds(result.seconds)
              << "; weights: " << result.weights.string();
    if (!result.validation_psnr.empty())
      std::cout << "; validation PSNR " << result.validation_psnr.front().second << " dB before, "
                << result.validation_psnr.back().second << " dB after";
    std::cout << std::endl;
  });
}

}  // namespace relume
