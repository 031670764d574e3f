// The `relume` command: one sub-command per file, errors as one line, exit codes as design D11 has them.
#include "base/error.h"
#include "base/interrupt.h"
#include "base/text.h"
#include "base/version.h"
#include "cli/commands.h"
#include "tensor/backends.h"

#include <CLI/CLI.hpp>

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <new>
#include <string>
#include <vector>

namespace relume {
namespace {

constexpr int usage_error = 2, work_error = 1;

int complain(const std::string& message, int code) {
  std::cerr << "relume: " << message << std::endl;
  return code;
}

// The sub-command that was being read when the command line went wrong, or the whole command.
const CLI::App* current_command(const CLI::App& app) {
  for (const CLI::App* command : app.get_subcommands()) return command;
  return &app;
}

// What a mistyped word was probably meant to be: an option of the current command, or a sub-command.
std::string suggestion(const CLI::App& app, const std::vector<std::string>& leftover) {
  const CLI::App* command = current_command(app);
  std::vector<std::string> known;
  for (const CLI::Option* option : command->get_options())
    for (const std::string& name : option->get_lnames()) known.push_back("--" + name);
  if (command == &app)
    for (const CLI::App* sub : app.get_subcommands({})) known.push_back(sub->get_name());
  for (const std::string& word : leftover)
    if (const std::string hint = did_you_mean(word.substr(0, word.find('=')), known); !hint.empty()) return hint;
  return {};
}

int on_usage_error(const CLI::App& app, const CLI::ParseError& error) {
  const std::vector<std::string> leftover = app.remaining(true);
  const std::string command = current_command(app)->get_name();
  std::string message = error.what();
  if (!leftover.empty() && current_command(app) == &app)
    message = "unknown command '" + leftover.front() + "'";
  else if (!leftover.empty())
    message = "unknown argument '" + leftover.front() + "'";
  return complain(
      message + suggestion(app, leftover) + "; see 'relume " + (command == "relume" ? "" : command + " ") + "--help'",
      usage_error);
}

int run(int argc, char** argv) {
  CLI::App app{"relume: diffusion image restoration, training and inference", "relume"};
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
#ifndef RELUME_MINIMAL
  add_train(app);
  add_restore(app);
  add_degrade(app);
  add_metrics(app);
  add_inspect(app);
  add_convert(app);
  add_init(app);
  add_pack(app);
  add_scan(app);
  add_demo(app);
  add_doctor(app);
#endif
  add_parity(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::RuntimeError& code) {
    return code.get_exit_code();
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    return on_usage_error(app, error);
  }
  return 0;
}

// Threads that wait for each other spin by default, for so long that a process beside ours, or our own loader threads, wait for
// the processor meanwhile: on two busy cores a training ran at 55 pictures a second so, at 255 with a short spin. OpenMP reads
// its settings before main(), so the command starts itself once more with the setting, unless the user has chosen one.
void limit_spinning(char** argv) {
  if (std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  setenv("GOMP_SPINCOUNT", "10000", 1);
  execv("/proc/self/exe", argv);  // returns only when it failed; then we go on as we are
}

}  // namespace
}  // namespace relume

int main(int argc, char** argv) {
  using namespace relume;
  limit_spinning(argv);
  try {
    install_interrupt_handler();
    register_backends();
    return run(argc, argv);
  } catch (const Error& error) {
    return complain(error.what(), error.exit_code());
  } catch (const std::bad_alloc&) {
    return complain("out of memory", work_error);
  } catch (const std::exception& error) {
    return complain(error.what(), work_error);
  }
}
