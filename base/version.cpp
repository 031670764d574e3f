// The RELUME_* facts come from cmake/version.cmake as definitions of this one file, so that a new revision recompiles nothing
// else.
#include "base/version.h"

#include <fmt/format.h>

namespace relume {

namespace {

constexpr const char* compiler() {
#if defined(__clang__)
  return "clang " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

constexpr const char* vector_instructions() {
#if defined(__AVX512F__)
  return "AVX-512";
#elif defined(__AVX2__)
  return "AVX2";
#else
  return "baseline";
#endif
}

}  // namespace

std::string version_number() { return RELUME_VERSION; }

std::string git_revision() { return RELUME_GIT_REVISION; }

std::string version_text() {
  const std::string sanitizers = RELUME_SANITIZERS;
  return fmt::format(
      "relume {} ({})\n"
      "compiler      {}, C++{}, {}\n"
      "instructions  {} ({})\n"
      "CUDA          {}\n"
      "sanitizers    {}\n"
      "libraries     {}\n",
      version_number(), git_revision(), compiler(), __cplusplus / 100 % 100, RELUME_BUILD_TYPE, RELUME_INSTRUCTIONS,
      vector_instructions(), RELUME_CUDA_BUILT, sanitizers.empty() ? "none" : sanitizers, RELUME_LIBRARIES);
}

}  // namespace relume
