// The RELUME_* facts come from cmake/version.cmake as definitions of this one file, so that a new revision recompiles nothing
// else.
#include "base/version.h"

#include <fmt/format.h>

#include "base/instructions.h"

namespace relume {

namespace {

constexpr const char* compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace

std::string version_number() { return RELUME_VERSION; }

std::string git_revision() { return RELUME_GIT_REVISION; }

Build build() {
  return {.compiler = fmt::format("{}, C++{}", compiler(), __cplusplus / 100 % 100),
          .type = RELUME_BUILD_TYPE,
          .instructions = RELUME_INSTRUCTIONS,
          .cuda = RELUME_CUDA_BUILT,
          .sanitizers = RELUME_SANITIZERS,
          .libraries = RELUME_LIBRARIES};
}

std::string version_text() {
  const Build b = build();
  return fmt::format(
      "relume {} ({})\n"
      "compiler      {}, {}\n"
      "instructions  {} (x86-64-v{})\n"
      "CUDA          {}\n"
      "sanitizers    {}\n"
      "libraries     {}\n",
      version_number(), git_revision(), b.compiler, b.type, b.instructions, x86_64_level(compiled_instructions()), b.cuda,
      b.sanitizers.empty() ? "none" : b.sanitizers, b.libraries);
}

}  // namespace relume
