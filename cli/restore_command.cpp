#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "cli/commands.h"
#include "infer/restore.h"

namespace relume {

void add_restore(CLI::App& app) {
  CLI::App* command = app.add_subcommand("restore", "Restore a picture or a folder of pictures");
  const auto options = std::make_shared<RestoreOptions>();
  command->add_option("input", options->input, "A picture, or a folder of pictures")->required()->type_name("IN");
  command
      ->add_option("output", options->output,
                   "File for the result (.png, .jpg, .webp), or a folder; .png holds 16 bit, .png and .webp alpha")
      ->required()
      ->type_name("OUT");
  command->add_option("--checkpoint", options->weights, "Weights of the network: safetensors, PyTorch, HDF5")
      ->required()
      ->type_name("FILE");
  command->add_option("--config", options->config, "Configuration of the network, for weights that do not carry it")
      ->type_name("FILE");
  command->add_flag("--overwrite", options->overwrite, "Replace results that exist already");
  command->footer("Example: relume restore photo.jpg restored.png --checkpoint out/first/final.safetensors");
  command->callback([options] {
    const int64_t done = restore_files(*options);
    std::cout << done << (done == 1 ? " picture" : " pictures") << " restored into " << options->output.string() << std::endl;
  });
}

}  // namespace relume
