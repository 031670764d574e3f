// Instruction sets: what this processor has, and what the compiler was allowed to use for this build. A program built for more
// than its processor has dies at the first such instruction without a word; so the `relume` command looks before anything else
// runs, the constructors of static objects included, and ends with a message and exit code 2.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace relume {

// One bit each, in the order of the table in processor_check.cpp.
enum class Instructions : int {
  sse3,
  ssse3,
  sse4_1,
  sse4_2,
  popcnt,
  movbe,
  avx,
  f16c,
  fma,
  bmi1,
  bmi2,
  lzcnt,
  avx2,
  avx_vnni,
  fma4,
  xop,  //
  avx512f,
  avx512dq,
  avx512cd,
  avx512bw,
  avx512vl,
  avx512ifma,
  avx512vbmi,
  avx512vbmi2,
  avx512vnni,
  avx512bitalg,
  avx512vpopcntdq,
  avx512bf16,
  avx512fp16,
  amx_tile,
  amx_bf16,
  amx_int8,
  count
};
using InstructionBits = uint64_t;
constexpr InstructionBits bit_of(Instructions set) { return InstructionBits(1) << int(set); }

InstructionBits available_instructions();  // of this processor, as far as the system keeps their registers
InstructionBits compiled_instructions();   // what compilers use by themselves and were allowed to
const char* name_of(Instructions set);     // "AVX2", "AVX-512BW"
std::vector<std::string> names_of(InstructionBits sets);
int x86_64_level(InstructionBits sets);  // 1 to 4: the highest level of the psABI whose sets are all there

// Writes what the check says into `text`, cut to `size`, and gives its length; 0 when all of `compiled` is `available`.
size_t unfit_message(InstructionBits compiled, InstructionBits available, char* text, size_t size);

}  // namespace relume
