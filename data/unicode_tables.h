// Tables of Unicode, written by data/make_text_tables.py; each is sorted by code point.
#pragma once

#include <cstdint>
#include <span>

namespace relume::unicode {

struct CodeRange {
  char32_t first, last;
};
struct ValueRange {
  char32_t first, last;
  int32_t value;
};
// Every step-th code from first to last has a lower case of one code, `offset` above it.
struct LowerRange {
  char32_t first, last, step;
  int32_t offset;
};
// A canonical decomposition, one step of it; second is 0 where it has a single code.
struct Decomposition {
  char32_t code, first, second;
  bool composes;  // normal form C puts the two together again
};

extern const std::span<const CodeRange> letters, numbers;       // general categories L* and N*
extern const std::span<const CodeRange> cased, case_ignorable;  // as a capital sigma looks at what surrounds it
extern const std::span<const LowerRange> lower_cases;
extern const std::span<const ValueRange> width_offsets;      // from full-width and half-width forms to the ordinary ones
extern const std::span<const ValueRange> combining_classes;  // those above 0
extern const std::span<const Decomposition> decompositions;  // without Hangul, which is computed

}  // namespace relume::unicode
