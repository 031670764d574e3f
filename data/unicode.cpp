#include "data/unicode.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "data/unicode_tables.h"

namespace relume::unicode {
namespace {

// The range of a table that holds c; null when none does.
template <class Range> const Range* range_of(std::span<const Range> table, char32_t c) {
  const auto behind = std::ranges::upper_bound(table, c, {}, &Range::first);
  if (behind == table.begin() || std::prev(behind)->last < c) return nullptr;
  return &*std::prev(behind);
}

int combining_class(char32_t c) {
  const ValueRange* range = range_of(combining_classes, c);
  return range ? range->value : 0;
}

// A syllable of Hangul is a lead, a vowel and perhaps a tail, which its code follows from (Unicode, section 3.12).
constexpr char32_t syllables = 0xAC00, leads = 0x1100, vowels = 0x1161, tails = 0x11A7;
constexpr char32_t lead_count = 19, vowel_count = 21, tail_count = 28, syllable_count = lead_count * vowel_count * tail_count;

void append_decomposed(std::u32string& out, char32_t c) {
  if (const char32_t syllable = c - syllables; c >= syllables && syllable < syllable_count) {
    out += leads + syllable / (vowel_count * tail_count);
    out += vowels + syllable / tail_count % vowel_count;
    if (syllable % tail_count != 0) out += tails + syllable % tail_count;
    return;
  }
  const auto at = std::ranges::lower_bound(decompositions, c, {}, &Decomposition::code);
  if (at == decompositions.end() || at->code != c) {
    out += c;
    return;
  }
  append_decomposed(out, at->first);
  if (at->second != 0) append_decomposed(out, at->second);
}

// Runs of combining marks are put in the order of their classes.
void order_marks(std::u32string& text) {
  for (size_t begin = 0; begin < text.size(); ++begin) {
    size_t end = begin;
    while (end < text.size() && combining_class(text[end]) != 0) ++end;
    std::stable_sort(text.begin() + std::ptrdiff_t(begin), text.begin() + std::ptrdiff_t(end),
                     [](char32_t a, char32_t b) { return combining_class(a) < combining_class(b); });
    begin = end;
  }
}

// What two codes compose to; 0 when they do not.
char32_t composed(char32_t first, char32_t second) {
  static const std::map<std::pair<char32_t, char32_t>, char32_t> pairs = [] {
    std::map<std::pair<char32_t, char32_t>, char32_t> all;
    for (const Decomposition& d : decompositions)
      if (d.composes) all[{d.first, d.second}] = d.code;
    return all;
  }();
  if (first >= leads && first - leads < lead_count && second >= vowels && second - vowels < vowel_count)
    return syllables + ((first - leads) * vowel_count + second - vowels) * tail_count;
  const bool open = first >= syllables && first - syllables < syllable_count && (first - syllables) % tail_count == 0;
  if (open && second > tails && second - tails < tail_count) return first + (second - tails);
  const auto at = pairs.find({first, second});
  return at == pairs.end() ? 0 : at->second;
}

// Whether a capital sigma at `at` ends a word: cased letters before it and none behind, what has no say left out.
bool is_final_sigma(std::u32string_view text, size_t at) {
  size_t before = at, behind = at + 1;
  while (before > 0 && range_of(case_ignorable, text[before - 1])) --before;
  while (behind < text.size() && range_of(case_ignorable, text[behind])) ++behind;
  return before > 0 && range_of(cased, text[before - 1]) && !(behind < text.size() && range_of(cased, text[behind]));
}

}  // namespace

std::u32string decoded(std::string_view utf8) {
  std::u32string text;
  for (size_t at = 0; at < utf8.size();) {
    const auto lead = static_cast<unsigned char>(utf8[at++]);
    const int more = lead < 0x80 ? 0 : lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
    char32_t code = more == 0 ? lead : lead & (0x3Fu >> more);
    for (int i = 0; i < more; ++i) code = code << 6 | (static_cast<unsigned char>(utf8[at++]) & 0x3Fu);
    text += code;
  }
  return text;
}

std::string encoded(std::u32string_view text) {
  std::string utf8;
  for (const char32_t c : text) {
    const int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static constexpr unsigned marks[] = {0, 0xC0, 0xE0, 0xF0};
    utf8 += static_cast<char>(marks[more] | c >> (6 * more));
    for (int i = more - 1; i >= 0; --i) utf8 += static_cast<char>(0x80u | (c >> (6 * i) & 0x3Fu));
  }
  return utf8;
}

bool is_letter(char32_t c) { return range_of(letters, c) != nullptr; }
bool is_number(char32_t c) { return range_of(numbers, c) != nullptr; }
bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

std::u32string lower(std::u32string_view text) {
  constexpr char32_t dotted_capital_i = 0x130, capital_sigma = 0x3A3, final_sigma = 0x3C2;
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    const LowerRange* range = range_of(lower_cases, text[i]);
    if (text[i] == dotted_capital_i)
      out += U"i\u0307";
    else if (text[i] == capital_sigma && is_final_sigma(text, i))
      out += final_sigma;
    else if (range && (text[i] - range->first) % range->step == 0)
      out += char32_t(int64_t(text[i]) + range->offset);
    else
      out += text[i];
  }
  return out;
}

char32_t ordinary_width(char32_t c) {
  const ValueRange* range = range_of(width_offsets, c);
  return range ? char32_t(int64_t(c) + range->value) : c;
}

std::u32string normal_form_c(std::u32string_view text) {
  std::u32string apart;
  for (const char32_t c : text) append_decomposed(apart, c);
  order_marks(apart);
  std::u32string out;
  size_t starter = std::u32string::npos;  // where in `out` the last code of class 0 stands
  for (const char32_t c : apart) {
    const int own = combining_class(c);
    // A mark reaches its starter past marks of lower classes alone.
    const bool reaches =
        starter != std::u32string::npos && (starter + 1 == out.size() || (own != 0 && combining_class(out.back()) < own));
    if (const char32_t both = reaches ? composed(out[starter], c) : 0; both != 0) {
      out[starter] = both;
      continue;
    }
    if (own == 0) starter = out.size();
    out += c;
  }
  return out;
}

}  // namespace relume::unicode
