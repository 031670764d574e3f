#include "base/instructions.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "tests/support/errors.h"

namespace relume::test {
namespace {

using enum Instructions;

std::string message(InstructionBits compiled, InstructionBits available) {
  char text[512];
  return {text, unfit_message(compiled, available, text, sizeof text)};
}

TEST(Instructions, ThisBuildFitsThisProcessor) {  // or this would not run
  EXPECT_EQ(compiled_instructions() & ~available_instructions(), 0u);
  EXPECT_GE(x86_64_level(compiled_instructions()), 3);
  EXPECT_GE(x86_64_level(available_instructions()), x86_64_level(compiled_instructions()));
}

// The kernel's own list is the oracle.
TEST(Instructions, AgreeWithTheSystem) {
  std::ifstream in("/proc/cpuinfo");
  std::string line;
  while (std::getline(in, line) && !line.starts_with("flags")) {}
  if (!line.starts_with("flags")) GTEST_SKIP() << "/proc/cpuinfo lists no flags";
  std::istringstream words(line);
  const std::vector<std::string> flags{std::istream_iterator<std::string>(words), {}};
  const std::pair<Instructions, const char*> names[]{{sse3, "pni"},
                                                     {ssse3, "ssse3"},
                                                     {sse4_1, "sse4_1"},
                                                     {sse4_2, "sse4_2"},
                                                     {popcnt, "popcnt"},
                                                     {movbe, "movbe"},
                                                     {avx, "avx"},
                                                     {f16c, "f16c"},
                                                     {fma, "fma"},
                                                     {bmi1, "bmi1"},
                                                     {bmi2, "bmi2"},
                                                     {lzcnt, "abm"},
                                                     {avx2, "avx2"},
                                                     {avx_vnni, "avx_vnni"},
                                                     {avx512f, "avx512f"},
                                                     {avx512dq, "avx512dq"},
                                                     {avx512cd, "avx512cd"},
                                                     {avx512bw, "avx512bw"},
                                                     {avx512vl, "avx512vl"},
                                                     {avx512vnni, "avx512_vnni"},
                                                     {avx512bf16, "avx512_bf16"},
                                                     {avx512vbmi2, "avx512_vbmi2"},
                                                     {amx_tile, "amx_tile"}};
  for (const auto& [set, flag] : names)
    EXPECT_EQ((available_instructions() & bit_of(set)) != 0, std::ranges::count(flags, flag) > 0) << flag;
}

TEST(Instructions, LevelsAreThoseOfThePsAbi) {
  const InstructionBits third = (bit_of(avx2) << 1) - 1;
  EXPECT_EQ(x86_64_level(0), 1);
  EXPECT_EQ(x86_64_level(bit_of(popcnt) * 2 - 1), 2);
  EXPECT_EQ(x86_64_level(third), 3);
  EXPECT_EQ(x86_64_level(third & ~bit_of(fma)), 2);
  EXPECT_EQ(x86_64_level(third | bit_of(avx512f)), 3);
  EXPECT_EQ(x86_64_level(third | bit_of(avx512f) | bit_of(avx512dq) | bit_of(avx512cd) | bit_of(avx512bw) | bit_of(avx512vl)),
            4);
  EXPECT_EQ(names_of(bit_of(sse4_1) | bit_of(avx512bw)), (std::vector<std::string>{"SSE4.1", "AVX-512BW"}));
}

TEST(Instructions, AnUnfitProcessorIsToldWhatItLacks) {
  EXPECT_EQ(message(0, 0), "");
  EXPECT_EQ(message(bit_of(avx2), bit_of(avx2) | bit_of(avx512f)), "");
  const std::string richer = message(bit_of(avx2) | bit_of(avx512f) | bit_of(avx512vl), bit_of(avx2));
  EXPECT_TRUE(richer.starts_with("relume: this build uses AVX-512F, AVX-512VL, which this processor")) << richer;
  EXPECT_HAS(richer, "-DRELUME_NATIVE=OFF");
  EXPECT_TRUE(richer.ends_with("\n"));
  const std::string old = message(bit_of(avx) | bit_of(avx2), bit_of(avx));
  EXPECT_HAS(old, "a processor with AVX2 and FMA is needed");
  EXPECT_EQ(occurrences(old, "RELUME_NATIVE"), 0);
  char small[16];
  EXPECT_EQ(unfit_message(1, 0, small, sizeof small), sizeof small);
  EXPECT_EQ(std::string(small, sizeof small), "relume: this bui");
}

}  // namespace
}  // namespace relume::test
