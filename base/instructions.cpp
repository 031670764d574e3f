#include "base/instructions.h"

namespace relume {

namespace {

using enum Instructions;

// What the compiler says it may use in this file, which is compiled like all others. AMX is left out: no compiler uses it
// unasked.
constexpr InstructionBits compiled = 0
#ifdef __SSE3__
                                     | bit_of(sse3)
#endif
#ifdef __SSSE3__
                                     | bit_of(ssse3)
#endif
#ifdef __SSE4_1__
                                     | bit_of(sse4_1)
#endif
#ifdef __SSE4_2__
                                     | bit_of(sse4_2)
#endif
#ifdef __POPCNT__
                                     | bit_of(popcnt)
#endif
#ifdef __MOVBE__
                                     | bit_of(movbe)
#endif
#ifdef __AVX__
                                     | bit_of(avx)
#endif
#ifdef __F16C__
                                     | bit_of(f16c)
#endif
#ifdef __FMA__
                                     | bit_of(fma)
#endif
#ifdef __BMI__
                                     | bit_of(bmi1)
#endif
#ifdef __BMI2__
                                     | bit_of(bmi2)
#endif
#ifdef __LZCNT__
                                     | bit_of(lzcnt)
#endif
#ifdef __AVX2__
                                     | bit_of(avx2)
#endif
#ifdef __AVXVNNI__
                                     | bit_of(avx_vnni)
#endif
#ifdef __FMA4__
                                     | bit_of(fma4)
#endif
#ifdef __XOP__
                                     | bit_of(xop)
#endif
#ifdef __AVX512F__
                                     | bit_of(avx512f)
#endif
#ifdef __AVX512DQ__
                                     | bit_of(avx512dq)
#endif
#ifdef __AVX512CD__
                                     | bit_of(avx512cd)
#endif
#ifdef __AVX512BW__
                                     | bit_of(avx512bw)
#endif
#ifdef __AVX512VL__
                                     | bit_of(avx512vl)
#endif
#ifdef __AVX512IFMA__
                                     | bit_of(avx512ifma)
#endif
#ifdef __AVX512VBMI__
                                     | bit_of(avx512vbmi)
#endif
#ifdef __AVX512VBMI2__
                                     | bit_of(avx512vbmi2)
#endif
#ifdef __AVX512VNNI__
                                     | bit_of(avx512vnni)
#endif
#ifdef __AVX512BITALG__
                                     | bit_of(avx512bitalg)
#endif
#ifdef __AVX512VPOPCNTDQ__
                                     | bit_of(avx512vpopcntdq)
#endif
#ifdef __AVX512BF16__
                                     | bit_of(avx512bf16)
#endif
#ifdef __AVX512FP16__
                                     | bit_of(avx512fp16)
#endif
    ;

constexpr InstructionBits level_2 = bit_of(sse3) | bit_of(ssse3) | bit_of(sse4_1) | bit_of(sse4_2) | bit_of(popcnt),
                          level_3 = level_2 | bit_of(movbe) | bit_of(avx) | bit_of(f16c) | bit_of(fma) | bit_of(bmi1) |
                                    bit_of(bmi2) | bit_of(lzcnt) | bit_of(avx2),
                          level_4 = level_3 | bit_of(avx512f) | bit_of(avx512dq) | bit_of(avx512cd) | bit_of(avx512bw) |
                                    bit_of(avx512vl);

}  // namespace

InstructionBits compiled_instructions() { return compiled; }

std::vector<std::string> names_of(InstructionBits sets) {
  std::vector<std::string> names;
  for (int i = 0; i < int(count); ++i)
    if ((sets >> i & 1) != 0) names.emplace_back(name_of(Instructions(i)));
  return names;
}

int x86_64_level(InstructionBits sets) {
  const auto has = [&](InstructionBits level) { return (sets & level) == level; };
  return has(level_4) ? 4 : has(level_3) ? 3 : has(level_2) ? 2 : 1;
}

}  // namespace relume
