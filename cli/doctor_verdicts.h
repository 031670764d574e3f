// What is to be said about a machine and this build together.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/instructions.h"
#include "base/machine.h"
#include "base/version.h"
#include "cli/doctor_measure.h"
#include "tensor/backends.h"

namespace relume {

// All that `relume doctor` found.
struct Examination {
  Processors processors;
  Memory memory;
  GraphicsCard graphics;
  InstructionBits available = 0, compiled = 0;
  Build build;
  CpuBackend backend;
  Gpus gpus;
  std::optional<MachineSpeed> speed;  // not with --quick
  double load = 0;                    // processes that ran or waited for a processor, mean of the last minute
};

struct Verdict {
  enum class Level { good, note, problem } level = Level::good;
  std::string text, remedy;  // remedy: empty where there is nothing to do
};
const char* name_of(Verdict::Level level);  // "good", "note", "problem"

std::vector<Verdict> verdicts(const Examination& e);

}  // namespace relume
