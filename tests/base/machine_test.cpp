// Machines described by files of their own, and the one this runs on.
#include "base/machine.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

#include "base/files.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

class Machine : public testing::Test {
 protected:
  void SetUp() override {
    write(
        "proc/meminfo",
        "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    9000000 kB\nHugepagesize:       2048 kB\n");
  }
  void write(const std::string& name, const std::string& text) {
    make_folder((folder_ / name).parent_path());
    write_file_atomically(folder_ / name, text);
  }
  TemporaryFolder folder_;
};

TEST_F(Machine, ProcessorsAreCountedByCore) {
  std::string cpuinfo;
  for (int i = 0; i < 8; ++i)
    cpuinfo += "processor\t: " + std::to_string(i) +
               "\nmodel name\t: Fast CPU @ 3 GHz\nphysical id\t: " + std::to_string(i / 4) +
               "\ncore id\t\t: " + std::to_string(i % 2) + "\n\n";
  write("proc/cpuinfo", cpuinfo);
  const std::string cache = "sys/devices/system/cpu/cpu0/cache/index";
  write(cache + "0/level", "1\n"), write(cache + "0/type", "Data\n"), write(cache + "0/size", "48K\n");
  write(cache + "0/shared_cpu_list", "0,4\n");
  write(cache + "1/level", "3\n"), write(cache + "1/type", "Unified\n"), write(cache + "1/size", "32M\n");
  write(cache + "1/shared_cpu_list", "0-5,8\n");
  const Processors p = processors(folder_.path());
  EXPECT_EQ(p.model, "Fast CPU @ 3 GHz");
  EXPECT_EQ(p.threads, 8);
  EXPECT_EQ(p.cores, 4);
  EXPECT_EQ(p.quota, 0);
  ASSERT_EQ(p.caches.size(), 2u);
  EXPECT_EQ(p.caches[0].kind, "Data");
  EXPECT_EQ(p.caches[0].bytes, 48 * 1024);
  EXPECT_EQ(p.caches[0].shared_by, 2);
  EXPECT_EQ(p.caches[1].level, 3);
  EXPECT_EQ(p.caches[1].bytes, 32 * 1024 * 1024);
  EXPECT_EQ(p.caches[1].shared_by, 7);
}

TEST_F(Machine, AQuotaOfProcessorsCounts) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/cpu.max", "150000 100000\n");
  write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(processors(folder_.path()).quota, 1.5);
  write("proc/self/cgroup", "5:cpu,cpuacct:/c\n1:memory:/d\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"), write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "50000\n"), write("sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(processors(folder_.path()).quota, 0.5);
  EXPECT_EQ((Processors{.allowed = 8, .quota = 1.5}.usable()), 2);
  EXPECT_EQ((Processors{.allowed = 8, .quota = 0.5}.usable()), 1);
  EXPECT_EQ((Processors{.allowed = 2, .quota = 16}.usable()), 2);
  EXPECT_EQ((Processors{.allowed = 3}.usable()), 3);
}

TEST_F(Machine, MemoryWithoutLimitsIsWhatTheSystemHas) {
  write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  const Memory m = memory(folder_.path());
  EXPECT_EQ(m.total, 16000000ll * 1024);
  EXPECT_EQ(m.available, 9000000ll * 1024);
  EXPECT_EQ(m.usable, m.available);
  EXPECT_EQ(m.limit, 0);
  EXPECT_EQ(m.huge_page, 2048 * 1024);
  EXPECT_EQ(m.huge_pages, "madvise");
}

TEST_F(Machine, TheTightestControlGroupOfVersion2Counts) {
  write("proc/self/cgroup", "0::/outer/inner\n");
  write("sys/fs/cgroup/outer/memory.max", "3000000000\n"), write("sys/fs/cgroup/outer/memory.current", "1000000000\n");
  write("sys/fs/cgroup/outer/memory.stat", "anon 5\ninactive_file 400000000\nactive_file 7\n");
  write("sys/fs/cgroup/outer/inner/memory.max", "max\n"), write("sys/fs/cgroup/outer/inner/memory.current", "900000000\n");
  Memory m = memory(folder_.path());
  EXPECT_EQ(m.limit, 3000000000);
  EXPECT_EQ(m.usable, 3000000000 - 600000000);
  write("sys/fs/cgroup/outer/inner/memory.max", "1000000000\n");
  m = memory(folder_.path());
  EXPECT_EQ(m.limit, 1000000000);
  EXPECT_EQ(m.usable, 100000000);
  write("sys/fs/cgroup/outer/inner/memory.current", "1000000001\n");
  EXPECT_EQ(memory(folder_.path()).usable, 0);
}

