// relume doctor: what the machine offers, what this build uses of it, and what could be better.
#include <fmt/format.h>
#include <stdlib.h>
#include <CLI/CLI.hpp>

#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "cli/commands.h"
#include "cli/doctor_verdicts.h"

namespace relume {

namespace {

using Json = nlohmann::ordered_json;

struct DoctorArguments {
  bool quick = false, json = false;
};

constexpr const char* thread_settings[] = {"OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_WAIT_POLICY",
                                           "OMP_PROC_BIND",   "GOMP_SPINCOUNT",   "GOMP_CPU_AFFINITY"};

Examination examine(bool quick) {
  Examination e{.processors = processors(),
                .memory = memory(),
                .graphics = graphics_card(),
                .available = available_instructions(),
                .compiled = compiled_instructions(),
                .build = build(),
                .backend = cpu_backend(),
                .gpus = gpus()};
  if (double load = 0; getloadavg(&load, 1) == 1) e.load = load;  // before we add to it
  if (!quick) e.speed = measure_machine(e.backend.threads);
  return e;
}

void line(const char* name, const std::string& text) { fmt::print("  {:<14}{}\n", name, text); }

// "32 kB" as caches are sold: powers of 1024.
std::string cache_size(int64_t bytes) {
  return bytes % (1 << 20) == 0 ? fmt::format("{} MB", bytes >> 20) : fmt::format("{} kB", bytes >> 10);
}

void print_machine(const Examination& e) {
  const Processors& p = e.processors;
  fmt::print("This machine\n");
  line("processor", p.model.empty() ? "unknown" : p.model);
  line("cores", fmt::format("{} with {} threads; this process may use {}{}", p.cores, p.threads, p.usable(),
                            p.quota > 0 ? fmt::format(" ({:.2g} processors' time)", p.quota) : ""));
  line("instructions", fmt::format("x86-64-v{}: {}", x86_64_level(e.available), join(names_of(e.available), ", ")));
  std::vector<std::string> caches;
  for (const Cache& c : p.caches)
    if (c.kind != "Instruction")
      caches.push_back(fmt::format("L{} {}{}", c.level, cache_size(c.bytes),
                                   c.shared_by > 1 ? fmt::format(" for {} threads", c.shared_by) : ""));
  line("caches", caches.empty() ? "unknown" : join(caches, ", "));
  line("memory", fmt::format("{}, {} available{}", human_bytes(double(e.memory.total)), human_bytes(double(e.memory.available)),
                             e.memory.limit > 0 ? fmt::format("; limited to {}, {} left", human_bytes(double(e.memory.limit)),
                                                              human_bytes(double(e.memory.usable)))
                                                : ""));
  line("huge pages",
       e.memory.huge_pages.empty() ? "unknown" : fmt::format("{} ({})", e.memory.huge_pages, cache_size(e.memory.huge_page)));
  line("graphics", e.graphics.devices.empty() ? "none seen" : join(e.graphics.devices, "; "));
  line("CUDA",
       fmt::format("driver {}, libcuda {}, toolkit {}", e.graphics.driver.empty() ? "none" : e.graphics.driver,
                   e.graphics.has_libcuda ? "found" : "not found", e.graphics.toolkit.empty() ? "none" : e.graphics.toolkit));
}

void print_build(const Examination& e) {
  fmt::print("\nThis build\n");
  line("version", fmt::format("{} ({}), {}, {}", version_number(), git_revision(), e.build.compiler, e.build.type));
  line("instructions",
       fmt::format("{}: x86-64-v{}, {}", e.build.instructions, x86_64_level(e.compiled), join(names_of(e.compiled), ", ")));
  line("kernels", fmt::format("{}, {} threads", e.backend.instructions, e.backend.threads));
  std::vector<std::string> settings;
  for (const char* name : thread_settings)
    if (const char* value = getenv(name)) settings.push_back(fmt::format("{}={}", name, value));
  line("settings", settings.empty() ? "none" : join(settings, " "));
  line("CUDA", e.build.cuda);
  line("libraries", e.build.libraries);
}

void print_speed(const MachineSpeed& s) {
  fmt::print("\nMeasured\n");
  line("peak",
       fmt::format("{:.0f} GFLOP/s on one thread, {:.0f} on all (f32 multiply-adds in registers)", s.fma_one, s.fma_all));
  line("memory", fmt::format("{:.1f} GB/s", s.bandwidth));
  line("linear map",
       fmt::format("{:.0f} GFLOP/s, {:.0f} % of the peak (2048 rows of 1024 to 1024)", s.matmul, 100 * s.matmul / s.fma_all));
}

void print(const Examination& e) {
  print_machine(e);
  print_build(e);
  if (e.speed) print_speed(*e.speed);
  fmt::print("\nVerdicts\n");
  for (const Verdict& v : verdicts(e)) {
    line(name_of(v.level), v.text);
    if (!v.remedy.empty()) line("", v.remedy);
  }
}

Json machine_json(const Examination& e) {
  const Processors& p = e.processors;
  Json caches = Json::array();
  for (const Cache& c : p.caches)
    caches.push_back({{"level", c.level}, {"kind", c.kind}, {"bytes", c.bytes}, {"shared_by", c.shared_by}});
  return {{"processor", p.model},
          {"cores", p.cores},
          {"threads", p.threads},
          {"allowed_threads", p.allowed},
          {"quota", p.quota},
          {"usable_threads", p.usable()},
          {"x86_64_level", x86_64_level(e.available)},
          {"instructions", names_of(e.available)},
          {"caches", caches},
          {"memory_total", e.memory.total},
          {"memory_available", e.memory.available},
          {"memory_limit", e.memory.limit},
          {"memory_usable", e.memory.usable},
          {"huge_pages", e.memory.huge_pages},
          {"graphics", e.graphics.devices},
          {"cuda_driver", e.graphics.driver},
          {"libcuda", e.graphics.has_libcuda},
          {"cuda_toolkit", e.graphics.toolkit},
          {"load", e.load}};
}

Json gpus_json(const Gpus& gpus) {
  Json all = Json::array();
  for (const Gpu& gpu : gpus.found)
    all.push_back({{"name", gpu.name},
                   {"memory", gpu.memory},
                   {"used", !gpu.obstacle},
                   {"reason", gpu.obstacle.reason},
                   {"remedy", gpu.obstacle.remedy}});
  return {{"found", all}, {"reason", gpus.obstacle.reason}, {"remedy", gpus.obstacle.remedy}};
}

Json build_json(const Examination& e) {
  Json settings = Json::object();
  for (const char* name : thread_settings)
    if (const char* value = getenv(name)) settings[name] = value;
  return {{"version", version_number()},
          {"revision", git_revision()},
          {"compiler", e.build.compiler},
          {"type", e.build.type},
          {"built_for", e.build.instructions},
          {"x86_64_level", x86_64_level(e.compiled)},
          {"instructions", names_of(e.compiled)},
          {"kernels", e.backend.instructions},
          {"threads", e.backend.threads},
          {"settings", settings},
          {"cuda", e.build.cuda},
          {"gpus", gpus_json(e.gpus)},
          {"sanitizers", e.build.sanitizers},
          {"libraries", e.build.libraries}};
}

void print_json(const Examination& e) {
  Json report{{"machine", machine_json(e)}, {"build", build_json(e)}};
  const auto rounded = [](double v) { return std::round(v * 10) / 10; };
  if (e.speed)
    report["measured"] = {{"fma_gflops_one_thread", rounded(e.speed->fma_one)},
                          {"fma_gflops", rounded(e.speed->fma_all)},
                          {"memory_gb_per_s", rounded(e.speed->bandwidth)},
                          {"linear_gflops", rounded(e.speed->matmul)}};
  report["verdicts"] = Json::array();
  for (const Verdict& v : verdicts(e))
    report["verdicts"].push_back({{"level", name_of(v.level)}, {"text", v.text}, {"remedy", v.remedy}});
  std::cout << report.dump(2, ' ', false, Json::error_handler_t::replace) << std::endl;
}

}  // namespace

void add_doctor(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("doctor", "What this machine offers, what this build uses of it, and what could be better");
  const auto a = std::make_shared<DoctorArguments>();
  command->add_flag("--quick", a->quick, "Without the measurements, which take about two seconds");
  command->add_flag("--json", a->json, "One JSON object instead of text");
  command->footer("Example: relume doctor --json > doctor.json");
  command->callback([a] {
    const Examination e = examine(a->quick);
    a->json ? print_json(e) : print(e);
  });
}

}  // namespace relume
