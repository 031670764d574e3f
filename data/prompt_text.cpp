#include "data/prompt_text.h"

#include <algorithm>
#include <array>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "data/html_entities.h"
#include "data/unicode.h"

namespace relume {
namespace {

constexpr char32_t replacement = 0xFFFD, last_code = 0x10FFFF;

// The codes of the bytes 0x80 to 0x9F of Windows-1252; five of them have none and stay.
constexpr std::array<char32_t, 32> windows_codes{0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                 0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                                 0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                 0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
bool is_c1(char32_t c) { return c >= 0x80 && c < 0xA0; }

std::optional<char> windows_byte(char32_t c) {
  if (c < 0x100) return static_cast<char>(c);  // 0x80 to 0x9F: the byte of that value
  const auto at = std::ranges::find(windows_codes, c);
  if (at == windows_codes.end()) return std::nullopt;
  return static_cast<char>(0x80 + (at - windows_codes.begin()));
}

// A text whose bytes in Windows-1252 are UTF-8, and not plain ASCII, was UTF-8 that somebody read as Windows-1252.
std::u32string decoded_once_more(std::u32string text) {
  std::string bytes;
  for (const char32_t c : text) {
    const std::optional<char> byte = windows_byte(c);
    if (!byte) return text;
    bytes += *byte;
  }
  const bool ascii = std::ranges::all_of(bytes, [](char b) { return static_cast<unsigned char>(b) < 0x80; });
  return ascii || !is_utf8(bytes) ? text : unicode::decoded(bytes);
}

bool is_removed(char32_t c) {
  return c <= 0x08 || c == 0x0B || (c >= 0x0E && c <= 0x1F) || c == 0x7F || (c >= 0x206A && c <= 0x206F) || c == 0xFEFF ||
         (c >= 0xFFF9 && c <= 0xFFFC);
}

// The letters of a Latin ligature or digraph; empty for other codes.
std::u32string_view letters_of(char32_t c) {
  static constexpr std::pair<char32_t, std::u32string_view> table[]{
      {0x132, U"IJ"},   {0x133, U"ij"},   {0x149, U"'n"},       {0x1C4, U"D\u017D"}, {0x1C5, U"D\u017E"}, {0x1C6, U"d\u017E"},
      {0x1C7, U"LJ"},   {0x1C8, U"Lj"},   {0x1C9, U"lj"},       {0x1CA, U"NJ"},      {0x1CB, U"Nj"},      {0x1CC, U"nj"},
      {0x1F1, U"DZ"},   {0x1F2, U"Dz"},   {0x1F3, U"dz"},       {0xFB00, U"ff"},     {0xFB01, U"fi"},     {0xFB02, U"fl"},
      {0xFB03, U"ffi"}, {0xFB04, U"ffl"}, {0xFB05, U"\u017Ft"}, {0xFB06, U"st"}};
  const auto at = std::ranges::find(table, c, &std::pair<char32_t, std::u32string_view>::first);
  return at == std::end(table) ? std::u32string_view() : at->second;
}

char32_t straight_quote(char32_t c) {
  if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) return U'\'';
  return c >= 0x201C && c <= 0x201F ? U'"' : c;
}

std::u32string mended(std::u32string text) {
  std::u32string out;
  for (char32_t c : decoded_once_more(std::move(text))) {
    if (is_c1(c)) c = windows_codes[c - 0x80];
    if (is_removed(c)) continue;
    const std::u32string_view letters = letters_of(c);
    out += letters.empty() ? std::u32string(1, straight_quote(unicode::ordinary_width(c))) : std::u32string(letters);
  }
  return unicode::normal_form_c(out);
}

// What HTML makes of the number of a character reference.
std::u32string numbered(char32_t code) {
  if (code == 0 || (code >= 0xD800 && code < 0xE000) || code > last_code) return {replacement};
  if (is_c1(code)) return {windows_codes[code - 0x80]};
  const bool spaces = code == 0x09 || code == 0x0A || code == 0x0C || code == 0x0D;
  const bool no_character =
      (code < 0x20 && !spaces) || code == 0x7F || (code >= 0xFDD0 && code <= 0xFDEF) || (code & 0xFFFE) == 0xFFFE;
  return no_character ? std::u32string() : std::u32string{code};
}

// Reads "#39;" or "#x27;" behind an ampersand; gives how many codes it took, 0 when there is no number.
size_t read_number(std::u32string_view text, std::u32string& out) {
  if (text.empty() || text[0] != U'#') return 0;
  const bool hexadecimal = text.size() > 1 && (text[1] == U'x' || text[1] == U'X');
  size_t at = hexadecimal ? 2 : 1;
  const size_t first = at;
  char32_t code = 0;
  for (; at < text.size(); ++at) {
    const char32_t c = text[at] < 0x80 && text[at] >= U'A' && text[at] <= U'Z' ? text[at] + 32 : text[at];
    const bool digit = c >= U'0' && c <= U'9', letter = hexadecimal && c >= U'a' && c <= U'f';
    if (!digit && !letter) break;
    code = std::min<char32_t>(code * (hexadecimal ? 16 : 10) + (digit ? c - U'0' : c - U'a' + 10), last_code + 1);
  }
  if (at == first) return 0;
  out += numbered(code);
  return at + (at < text.size() && text[at] == U';');
}

// Reads a name behind an ampersand, the longest that HTML knows; the same.
size_t read_name(std::u32string_view text, std::u32string& out) {
  static constexpr size_t longest = 32;
  std::string name;
  while (name.size() < longest && name.size() < text.size() && text[name.size()] < 0x80 &&
         std::string_view("\t\n\f <&#;").find(static_cast<char>(text[name.size()])) == std::string_view::npos)
    name += static_cast<char>(text[name.size()]);
  if (name.size() < text.size() && text[name.size()] == U';') name += ';';
  for (; name.size() >= 2; name.pop_back()) {
    const auto at = std::ranges::lower_bound(html_entities, std::string_view(name), {}, &HtmlEntity::name);
    if (at == html_entities.end() || at->name != name) continue;
    out += unicode::decoded(at->text);
    return name.size();
  }
  return 0;
}

std::u32string unescaped(std::u32string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size();) {
    size_t taken = 0;
    if (text[i] == U'&') {
      const std::u32string_view rest = text.substr(i + 1);
      taken = read_number(rest, out);
      if (taken == 0) taken = read_name(rest, out);
    }
    if (taken == 0) out += text[i];
    i += 1 + taken;
  }
  return out;
}

std::u32string collapsed(std::u32string_view text) {
  std::u32string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (unicode::is_space(text[i])) continue;
    if (!out.empty() && unicode::is_space(text[i - 1])) out += U' ';
    out += text[i];
  }
  return out;
}

std::u32string checked(std::string_view utf8) {
  RELUME_CHECK(is_utf8(utf8), "prompt '", printable(utf8), "' is not UTF-8; convert it");
  return unicode::decoded(utf8);
}

}  // namespace

std::string unescape_html(std::string_view utf8) { return unicode::encoded(unescaped(checked(utf8))); }

std::string clean_prompt(std::string_view utf8) {
  return unicode::encoded(unicode::lower(collapsed(unescaped(unescaped(mended(checked(utf8)))))));
}

}  // namespace relume
