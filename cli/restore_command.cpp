#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/device_option.h"
#include "cli/presets.h"
#include "cli/stage_two_options.h"
#include "infer/restore.h"
#include "layers/precision.h"

namespace relume {

namespace {

struct RestoreArguments {
  RestoreOptions options;
  std::unique_ptr<StageTwoArguments> stage_two;
  std::filesystem::path config;
  std::string tile = "auto", memory, device = "auto", precision = "f32";
  bool tune = false;
  bool overwrite = false, skip_existing = false;
};

void add_result_options(CLI::App& command, RestoreArguments& a) {
  command.add_option("input", a.options.input, "A picture, or a folder of pictures (with its sub-folders)")
      ->required()
      ->type_name("IN");
  command
      .add_option("output", a.options.output,
                  "File for the result (.png, .jpg, .webp), or a folder; .png holds 16 bit, .png and .webp alpha")
      ->required()
      ->type_name("OUT");
  CLI::Option* checkpoint =
      command
          .add_option(
              "--checkpoint,--cleaner", a.options.weights,
              "Weights of stage one, a SwinIR, BSRNet or SCUNet: safetensors, PyTorch, HDF5; 'none' in front of stage two: "
              "pictures as they are. Default: the preset's, or, without stage two, the small restorer that comes with the "
              "project, against mild blur, noise and JPEG (docs/results.md)")
          ->type_name("FILE|none");
  command.add_option("--config", a.config, "Configuration of the network, for weights that do not carry it")
      ->needs(checkpoint)
      ->type_name("FILE");
  CLI::Option* overwrite = command.add_flag("--overwrite", a.overwrite, "Replace results that exist already");
  command
      .add_flag("--skip-existing", a.skip_existing,
                "Keep results that exist and can be read, and make the others: goes on with a folder that was interrupted")
      ->excludes(overwrite);
}

void add_size_options(CLI::App& command, RestoreArguments& a) {
  command
      .add_option(
          "--upscale", a.options.upscale,
          "Enlarge by this factor (1 or more, 2.5 is fine): results have int(side * S) pixels. Default: as large as the "
          "network makes them; with stage two, what the preset says")
      ->type_name("S");
  command
      .add_option(
          "--short-edge", a.options.short_side,
          "Side to which a shorter short side is enlarged around stage one, 0 for none. Default: 512 with stage two, and "
          "with --upscale where the network is a published stage one (an unshuffle by 8 in front), else 0")
      ->check(CLI::Range(int64_t(0), int64_t(65536)))
      ->type_name("N");
}

void add_tile_options(CLI::App& command, RestoreArguments& a) {
  command
      .add_option(
          "--tile", a.tile,
          "auto: whole pictures where they fit the memory, else the largest tiles that do. off: whole. A number: tiles of "
          "so many pixels, a multiple of what the network takes")
      ->type_name("auto|off|N")
      ->capture_default_str();
  command
      .add_option(
          "--tile-overlap", a.options.overlap,
          "Pixels that neighbouring tiles share. Default: half the tile for --tile N, as published; two multiples of the "
          "network (128 for the paper's), or an eighth of a large tile, for auto")
      ->check(CLI::Range(int64_t(0), int64_t(65536)))
      ->type_name("N");
  command
      .add_option("--memory", a.memory,
                  "Memory that may be used, as 6G, 512M or 2GiB; with a GPU, of its memory. Default: three quarters of what is "
                  "free, limits of containers respected")
      ->type_name("SIZE");
}

TileMode tile_mode(const std::string& text, int64_t& tile) {
  if (text == "auto") return TileMode::automatic;
  if (text == "off") return TileMode::off;
  RELUME_CHECK(!text.empty() && text.size() <= 9 && text.find_first_not_of("0123456789") == std::string::npos, "--tile '", text,
               "': expected auto, off or a number of pixels");
  tile = std::stoll(text);
  return TileMode::fixed;
}

void run(RestoreArguments& a) {
  RestoreOptions& o = a.options;
  o.device = chosen_device(a.device);
  if (a.tune) tune_products(o.device);
  o.precision = precision_of("--precision", a.precision, o.device);
  o.mode = tile_mode(a.tile, o.tile);
  if (!a.config.empty()) o.config = read_config<SwinIRConfig>(a.config);
  a.stage_two->apply(o);
  if (!a.memory.empty()) o.memory = parse_bytes(a.memory, "--memory");
  if (o.weights.empty() && !o.stage_two) {
    o.weights = shipped_restorer();
    o.weights_remark = "the small restorer that comes with the project; --checkpoint names another";
  }
  o.existing = a.overwrite ? Existing::replaced : a.skip_existing ? Existing::kept : Existing::refused;
  const RestoreCounts done = restore_files(o);
  if (o.dry_run) return;
  std::cout << done.restored << (done.restored == 1 ? " picture" : " pictures") << " restored into " << o.output.string();
  if (done.kept > 0) std::cout << ", " << done.kept << " kept";
  std::cout << std::endl;
}

}  // namespace

void add_restore(CLI::App& app) {
  CLI::App* command = app.add_subcommand("restore", "Restore a picture or a folder of pictures");
  const auto a = std::make_shared<RestoreArguments>();
  add_result_options(*command, *a);
  add_size_options(*command, *a);
  add_tile_options(*command, *a);
  a->stage_two = std::make_unique<StageTwoArguments>(*command);
  add_device_option(*command, a->device);
  add_tune_option(*command, a->tune);
  command
      ->add_option(
          "--precision", a->precision,
          "Type the network computes in. On a GPU tf32, f32 with rounded products, is faster, and bf16 and f16 more so, "
          "in less memory; pictures may change by a level or two of 255")
      ->type_name("f32|tf32|bf16|f16")
      ->capture_default_str();
  command->add_flag("--dry-run", a->options.dry_run,
                    "Print the plan, with sizes, tiles, memory and time of each picture, and stop");
  command->add_option("--json-log", a->options.json_log, "Write a JSON object per picture: sizes, tiles, seconds, peak memory")
      ->type_name("FILE");
  command->footer(
      "Examples:\n"
      "  relume restore photo.jpg restored.png\n"
      "  relume restore photo.jpg restored.png --checkpoint final.safetensors\n"
      "  relume restore photos restored --checkpoint final.safetensors --skip-existing\n"
      "  relume restore photo.jpg large.png --checkpoint stage1.safetensors --upscale 4 --memory 6G\n"
      "  relume restore photos restored --checkpoint stage1.safetensors --tile 512 --tile-overlap 256\n"
      "  relume restore photos restored --checkpoint stage1.safetensors --upscale 2 --dry-run\n"
      "  relume restore photo.jpg large.png --version v2.1 --models published --prompt 'a lighthouse at dusk'\n"
      "  relume restore faces restored --version v2 --task face --models published --cfg-scale 2 --seed 7");
  command->callback([a] { run(*a); });
}

}  // namespace relume
