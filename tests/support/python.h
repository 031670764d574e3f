// Readers of other programs, where a Python has them: RELUME_TEST_PYTHON names it, otherwise python3 is asked.
#pragma once

#include <cstdlib>
#include <string>

namespace relume::test {

inline std::string python() {
  const char* named = std::getenv("RELUME_TEST_PYTHON");
  return named ? named : "python3";
}

inline bool python_has(const std::string& modules) {
  return std::system((python() + " -c 'import " + modules + "' >/dev/null 2>&1").c_str()) == 0;
}

}  // namespace relume::test
