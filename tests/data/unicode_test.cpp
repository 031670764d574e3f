#include "data/unicode.h"

#include <gtest/gtest.h>

namespace relume::unicode {
namespace {

TEST(Unicode, Utf8AndBack) {
  const std::u32string text = U"a\u00E9\u6771\U0001F5FC\u007F\u0080\u07FF\u0800\uFFFF\U00010000\U0010FFFF";
  EXPECT_EQ(decoded(encoded(text)), text);
  EXPECT_EQ(encoded(U"\u00E9\u6771\U0001F5FC"), "\xC3\xA9\xE6\x9D\xB1\xF0\x9F\x97\xBC");
}

TEST(Unicode, Categories) {
  for (const char32_t c : std::u32string_view(U"aZ\u00E9\u02BC\u0391\u6771\uAC00\U00020000"))
    EXPECT_TRUE(is_letter(c) && !is_number(c) && !is_space(c)) << uint32_t(c);
  for (const char32_t c : std::u32string_view(U"09\u00BD\u00B2\u2460\u2167\u0663\U0001D7CE"))
    EXPECT_TRUE(is_number(c) && !is_letter(c) && !is_space(c)) << uint32_t(c);
  for (const char32_t c : std::u32string_view(U" \t\n\u00A0\u2003\u3000"))
    EXPECT_TRUE(is_space(c) && !is_letter(c) && !is_number(c)) << uint32_t(c);
  for (const char32_t c : std::u32string_view(U"_-\u0301\u200B\U0001F5FC\U0010FFFF"))
    EXPECT_FALSE(is_space(c) || is_letter(c) || is_number(c)) << uint32_t(c);
}

TEST(Unicode, LowerCase) {
  EXPECT_EQ(lower(U"A\u00C9\u0100\u0101\u0102\u0178\u0391\u0416\u1E9E\u2126\u24B6\uFF21\U00010400"),
            U"a\u00E9\u0101\u0101\u0103\u00FF\u03B1\u0436\u00DF\u03C9\u24D0\uFF41\U00010428");
  EXPECT_EQ(lower(U"\u0130"), U"i\u0307");
  EXPECT_EQ(lower(U"z\u6771 9"), U"z\u6771 9");
}

TEST(Unicode, ASigmaThatEndsAWordIsTheFinalOne) {
  EXPECT_EQ(lower(U"\u039F\u0394\u039F\u03A3"), U"\u03BF\u03B4\u03BF\u03C2");
  EXPECT_EQ(lower(U"\u03A3\u039F\u03A6\u039F\u03A3!"), U"\u03C3\u03BF\u03C6\u03BF\u03C2!");
  EXPECT_EQ(lower(U"\u03A3"), U"\u03C3");
  EXPECT_EQ(lower(U"A\u0301\u03A3\u0301 "), U"a\u0301\u03C2\u0301 ") << "marks have no say";
  EXPECT_EQ(lower(U"A\u03A3\u0301B"), U"a\u03C3\u0301b");
}

TEST(Unicode, NormalFormC) {
  EXPECT_EQ(normal_form_c(U"cafe\u0301"), U"caf\u00E9");
  EXPECT_EQ(normal_form_c(U"\u2126\u212B"), U"\u03A9\u00C5") << "single codes for single codes";
  EXPECT_EQ(normal_form_c(U"a\u0323\u0302"), U"\u1EAD") << "two steps";
  EXPECT_EQ(normal_form_c(U"a\u0302\u0323"), U"\u1EAD") << "in any order";
  EXPECT_EQ(normal_form_c(U"a\u0301\u0301"), U"\u00E1\u0301") << "the second of one class is blocked";
  EXPECT_EQ(normal_form_c(U"\u0958"), U"\u0915\u093C") << "left out of composition";
  EXPECT_EQ(normal_form_c(U"\u1112\u1161\u11AB\u1100\u1161"), U"\uD55C\uAC00") << "Hangul";
  EXPECT_EQ(normal_form_c(U"\uAC00\u11A8\u11A7"), U"\uAC01\u11A7");
  EXPECT_EQ(normal_form_c(U"\uD55C"), U"\uD55C");
  EXPECT_EQ(normal_form_c(U"\u0301a"), U"\u0301a") << "a mark with nothing before it";
  EXPECT_EQ(normal_form_c(U""), U"");
}

TEST(Unicode, OrdinaryWidth) {
  EXPECT_EQ(ordinary_width(U'\uFF28'), U'H');
  EXPECT_EQ(ordinary_width(U'\uFF76'), U'\u30AB');
  EXPECT_EQ(ordinary_width(U'H'), U'H');
}

}  // namespace
}  // namespace relume::unicode
