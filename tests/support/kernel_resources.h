// What the kernels of the CUDA backend take of a multiprocessor, as ptxas reports it (nvcc -Xptxas=-v; cmake/keep_ptxas.sh
// keeps the reports beside the objects), and what is asked of the hot ones.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace relume::test {

struct KernelResources {
  std::string name;           // "norm_rows<20, float>": without namespaces and parameters
  std::string architecture;   // "sm_90"
  int registers = 0;          // of a thread; -1 where the function is called by a kernel, whose registers it uses
  int64_t shared_bytes = 0;   // static; what the launch adds is not known here
  int64_t stack_bytes = 0;    // of a thread, in local memory
  int64_t spilled_bytes = 0;  // stored to local memory and loaded from it, together
};

// The kernels of a report, and the functions that were not inlined into them, in its order. Throws an InputError that names
// `where` and the kernel when something is missing of one.
std::vector<KernelResources> parse_ptxas_report(std::string_view report, const std::string& where);

// The same of every file named in `list`, a path a line. Throws an InputError naming the file that is missing.
std::vector<KernelResources> read_ptxas_reports(const std::filesystem::path& list);

// A kernel that must be there, in every instance, with the threads of its blocks.
struct HotKernel {
  std::string_view name;  // "norm_rows"
  int threads = 0;
};

// One line for each kernel that spills, whose block does not fit a multiprocessor (hot ones), or that is missing (hot ones).
std::vector<std::string> complaints_about(std::span<const KernelResources> kernels, std::span<const HotKernel> hot);

// A Markdown table, sorted by name: spilling and register-hungry kernels are read off at a glance.
std::string table_of(std::span<const KernelResources> kernels);

}  // namespace relume::test
