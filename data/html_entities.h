// The named character references of HTML, written by data/make_text_tables.py.
#pragma once

#include <span>
#include <string_view>

namespace relume {

struct HtmlEntity {
  std::string_view name, text;  // "amp;" and, where HTML knows it without, "amp"; the text in UTF-8
};
extern const std::span<const HtmlEntity> html_entities;  // sorted by name

}  // namespace relume
