// As much of Unicode as a tokenizer of prompts needs, with the results of Python's str (the tables say of which version).
#pragma once

#include <string>
#include <string_view>

namespace relume::unicode {

std::u32string decoded(std::string_view utf8);  // of well-formed UTF-8 (base/text.h, is_utf8)
std::string encoded(std::u32string_view text);  // to UTF-8; no surrogates

bool is_letter(char32_t c);  // general category L*
bool is_number(char32_t c);  // general category N*: digits of every script, fractions, Roman and circled numbers
bool is_space(char32_t c);   // what Python's str.split() splits at

// The full mapping: U+0130 becomes two codes, a capital sigma at the end of a word the final one.
std::u32string lower(std::u32string_view text);

// The ordinary form of a full-width or half-width one; other codes as they are.
char32_t ordinary_width(char32_t c);

std::u32string normal_form_c(std::u32string_view text);

}  // namespace relume::unicode
