#include "base/progress.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>

#include "base/text.h"

namespace relume {

using Clock = std::chrono::steady_clock;

Progress::Progress(std::string what, int64_t total)
    : what_(std::move(what)), total_(total), terminal_(isatty(STDERR_FILENO)), start_(Clock::now()), printed_(start_) {}

Progress::~Progress() {
  if (!line_.empty()) print(line_, true);
}

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

void Progress::update(int64_t done, double fraction, const std::string& note) {
  const double elapsed = seconds();
  const std::string left = fraction > 0 ? human_seconds(elapsed * (1 - fraction) / fraction) : "?";
  line_ = fmt::format("{} {}/{}  {:.0f} %  {} elapsed, {} left  {}", what_, done, total_, 100 * fraction,
                      human_seconds(elapsed), left, note);
  const auto interval = terminal_ ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10000);
  if (Clock::now() - printed_ < interval) return;
  print(line_, false);
}

void Progress::print(const std::string& line, bool last) {
  printed_ = Clock::now();
  if (terminal_)
    fmt::print(stderr, "\r\033[K{}{}", line, last ? "\n" : "");
  else
    fmt::print(stderr, "{}\n", line);
  std::fflush(stderr);
  if (last) line_.clear();
}

}  // namespace relume
