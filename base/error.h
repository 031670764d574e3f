// Errors of the whole project (design D11). Every exception a user can meet derives from relume::Error; its message says what
// was attempted, with which shapes, types, file or line, and what to do about it. The command prints it and ends with
// exit_code().
#pragma once

#include <exception>
#include <sstream>
#include <string>
#include <utility>

namespace relume {

// Failure at work (a full disk, a failing allocation): exit code 1.
class Error : public std::exception {
 public:
  explicit Error(std::string message) : message_(std::move(message)) {}
  const char* what() const noexcept override { return message_.c_str(); }
  virtual int exit_code() const { return 1; }
  // Appends one indented line saying where the error passed through, e.g. "in layers.0.conv" while a module tree unwinds.
  void add_context(const std::string& line) { message_ += "\n  " + line; }

 private:
  std::string message_;
};

// Memory could not be had. What asked for it is undone; the same with less (a smaller tile) may go well.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

// What a caller or user can get wrong: shapes, types, arguments, configuration, files handed to us. Exit code 2.
class InputError : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 2; }
};

// What only this project can get wrong. The message asks for a report.
class BugError : public Error {
 public:
  using Error::Error;
};

// The user asked to stop (SIGINT, SIGTERM). Exit code 130.
class Interrupted : public Error {
 public:
  using Error::Error;
  int exit_code() const override { return 130; }
};

namespace detail {
template <class... Parts> std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}
}  // namespace detail

}  // namespace relume

// RELUME_CHECK(condition, message parts...): throws InputError unless the condition holds. Parts are streamed.
#define RELUME_CHECK(condition, ...)                                     \
  do {                                                                   \
    if (!(condition)) [[unlikely]]                                       \
      throw ::relume::InputError(::relume::detail::concat(__VA_ARGS__)); \
  } while (false)

// RELUME_BUG(condition, message parts...): throws BugError unless an invariant of our own holds.
#define RELUME_BUG(condition, ...)                                                                                            \
  do {                                                                                                                        \
    if (!(condition)) [[unlikely]]                                                                                            \
      throw ::relume::BugError(                                                                                               \
          ::relume::detail::concat("internal error in ", __FILE__, ":", __LINE__, ": ", __VA_ARGS__, " (please report it)")); \
  } while (false)
