#include "tests/support/kernel_resources.h"

#include <cxxabi.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <regex>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace relume::test {
namespace {

// Compute capabilities 8.0 and 9.0 alike: registers of a multiprocessor, handed to warps in pieces.
constexpr int registers_of_multiprocessor = 65536, registers_of_piece = 256, warp_size = 32;

std::string demangled(const std::string& symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status),
                                                         &std::free);
  return status == 0 ? text.get() : symbol;
}

// Without namespaces, the type of the result and the parameters.
std::string short_name(const std::string& symbol) {
  static const std::regex qualifier(R"(\(anonymous namespace\)::|\w+::|^void )"), number_type(R"(\((int|bool|long)\))");
  std::string name = std::regex_replace(demangled(symbol), qualifier, "");
  name = std::regex_replace(name, number_type, "");
  int depth = 0;  // of <>
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '<') ++depth;
    if (name[i] == '>') --depth;
    if (name[i] == '(' && depth == 0) return name.substr(0, i);
  }
  return name;
}

std::string_view without_arguments(std::string_view name) { return name.substr(0, name.find('<')); }

// What is known of a kernel while its report is read.
struct Entry {
  KernelResources kernel;
  std::string symbol;
  bool is_kernel = true, has_registers = false, has_stack = false;
};

int registers_of_block(int registers, int threads) {
  const int of_warp = (registers * warp_size + registers_of_piece - 1) / registers_of_piece * registers_of_piece;
  return (threads + warp_size - 1) / warp_size * of_warp;
}

}  // namespace

std::vector<KernelResources> parse_ptxas_report(std::string_view report, const std::string& where) {
  static const std::regex begins(R"(Compiling entry function '([^']+)' for '([^']+)')"),
      properties(R"(Function properties for (\S+))"),
      stack(R"((\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads)"), used(R"(Used (\d+) registers)"),
      shared(R"((\d+) bytes smem)");
  std::vector<Entry> entries;
  size_t latest = 0, described = 0;  // the kernel whose report is read, and what its properties are told of
  for (const std::string& line : split(report, '\n')) {
    std::smatch match;
    if (std::regex_search(line, match, begins)) {
      entries.push_back({.kernel = {.name = short_name(match[1]), .architecture = match[2]}, .symbol = match[1]});
      latest = described = entries.size() - 1;
      continue;
    }
    if (entries.empty()) continue;  // what is told of the whole file
    if (std::regex_search(line, match, properties) && match[1] != entries[latest].symbol) {
      const std::string architecture = entries[latest].kernel.architecture;
      entries.push_back({.kernel = {.name = short_name(match[1]), .architecture = architecture, .registers = -1},
                         .symbol = match[1],
                         .is_kernel = false});
      described = entries.size() - 1;
    } else if (std::regex_search(line, match, stack)) {
      Entry& e = entries[described];
      e.kernel.stack_bytes = std::stoll(match[1]);
      e.kernel.spilled_bytes = std::stoll(match[2]) + std::stoll(match[3]);
      e.has_stack = true;
      described = latest;
    } else if (std::regex_search(line, match, used)) {
      Entry& e = entries[latest];
      e.kernel.registers = std::stoi(match[1]);
      e.has_registers = true;
      if (std::regex_search(line, match, shared)) e.kernel.shared_bytes = std::stoll(match[1]);
    }
  }
  std::vector<KernelResources> kernels;
  for (const Entry& e : entries) {
    RELUME_CHECK(
        e.has_stack && (e.has_registers || !e.is_kernel), where, ": the report on ", e.kernel.name,
        " lacks its registers or its spills: ptxas words it in a way that tests/support/kernel_resources.cpp does not know");
    kernels.push_back(e.kernel);
  }
  return kernels;
}

std::vector<KernelResources> read_ptxas_reports(const std::filesystem::path& list) {
  std::vector<KernelResources> all;
  for (const std::string& path : split(read_file(list), '\n')) {
    if (path.empty()) continue;
    RELUME_CHECK(std::filesystem::exists(path), path, ": missing; remove the object beside it and build again");
    const std::vector<KernelResources> kernels = parse_ptxas_report(read_file(path), path);
    all.insert(all.end(), kernels.begin(), kernels.end());
  }
  return all;
}

std::vector<std::string> complaints_about(std::span<const KernelResources> kernels, std::span<const HotKernel> hot) {
  std::vector<std::string> complaints;
  for (const KernelResources& k : kernels)
    if (k.spilled_bytes > 0)
      complaints.push_back(
          fmt::format("{} ({}) spills {} bytes of a thread's registers: hold less at a time, or give it fewer threads", k.name,
                      k.architecture, k.spilled_bytes));
  for (const HotKernel& h : hot) {
    bool found = false;
    for (const KernelResources& k : kernels) {
      if (without_arguments(k.name) != h.name) continue;
      found = true;
      if (const int needed = registers_of_block(k.registers, h.threads); needed > registers_of_multiprocessor)
        complaints.push_back(fmt::format("{} ({}): a block of {} threads with {} registers each needs {} of {}", k.name,
                                         k.architecture, h.threads, k.registers, needed, registers_of_multiprocessor));
    }
    if (!found)
      complaints.push_back(fmt::format("{}: no report has this kernel; correct the list where it was renamed", h.name));
  }
  return complaints;
}

std::string table_of(std::span<const KernelResources> kernels) {
  std::vector<KernelResources> sorted(kernels.begin(), kernels.end());
  std::ranges::stable_sort(sorted, {}, [](const KernelResources& k) { return std::pair(k.name, k.architecture); });
  std::string table =
      "| kernel | architecture | registers | static shared memory, bytes | stack, bytes | spilled, bytes "
      "|\n|---|---|---|---|---|---|\n";
  for (const KernelResources& k : sorted)
    table += fmt::format("| `{}` | {} | {} | {} | {} | {} |\n", k.name, k.architecture,
                         k.registers < 0 ? std::string("of its caller") : std::to_string(k.registers), k.shared_bytes,
                         k.stack_bytes, k.spilled_bytes);
  return table;
}

}  // namespace relume::test
