#include "cli/commands.h"
#include "cli/parity/runner.h"

#include <CLI/CLI.hpp>

#include <iostream>
#include <memory>

namespace relume {

void add_parity(CLI::App& app) {
  CLI::App* command = app.add_subcommand("parity", "Run the cases of a folder of reference numbers and judge every tensor");
  const auto options = std::make_shared<parity::ParityOptions>();
  command->add_option("folder", options->folder, "Folder that holds manifest.json")->required()->type_name("DIR");
  command->add_option("--only", options->only, "Run only cases whose name or kind matches one of these comma-separated globs")
      ->type_name("GLOBS");
  command->add_option("--except", options->except, "Leave out cases whose name or kind matches one of these globs")
      ->type_name("GLOBS");
  command->add_flag("--require-all", options->require_all, "Fail when a kind of case is not implemented");
  command->footer(
      "The last line counts; exit code 1 where a case failed.\n"
      "Examples: relume parity tests/fixtures/parity\n"
      "          relume parity DIR --only 'swinir*,degrade_*' --require-all");
  command->callback([options] {
    parity::Kinds kinds;
    parity::register_kinds(kinds);
    const parity::Summary summary = parity::run_parity(*options, kinds, std::cout);
    if (const int code = summary.exit_code(options->require_all)) throw CLI::RuntimeError(code);
  });
}

}  // namespace relume
