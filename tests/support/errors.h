// Expected errors: their messages, and parts of them.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace relume::test {

// The message of the InputError that `f` throws; fails the test when it throws none.
template <class F> std::string input_error(F f) {
  try {
    f();
  } catch (const InputError& e) {
    return e.what();
  } catch (const std::exception& e) {
    ADD_FAILURE() << "expected an InputError, got: " << e.what();
    return {};
  }
  ADD_FAILURE() << "expected an InputError, nothing was thrown";
  return {};
}

// How often `part` occurs in `text`.
inline int occurrences(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

#define EXPECT_HAS(text, part)                                                            \
  do {                                                                                    \
    const std::string text_ = (text);                                                     \
    EXPECT_NE(text_.find(part), std::string::npos) << "'" << text_ << "' lacks " << part; \
  } while (false)

}  // namespace relume::test
