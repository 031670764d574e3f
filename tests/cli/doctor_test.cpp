// What the doctor says about machines that are not at hand, and about this one.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/doctor_measure.h"
#include "cli/doctor_verdicts.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"

namespace relume::test {
namespace {

constexpr InstructionBits level_3 = (bit_of(Instructions::avx2) << 1) - 1;
constexpr InstructionBits level_4 = level_3 | bit_of(Instructions::avx512f) | bit_of(Instructions::avx512dq) |
                                    bit_of(Instructions::avx512cd) | bit_of(Instructions::avx512bw) |
                                    bit_of(Instructions::avx512vl);

// A machine and a build that leave nothing to wish for.
Examination sound() {
  return {.processors = {.model = "CPU", .cores = 4, .threads = 8, .allowed = 8},
          .memory = {.total = int64_t(16) << 30, .available = int64_t(12) << 30, .usable = int64_t(12) << 30},
          .available = level_4,
          .compiled = level_4,
          .build = {.type = "Release", .instructions = "native", .cuda = "no"},
          .backend = {.instructions = "AVX-512", .threads = 8},
          .gpus = {.found = {}, .obstacle = {"there is no NVIDIA driver", "install it"}},
          .speed = MachineSpeed{.fma_one = 100, .fma_all = 400, .bandwidth = 20, .matmul = 300}};
}

// All that is not good, one line each: "level: text; remedy".
std::string findings(const Examination& e) {
  std::string text;
  for (const Verdict& v : verdicts(e))
    if (v.level != Verdict::Level::good) text += std::string(name_of(v.level)) + ": " + v.text + "; " + v.remedy + "\n";
  return text;
}

TEST(Doctor, ASoundMachineIsCalledSo) {
  EXPECT_EQ(findings(sound()), "");
  EXPECT_GE(verdicts(sound()).size(), 4u);
}

TEST(Doctor, ABuildForLessThanTheProcessorHas) {
  Examination e = sound();
  e.compiled = level_3;
  EXPECT_HAS(findings(e),
             "note: built for x86-64-v3, and this processor offers x86-64-v4; build on this machine without RELUME_NATIVE=OFF");
}

TEST(Doctor, ThreadsThatAreTooFewOrTooMany) {
  Examination e = sound();
  e.backend.threads = 2;
  EXPECT_HAS(findings(e), "note: 2 of 8 usable threads are used; unset OMP_NUM_THREADS");
  e = sound();
  e.processors.quota = 1.5;
  EXPECT_HAS(findings(e), "problem: 8 threads on 2 processors' time: they wait for each other; set OMP_NUM_THREADS=2");
  e.backend.threads = 2;
  EXPECT_HAS(findings(e), "note: 2 of the machine's 8 threads may be used (a quota of the container); give the container more");
  e = sound();
  e.processors.allowed = e.backend.threads = 3;
  EXPECT_HAS(findings(e), "3 of the machine's 8 threads may be used (affinity); start without taskset");
}

TEST(Doctor, LittleMemory) {
  Examination e = sound();
  e.memory.usable = 300'000'000;
  EXPECT_HAS(findings(e), "problem: 300.0 MB of memory: too little for the paper's network; close other programs");
  e.memory.usable = 2'000'000'000;
  EXPECT_HAS(findings(e), "note: 2.0 GB of memory: the paper's network restores up to 1.7 megapixels whole, more in tiles");
}

TEST(Doctor, WhatElseCouldBeBetter) {
  Examination e = sound();
  e.build.type = "Debug", e.build.sanitizers = "address";
  e.load = 7;
  e.speed->matmul = 100;
  const std::string text = findings(e);
  EXPECT_HAS(text, "built as Debug; configure with -DCMAKE_BUILD_TYPE=Release");
  EXPECT_HAS(text, "built with sanitizers (address)");
  EXPECT_HAS(text, "(load 7.0)");
  EXPECT_HAS(text, "matrix products reach 25 % of the peak");
}

TEST(Doctor, WhyAGpuIsNotUsed) {
  Examination e = sound();
  const auto has_verdict = [&](const std::string& text) {
    return std::ranges::any_of(verdicts(e),
                               [&](const Verdict& v) { return v.level == Verdict::Level::good && v.text == text; });
  };
  EXPECT_TRUE(has_verdict("no graphics card is seen: there is no NVIDIA driver, so networks compute on the processor"));
  e.graphics.devices = {"NVIDIA H100"};
  EXPECT_HAS(findings(e),
             "note: NVIDIA H100 is not used: there is no NVIDIA driver, so networks compute on the processor; install it\n");
  e.gpus = {.found = {{.name = "NVIDIA T4", .obstacle = {"it is too old", "use another"}}, {.name = "NVIDIA H100"}}};
  EXPECT_EQ(findings(e), "note: cuda:0 is not used: it is too old; use another\n");
  EXPECT_TRUE(has_verdict("networks compute on cuda:1, NVIDIA H100, unless --device says otherwise"));
}

TEST(Doctor, TheFiguresArePossible) {
  const MachineSpeed s = measure_machine(2);
  EXPECT_GT(s.fma_one, 1);
  EXPECT_LT(s.fma_one, 6 * 2 * 2 * 16) << "two units of sixteen lanes at 6 GHz";
  EXPECT_GT(s.fma_all, 1);
  EXPECT_GT(s.bandwidth, 0.1);
  EXPECT_LT(s.bandwidth, 2000);
  EXPECT_GT(s.matmul, 1);
}

class DoctorCommand : public CommandTest {};

TEST_F(DoctorCommand, PrintsFactsAndVerdicts) {
  unsetenv("OMP_WAIT_POLICY");  // the command then sets how long threads spin
  unsetenv("GOMP_SPINCOUNT");
  const Ended e = run({"doctor", "--quick"});
  EXPECT_EQ(e.code, 0) << e.err;
  for (const char* part : {"This machine\n", "  memory ", "This build\n", "  kernels ", "Verdicts\n", "GOMP_SPINCOUNT=10000"})
    EXPECT_HAS(e.out, part);
  EXPECT_EQ(occurrences(e.out, "Measured"), 0);
}

TEST_F(DoctorCommand, GivesJson) {
  const Ended e = run({"doctor", "--json"});
  ASSERT_EQ(e.code, 0) << e.err;
  const auto json = nlohmann::json::parse(e.out);
  EXPECT_GE(json["machine"]["usable_threads"], 1);
  EXPECT_GT(json["machine"]["memory_usable"].get<int64_t>(), 0);
  EXPECT_TRUE(json["build"]["cuda"] == "yes" || json["build"]["cuda"] == "no");
  EXPECT_EQ(json["build"]["gpus"]["found"].empty(), !json["build"]["gpus"]["reason"].get<std::string>().empty());
  EXPECT_GT(json["measured"]["fma_gflops"].get<double>(), 0);
  EXPECT_FALSE(json["verdicts"].empty());
}

// The check itself cannot be seen at work on a machine that has what was compiled in; that it is linked in can.
TEST_F(DoctorCommand, TheCommandChecksTheProcessorAtItsStart) {
  EXPECT_HAS(read_file(command_), "which this processor, or the system on it, does not offer");
}

}  // namespace
}  // namespace relume::test
