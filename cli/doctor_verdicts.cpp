#include "cli/doctor_verdicts.h"

#include <fmt/format.h>

#include "base/text.h"

namespace relume {
namespace {

using enum Verdict::Level;

// Measured with the paper's network (docs/restoring.md, docs/performance.md).
constexpr double restoring_bytes = 0.25e9, restoring_bytes_per_pixel = 720, training_bytes = 2.7e9;

Verdict instructions_verdict(const Examination& e) {
  const int here = x86_64_level(e.available), built = x86_64_level(e.compiled);
  if (built < here)
    return {note, fmt::format("built for x86-64-v{}, and this processor offers x86-64-v{}", built, here),
            "build on this machine without RELUME_NATIVE=OFF: RELUME_CMAKE_ARGS= ./relume --version"};
  return {good, fmt::format("built for all that matters of this processor (x86-64-v{})", built), ""};
}

Verdict threads_verdict(const Examination& e) {
  const int usable = e.processors.usable(), used = e.backend.threads;
  if (used > usable)
    return {problem, fmt::format("{} threads on {} processors' time: they wait for each other", used, usable),
            fmt::format("set OMP_NUM_THREADS={}", usable)};
  if (used < usable)
    return {note, fmt::format("{} of {} usable threads are used", used, usable), "unset OMP_NUM_THREADS and OMP_THREAD_LIMIT"};
  if (usable < e.processors.threads)
    return {note,
            fmt::format("{} of the machine's {} threads may be used ({})", usable, e.processors.threads,
                        e.processors.quota > 0 ? "a quota of the container" : "affinity"),
            e.processors.quota > 0 ? "give the container more processors"
                                   : "start without taskset, or allow more in the scheduler"};
  return {good, fmt::format("{} threads, all that there are", used), ""};
}

// One for each GPU, or why there is none: a note where there seems to be a card.
void add_gpu_verdicts(const Examination& e, std::vector<Verdict>& all) {
  for (size_t i = 0; i < e.gpus.found.size(); ++i) {
    const Gpu& gpu = e.gpus.found[i];
    if (gpu.obstacle)
      all.push_back({note, fmt::format("cuda:{} is not used: {}", i, gpu.obstacle.reason), gpu.obstacle.remedy});
    else
      all.push_back({good, fmt::format("networks compute on cuda:{}, {}, unless --device says otherwise", i, gpu.name), ""});
  }
  if (!e.gpus.found.empty()) return;
  const std::string why = e.gpus.obstacle.reason + ", so networks compute on the processor";
  if (e.graphics.devices.empty())
    all.push_back({good, "no graphics card is seen: " + why, ""});
  else
    all.push_back({note, e.graphics.devices.front() + " is not used: " + why, e.gpus.obstacle.remedy});
}

Verdict memory_verdict(const Examination& e) {
  const double usable = double(e.memory.usable), fits = (usable * 0.75 - restoring_bytes) / restoring_bytes_per_pixel;
  if (usable < 2 * restoring_bytes)
    return {problem, fmt::format("{} of memory: too little for the paper's network", human_bytes(usable)),
            "close other programs, raise the limit of the container, or use a smaller network"};
  const std::string whole =
      fmt::format("{} of memory: the paper's network restores up to {:.1f} megapixels whole, more in tiles",
                  human_bytes(usable), fits / 1e6);
  if (usable < training_bytes)
    return {note, whole + "; training it at 512 x 512 needs 2.7 GB",
            "to train, use a smaller network or data.size, or train.activation_checkpointing=true"};
  return {good, whole + "; training it at 512 x 512 fits", ""};
}

void add_build_verdicts(const Examination& e, std::vector<Verdict>& all) {
  if (!e.build.sanitizers.empty())
    all.push_back({note, "built with sanitizers (" + e.build.sanitizers + "): several times slower",
                   "configure without RELUME_SANITIZE"});
  if (e.build.type != "Release") all.push_back({note, "built as " + e.build.type, "configure with -DCMAKE_BUILD_TYPE=Release"});
}

void add_system_verdicts(const Examination& e, std::vector<Verdict>& all) {
  if (e.load > 0.5 * e.processors.threads)
    all.push_back(
        {note,
         fmt::format("other programs use the processors (load {:.1f}): times and figures are worse than they could be", e.load),
         ""});
  if (!e.speed) return;
  const double share = e.speed->matmul / e.speed->fma_all;
  if (share < 0.4)
    all.push_back({note, fmt::format("matrix products reach {:.0f} % of the peak; 60 to 90 are usual", 100 * share),
                   "repeat when nothing else runs; in a container, see that its processors are its own"});
}

}  // namespace

const char* name_of(Verdict::Level level) { return level == good ? "good" : level == note ? "note" : "problem"; }

std::vector<Verdict> verdicts(const Examination& e) {
  std::vector<Verdict> all{instructions_verdict(e)};
  all.push_back(threads_verdict(e));
  all.push_back(memory_verdict(e));
  add_gpu_verdicts(e, all);
  add_build_verdicts(e, all);
  add_system_verdicts(e, all);
  return all;
}

}  // namespace relume
