// Progress of long work on standard error: one line rewritten in place on a terminal, otherwise a line now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace relume {

class Progress {
 public:
  // `total` units of work, named for the reader ("step", "picture"), of which `before` were done at another time.
  Progress(std::string what, int64_t total, int64_t before = 0);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `done` units so far; `fraction` of the whole when it is not done / total (a time limit); `note` goes to the end of the
  // line.
  void update(int64_t done, const std::string& note) { update(done, double(done) / double(total_), note); }
  void update(int64_t done, double fraction, const std::string& note);
  // While the unit after the `done` ones is under way: `part` of its `parts`, which are called `what` ("tile").
  struct Part {
    std::string what;
    int64_t part = 0, parts = 0;
  };
  void update(int64_t done, double fraction, const std::string& note, const Part& part);
  double seconds() const;

 private:
  void show(const std::string& where, double fraction, const std::string& note);
  void print(const std::string& line, bool last);
  std::string what_, line_;
  int64_t total_, before_;
  bool terminal_;
  std::chrono::steady_clock::time_point start_, printed_;
};

}  // namespace relume
