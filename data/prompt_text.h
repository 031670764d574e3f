// What CLIP's tokenizer does to a text before it looks for words (spec/diffbir.md 3.4).
#pragma once

#include <string>
#include <string_view>

namespace relume {

// The text with HTML's character references replaced, once, as Python's html.unescape() does it: names without their semicolon
// too, numbers of Windows-1252. UTF-8 in and out.
std::string unescape_html(std::string_view utf8);

// Mended (UTF-8 that was read as Windows-1252, curly quotes, ligatures, full-width forms, control characters, normal form C),
// unescaped twice, spaces collapsed, in lower case. InputError for what is not UTF-8.
std::string clean_prompt(std::string_view utf8);

}  // namespace relume
