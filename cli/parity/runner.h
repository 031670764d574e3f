// Runs the cases of a folder of reference numbers (manifest.json and its files) and prints one line per case.
#pragma once

#include "cli/parity/kinds.h"

#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

namespace relume::parity {

struct ParityOptions {
  std::filesystem::path folder;
  std::string only;          // comma-separated globs over names and kinds; empty: every case
  std::string except;        // the same; empty: none left out
  bool require_all = false;  // a kind that is not implemented is a failure too
  Device device = {};        // where networks compute
};

struct Summary {
  int passed = 0, failed = 0, not_implemented = 0;
  // 0, or 1 when a case failed, when none ran, or when one is not implemented and all were required.
  int exit_code(bool require_all) const { return failed > 0 || passed == 0 || (require_all && not_implemented > 0); }
};

// The cases of folder/manifest.json, in file order. InputError naming the file, the case and the field.
std::vector<Case> read_manifest(const std::filesystem::path& folder);

// Runs the chosen cases: name, worst tensor, error, tolerance, verdict, below a failed one why; the last line is
// "N passed, N failed, N not implemented". An exception inside a case fails that case and the run goes on.
// A glob that matches no case of the folder is an InputError.
Summary run_parity(const ParityOptions& options, const Kinds& kinds, std::ostream& out);

}  // namespace relume::parity
