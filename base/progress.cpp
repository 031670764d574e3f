#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>

#include "base/text.h"

namespace relume {

using Clock = std::chrono::steady_clock;

namespace {

size_t terminal_columns() {
  winsize window{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 1 ? window.ws_col - 1u : std::string::npos;
}

}  // namespace

Progress::Progress(std::string what, int64_t total, int64_t before)
    : what_(std::move(what)),
      total_(total),
      before_(before),
      terminal_(isatty(STDERR_FILENO)),
      start_(Clock::now()),
      printed_(start_) {}

Progress::~Progress() {
  if (!line_.empty()) print(line_, true);
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void Progress::update(int64_t done, double fraction, const std::string& note) {
  show(fmt::format("{} {}/{}", what_, done, total_), fraction, note);
}

void Progress::update(int64_t done, double fraction, const std::string& note, const Part& part) {
  show(fmt::format("{} {}/{}, {} {}/{}", what_, done + 1, total_, part.what, part.part, part.parts), fraction, note);
}

void Progress::show(const std::string& where, double fraction, const std::string& note) {
  const double elapsed = seconds(), here = fraction - double(before_) / double(total_);
  const std::string left = here > 0 ? human_seconds(elapsed * (1 - fraction) / here) : "?";
  line_ = fmt::format("{}  {:.0f} %  {} elapsed, {} left  {}", where, 100 * fraction, human_seconds(elapsed), left, note);
  const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (Clock::now() - printed_ < interval) return;
  print(line_, false);
}

void Progress::print(const std::string& line, bool last) {
  printed_ = Clock::now();
  if (terminal_)  // a line that wraps could not be rewritten
    fmt::print(stderr, "\r\033[K{}{}", line.substr(0, terminal_columns()), last ? "\n" : "");
  else
    fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
  if (last) line_.clear();
}

}  // namespace relume
