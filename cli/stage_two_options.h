// The options of `relume restore` that concern stage two, named as the reference's.
#pragma once

#include <memory>
#include <optional>

#include "infer/restore.h"

namespace CLI {
class App;
}

namespace relume {

class StageTwoArguments {
 public:
  // Declares them; they are filled when the command line is read.
  explicit StageTwoArguments(CLI::App& command);
  ~StageTwoArguments();

  // Fills options.stage_two, the weights of stage one, and the enlargement, where stage two is asked for (--version or
  // --preset). InputError for options that say nothing without it, and naming the published files that are looked for and
  // missing.
  void apply(RestoreOptions& options) const;

 private:
  struct Values;
  std::unique_ptr<Values> values_;
};

// The preset of a name ("v2.1-sr") or file, then `overrides` ("steps=20").
StageTwoConfig preset_named(const std::string& name_or_file, const std::vector<std::string>& overrides = {});

}  // namespace relume
