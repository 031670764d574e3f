#include "cli/commands.h"
#include "cli/device_option.h"
#include "cli/parity/runner.h"

#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>

namespace relume {

void add_parity(CLI::App& app) {
  CLI::App* command = app.add_subcommand("parity", "Run the cases of a folder of reference numbers and judge every tensor");
  const auto options = std::make_shared<parity::ParityOptions>();
  const auto device = std::make_shared<std::string>("cpu");
  command->add_option("folder", options->folder, "Folder that holds manifest.json")->required()->type_name("DIR");
  command->add_option("--only", options->only, "Run only cases whose name or kind matches one of these comma-separated globs")
      ->type_name("GLOBS");
  command->add_option("--except", options->except, "Leave out cases whose name or kind matches one of these globs")
      ->type_name("GLOBS");
  command->add_flag("--require-all", options->require_all, "Fail when a kind of case is not implemented");
  add_device_option(*command, *device);
  command->footer(
      "Networks compute on the device, everything else on the processor. The last line counts; exit code 1 where a case "
      "failed.\n"
      "Examples: relume parity tests/fixtures/parity\n"
      "          relume parity DIR --only 'swinir*,degrade_*' --require-all");
  command->callback([options, device] {
    options->device = chosen_device(*device);
    parity::Kinds kinds;
    parity::register_kinds(kinds);
    const parity::Summary summary = parity::run_parity(*options, kinds, std::cout);
    if (const int code = summary.exit_code(options->require_all)) throw CLI::RuntimeError(code);
  });
}

}  // namespace relume