TEST_F(Machine, ControlGroupsOfVersion1CountToo) {
  write("proc/self/cgroup", "4:memory:/box\n0::/\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("sys/fs/cgroup/memory/box/memory.limit_in_bytes", "2000000000\n");
  write("sys/fs/cgroup/memory/box/memory.usage_in_bytes", "700000000\n");
  write("sys/fs/cgroup/memory/box/memory.stat", "cache 9\ntotal_inactive_file 100000000\n");
  const Memory m = memory(folder_.path());
  EXPECT_EQ(m.limit, 2000000000);
  EXPECT_EQ(m.usable, 1400000000);
}

// In a container the group's path is that of the host, and its files lie at the root of what is mounted.
TEST_F(Machine, AContainerSeesItsLimitAtTheRoot) {
  write("proc/self/cgroup", "0::/docker/0123\n");
  write("sys/fs/cgroup/memory.max", "500000000\n"), write("sys/fs/cgroup/memory.current", "100000000\n");
  EXPECT_EQ(memory(folder_.path()).usable, 400000000);
}

TEST_F(Machine, AGraphicsCardIsKnownByItsDriver) {
  EXPECT_TRUE(graphics_card(folder_.path()).devices.empty());
  EXPECT_EQ(graphics_card(folder_.path()).driver, "");
  write("proc/driver/nvidia/version",
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\n");
  write("proc/driver/nvidia/gpus/0000:01:00.0/information", "Model: \t\t NVIDIA H100\nIRQ:   16\n");
  write("usr/local/cuda/bin/nvcc", "#!/bin/sh\n");
  std::filesystem::permissions(folder_ / "usr/local/cuda/bin/nvcc", std::filesystem::perms::owner_all);
  const GraphicsCard card = graphics_card(folder_.path());
  EXPECT_EQ(card.driver, "550.54.15");
  EXPECT_EQ(card.devices, (std::vector<std::string>{"NVIDIA H100"}));
  EXPECT_EQ(card.toolkit, folder_ / "usr/local/cuda/bin/nvcc");
}

TEST_F(Machine, DamagedFilesGiveNoFacts) {
  write("proc/meminfo", "MemTotal: lots\nMemAvailable:\n");
  write("proc/self/cgroup", "::\nx\n0:\n-1:memory\n");
  write("proc/cpuinfo", "processor\ncore id\nphysical id:\n");
  write("sys/devices/system/cpu/cpu0/cache/index0/size", "K\n");
  write("sys/devices/system/cpu/cpu0/cache/index0/shared_cpu_list", "5-2,-,99999999999-\n");
  EXPECT_EQ(memory(folder_.path()).total, 0);
  EXPECT_EQ(memory(folder_.path()).usable, 0);
  EXPECT_EQ(processors(folder_.path()).threads, 1);
  EXPECT_EQ(processors(folder_.path()).caches.size(), 1u);
}

TEST(ThisMachine, HasProcessorsAndMemory) {
  const Processors p = processors();
  EXPECT_GE(p.usable(), 1);
  EXPECT_LE(p.usable(), p.threads);
  EXPECT_LE(p.cores, p.threads);
  const Memory m = memory();
  EXPECT_GT(m.total, m.available);
  EXPECT_GT(m.usable, 0);
  EXPECT_LE(m.usable, m.available);
}

TEST(ThisMachine, ResidentMemoryFollowsWhatIsUsed) {
  const int64_t before = resident_bytes();
  EXPECT_GT(before, 0);
  {
    std::vector<char> used(64 << 20);
    std::memset(used.data(), 1, used.size());
    EXPECT_GT(resident_bytes(), before + (60 << 20));
  }
  EXPECT_GE(peak_resident_bytes(), before + (60 << 20));
}

}  // namespace
}  // namespace relume::test
