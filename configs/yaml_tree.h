// YAML text as a tree of nodes that know their lines. Nothing but yaml_tree.cpp includes yaml-cpp.
#pragma once

#include <string>
#include <vector>

namespace relume::detail {

struct YamlNode {
  enum class Kind { null, scalar, list, map };
  Kind kind = Kind::null;
  bool quoted = false;          // a scalar in quotes or a block of text: never a number
  int line = 0, key_line = 0;   // from 1
  std::string text;             // of a scalar
  std::string key;              // of an entry of a map
  std::vector<YamlNode> items;  // of a list or a map
};

// The one document in `text`; null if there is none. Throws InputError "where:line: ..." (": ..." after `where` without a line
// if `with_lines` is false) for what is not YAML, for repeated keys, and for what a configuration has no use for: anchors and
// aliases, tags, several documents, nesting deeper than 32, bytes that are not UTF-8 text.
YamlNode parse_yaml(const std::string& text, const std::string& where, bool with_lines = true);

// Whether `text` is UTF-8 without NUL: what YAML can hold.
bool is_text(const std::string& text);

}  // namespace relume::detail
