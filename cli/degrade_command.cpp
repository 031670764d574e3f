#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <thread>

#include "base/files.h"
#include "cli/commands.h"
#include "cli/degrade_sheet.h"
#include "cli/presets.h"
#include "data/image.h"
#include "degrade/files.h"

namespace relume {
namespace {

struct DegradeArguments {
  DegradeOptions options;
  std::string recipe;
  std::filesystem::path sheet;
  std::vector<std::string> overrides;
};

void run(DegradeArguments& a) {
  DegradeOptions& o = a.options;
  if (o.output.string().find('=') != std::string::npos) {  // OUT was left out, and a setting took its place
    a.overrides.insert(a.overrides.begin(), o.output.string());
    o.output.clear();
  }
  RELUME_CHECK(!o.output.empty() || !a.sheet.empty(), "nothing to write: name OUT, or a contact sheet with --sheet");
  RELUME_CHECK(o.replay.empty() || (a.recipe.empty() && a.overrides.empty()),
               "--replay takes the recipe from the record; leave --recipe and its settings out");
  RELUME_CHECK(!o.replay.empty() || !a.recipe.empty(), "name a recipe with --recipe, e.g. --recipe second_order");
  if (o.replay.empty()) o.recipe = recipe_named(a.recipe, a.overrides);
  if (!a.sheet.empty()) {
    RELUME_CHECK(o.replay.empty(), "--sheet shows draws of its own; leave --replay out");
    RELUME_CHECK(a.sheet.extension() == ".svg", a.sheet.string(), ": a contact sheet is an SVG; call it .svg");
    RELUME_CHECK(o.overwrite || !std::filesystem::exists(a.sheet), a.sheet.string(),
                 ": exists already; give --overwrite to replace it");
    const SheetOptions sheet{
        .title = "relume degrade --recipe " + a.recipe, .picture_name = o.input.filename().string(), .seed = o.seed};
    write_file_atomically(a.sheet, contact_sheet(read_image(o.input), o.recipe, sheet));
    std::cout << "contact sheet: " << a.sheet.string() << std::endl;
  }
  if (o.output.empty()) return;
  const int64_t done = degrade_files(o);
  std::cout << done << (done == 1 ? " picture" : " pictures") << " degraded into " << o.output.string() << std::endl;
}

}  // namespace

void add_degrade(CLI::App& app) {
  CLI::App* command = app.add_subcommand("degrade", "Spoil pictures as training does");
  const auto a = std::make_shared<DegradeArguments>();
  DegradeOptions& o = a->options;
  o.threads = int(std::max(1u, std::thread::hardware_concurrency()));
  command->add_option("input", o.input, "A picture, or a folder of pictures")->required()->type_name("IN");
  command->add_option("output", o.output, "File for the result (.png, .jpg, .webp), or a folder")->type_name("OUT");
  command->add_option("overrides", a->overrides, "Settings that replace the recipe's, e.g. wide.noise_range=[0,5]")
      ->type_name("KEY=VALUE");
  command
      ->add_option("--recipe", a->recipe,
                   "A recipe of configs/degrade (wide_general, wide_face, second_order, bsrgan, ...) or a file")
      ->type_name("NAME|FILE");
  command->add_option("--seed", o.seed, "Of every random number")->capture_default_str();
  command->add_option("--record", o.record, "Write what was drawn for each picture")->type_name("FILE.json");
  command->add_option("--replay", o.replay, "Draw what this record holds: the same results again")->type_name("FILE.json");
  command
      ->add_option("--targets", o.target, "Folder (or file) for what is to be restored: sharpened, where the recipe does that")
      ->type_name("DIR");
  command->add_option("--sheet", a->sheet, "Contact sheet of what the recipe does to one picture, step by step")
      ->type_name("FILE.svg");
  command->add_option("--threads", o.threads, "Pictures at a time; results do not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_flag("--overwrite", o.overwrite, "Replace results that exist already");
  command->footer(
      "Examples: relume degrade photos spoilt --recipe second_order --record draws.json\n"
      "          relume degrade photo.jpg --recipe wide_general --sheet sheet.svg\n\nKeys of a recipe:\n" +
      describe<Recipe>());
  command->callback([a] { run(*a); });
}

}  // namespace relume
