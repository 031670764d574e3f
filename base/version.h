// What this build is.
#pragma once

#include <string>

namespace relume {

// Several lines: version, git revision, compiler, build type, instruction set, CUDA, libraries with versions.
std::string version_text();
std::string version_number();  // "0.1.0"
std::string git_revision();    // short hash with "-dirty" when the tree had changes at configure time; "unknown" outside git

}  // namespace relume
