// The check at start-up, and what it stands on. This file is compiled for the plainest x86-64 (CMakeLists.txt) and calls
// nothing that other files are compiled for as well: an inline function of the standard library could come from one of those.
#include "base/instructions.h"

#include <cpuid.h>
#include <unistd.h>

namespace relume {
namespace {

enum Register { eax, ebx, ecx, edx };
enum State { always, avx_state, avx512_state, amx_state };  // registers that the system must keep

struct Row {
  const char* name;
  unsigned leaf, subleaf;
  Register where;
  int bit;
  State needs;
};

// Intel SDM volume 2A, CPUID; AMD APM volume 3, appendix E. In the order of enum Instructions.
constexpr Row table[] = {{"SSE3", 1, 0, ecx, 0, always},
                         {"SSSE3", 1, 0, ecx, 9, always},
                         {"SSE4.1", 1, 0, ecx, 19, always},
                         {"SSE4.2", 1, 0, ecx, 20, always},
                         {"POPCNT", 1, 0, ecx, 23, always},
                         {"MOVBE", 1, 0, ecx, 22, always},
                         {"AVX", 1, 0, ecx, 28, avx_state},
                         {"F16C", 1, 0, ecx, 29, avx_state},
                         {"FMA", 1, 0, ecx, 12, avx_state},
                         {"BMI1", 7, 0, ebx, 3, always},
                         {"BMI2", 7, 0, ebx, 8, always},
                         {"LZCNT", 0x80000001, 0, ecx, 5, always},
                         {"AVX2", 7, 0, ebx, 5, avx_state},
                         {"AVX-VNNI", 7, 1, eax, 4, avx_state},
                         {"FMA4", 0x80000001, 0, ecx, 16, avx_state},
                         {"XOP", 0x80000001, 0, ecx, 11, avx_state},
                         {"AVX-512F", 7, 0, ebx, 16, avx512_state},
                         {"AVX-512DQ", 7, 0, ebx, 17, avx512_state},
                         {"AVX-512CD", 7, 0, ebx, 28, avx512_state},
                         {"AVX-512BW", 7, 0, ebx, 30, avx512_state},
                         {"AVX-512VL", 7, 0, ebx, 31, avx512_state},
                         {"AVX-512IFMA", 7, 0, ebx, 21, avx512_state},
                         {"AVX-512VBMI", 7, 0, ecx, 1, avx512_state},
                         {"AVX-512VBMI2", 7, 0, ecx, 6, avx512_state},
                         {"AVX-512VNNI", 7, 0, ecx, 11, avx512_state},
                         {"AVX-512BITALG", 7, 0, ecx, 12, avx512_state},
                         {"AVX-512VPOPCNTDQ", 7, 0, ecx, 14, avx512_state},
                         {"AVX-512BF16", 7, 1, eax, 5, avx512_state},
                         {"AVX-512FP16", 7, 0, edx, 23, avx512_state},
                         {"AMX-TILE", 7, 0, edx, 24, amx_state},
                         {"AMX-BF16", 7, 0, edx, 22, amx_state},
                         {"AMX-INT8", 7, 0, edx, 25, amx_state}};
constexpr int rows = sizeof table / sizeof *table;
static_assert(rows == int(Instructions::count));

constexpr InstructionBits level_3 = (InstructionBits(1) << (int(Instructions::avx2) + 1)) - 1;  // SSE3 to AVX2

// The registers that the system keeps when it switches between programs (XCR0); 0 where it does not say.
uint64_t kept_registers() {
  unsigned regs[4] = {};
  constexpr unsigned osxsave = 1u << 27;
  if (__get_cpuid(1, &regs[eax], &regs[ebx], &regs[ecx], &regs[edx]) == 0 || (regs[ecx] & osxsave) == 0) return 0;
  unsigned low = 0, high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return uint64_t(high) << 32 | low;
}

bool keeps(uint64_t registers, State state) {
  constexpr uint64_t masks[] = {0, 0x6, 0xE6, 0x60000};
  return (registers & masks[state]) == masks[state];
}

struct Text {
  char* to;
  size_t size, length = 0;
  void operator+=(const char* from) {
    for (; *from != '\0'; ++from, ++length)
      if (length < size) to[length] = *from;
  }
};

// Before the constructors of other files' static objects, whose priority is lower.
[[gnu::constructor(101)]] void refuse_unfit_processor() {
  char text[1024];
  const size_t length = unfit_message(compiled_instructions(), available_instructions(), text, sizeof text);
  if (length == 0) return;
  (void)!::write(STDERR_FILENO, text, length);
  ::_exit(2);
}

}  // namespace

InstructionBits available_instructions() {
  const uint64_t registers = kept_registers();
  InstructionBits found = 0;
  for (int i = 0; i < rows; ++i) {
    unsigned regs[4] = {};
    const Row& row = table[i];
    if (__get_cpuid_count(row.leaf, row.subleaf, &regs[eax], &regs[ebx], &regs[ecx], &regs[edx]) == 0) continue;
    if ((regs[row.where] >> row.bit & 1) != 0 && keeps(registers, row.needs)) found |= InstructionBits(1) << i;
  }
  return found;
}

const char* name_of(Instructions set) { return table[int(set)].name; }

size_t unfit_message(InstructionBits compiled, InstructionBits available, char* text, size_t size) {
  const InstructionBits missing = compiled & ~available;
  if (missing == 0) return 0;
  Text out{text, size};
  out += "relume: this build uses ";
  bool first = true;
  for (int i = 0; i < rows; ++i) {
    if ((missing >> i & 1) == 0) continue;
    if (!first) out += ", ";
    out += table[i].name;
    first = false;
  }
  out += ", which this processor, or the system on it, does not offer; ";
  out += (missing & level_3) != 0 ? "a processor with AVX2 and FMA is needed (x86-64-v3, from about 2013 on)\n"
                                  : "build it on this machine, or for any processor with AVX2: "
                                    "RELUME_CMAKE_ARGS=-DRELUME_NATIVE=OFF ./relume --version\n";
  return out.length < size ? out.length : size;
}

}  // namespace relume
