// What this build is.
#pragma once

#include <string>

namespace relume {

// Several lines: version, git revision, compiler, build type, instruction set, CUDA, libraries with versions.
std::string version_text();

struct Build {
  std::string compiler;      // "g++ 12.2.0, C++20"
  std::string type;          // "Release"
  std::string instructions;  // what was asked for: "native", "x86-64-v3"
  std::string cuda;          // "yes", "no"
  std::string sanitizers;    // empty: none
  std::string libraries;     // "fmt 9.1.0, yaml-cpp 0.7.0, ..."
};
Build build();
std::string version_number();  // "0.1.0"
std::string git_revision();    // short hash with "-dirty" when the tree had changes at configure time; "unknown" outside git

}  // namespace relume
