#include "configs/kinds.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <string_view>

#include "base/error.h"
#include "base/text.h"
#include "configs/yaml_tree.h"

namespace relume::detail {

std::string kind_name(const bool*) { return "true or false"; }
std::string kind_name(const int*) { return "an integer"; }
std::string kind_name(const int64_t*) { return "an integer"; }
std::string kind_name(const double*) { return "a number"; }
std::string kind_name(const std::string*) { return "text"; }
std::string kind_name(const Struct&) { return "a section of key: value lines"; }
std::string kind_name(const List& list) {
  return list.reset ? std::string("a list [a, b, ...]") : fmt::format("a list of {}", list.size());
}
std::string kind_name(const Optional& optional) {
  return optional.has_value() ? kind_name(optional.value()) + " or null" : "a value or null";
}
std::string kind_name(const Value& value) {
  return std::visit([](const auto& data) { return kind_name(data); }, value.data);
}

std::string number_text(double x) { return fmt::format("{}", x); }

std::string range_text(Range range) {
  const bool below = std::isfinite(range.min), above = std::isfinite(range.max);
  if (below && above) return number_text(range.min) + ".." + number_text(range.max);
  if (below) return "at least " + number_text(range.min);
  return above ? "at most " + number_text(range.max) : "";
}

std::string choices_text(const std::vector<std::string>& choices) {
  std::string result;
  for (size_t i = 0; i < choices.size(); ++i) {
    result += i == 0 ? "" : i + 1 < choices.size() ? ", " : " or ";
    result += "'" + choices[i] + "'";
  }
  return result;
}

namespace {

// Letters, digits and a few signs need no quotes, unless YAML would take the word for something else.
std::string quoted_if_needed(const std::string& text) {
  RELUME_CHECK(is_text(text), "'", printable(text), "' cannot be written as YAML: it is not text in UTF-8");
  static const std::vector<std::string> words{"true", "false", "null", "yes", "no", "on", "off", "y", "n"};
  std::string lower = text;
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return char(std::tolower(c)); });
  const auto is_plain = [](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || std::string_view("_-+./").find(char(c)) != std::string_view::npos);
  };
  const bool plain = !text.empty() && (std::isalpha(static_cast<unsigned char>(text[0])) || text[0] == '_' || text[0] == '/') &&
                     std::all_of(text.begin(), text.end(), is_plain) &&
                     std::find(words.begin(), words.end(), lower) == words.end();
  if (plain) return text;
  std::string result = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      result += '\\';
      result += c;
    } else if (byte < 0x20 || byte == 0x7F) {
      result += fmt::format("\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result + '"';
}

std::string scalar_text(const bool* x) { return *x ? "true" : "false"; }
std::string scalar_text(const int* x) { return std::to_string(*x); }
std::string scalar_text(const int64_t* x) { return std::to_string(*x); }
std::string scalar_text(const double* x) {
  RELUME_CHECK(std::isfinite(*x), "the number ", *x, " cannot be written to a configuration");
  return number_text(*x);
}
std::string scalar_text(const std::string* x) { return quoted_if_needed(*x); }

bool is_section(const Value& value) {
  if (const auto* optional = std::get_if<Optional>(&value.data)) return optional->has_value() && is_section(optional->value());
  return std::holds_alternative<Struct>(value.data);
}

bool is_list_of_sections(const Value& value) {
  const auto* list = std::get_if<List>(&value.data);
  return list != nullptr && list->size() > 0 && is_section(list->at(0));
}

// `value` within one line: scalars, and lists in brackets.
std::string flow_text(const Value& value);
std::string flow_text(const Struct& section) {
  std::vector<std::string> parts;
  for (const Field& field : section.fields) parts.push_back(field.key + ": " + flow_text(field.value));
  return fmt::format("{{{}}}", join(parts, ", "));
}
std::string flow_text(const List& list) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < list.size(); ++i) parts.push_back(flow_text(list.at(i)));
  return fmt::format("[{}]", join(parts, ", "));
}
std::string flow_text(const Optional& optional) { return optional.has_value() ? flow_text(optional.value()) : "null"; }
template <class T> std::string flow_text(T* x) { return scalar_text(x); }
std::string flow_text(const Value& value) {
  return std::visit([](const auto& data) { return flow_text(data); }, value.data);
}

// What may stand in a field, in words: "an integer, 1..64", "one of 'a' or 'b'".
std::string meaning(const Value& value, const Attributes& attributes) {
  std::string text = attributes.choices.empty() ? kind_name(value) : "one of " + choices_text(attributes.choices);
  const bool each = std::holds_alternative<List>(value.data);
  if (each && !attributes.choices.empty()) text = "a list, each " + text;
  if (const std::string bounds = range_text(attributes.range); !bounds.empty()) text += (each ? ", each " : ", ") + bounds;
  return text;
}

class Writer {
 public:
  explicit Writer(bool with_help) : with_help_(with_help) {}

  void section(const Struct& section, const std::string& indent) {
    for (const Field& field : section.fields) {
      std::string line = indent + field.key + ":";
      if (is_section(field.value)) {
        this->field(line, field);
        block(field.value, indent + "  ");
      } else if (is_list_of_sections(field.value)) {
        this->field(line, field);
        const List& list = std::get<List>(field.value.data);
        for (size_t i = 0; i < list.size(); ++i) {
          // The dash takes the place of the indentation of the element's first line.
          const size_t begin = out.size();
          block(list.at(i), indent + "    ");
          out[begin + indent.size() + 2] = '-';
        }
      } else {
        this->field(line + " " + flow_text(field.value), field);
      }
    }
  }

  std::string out;

 private:
  void block(const Value& value, const std::string& indent) {
    if (const auto* optional = std::get_if<Optional>(&value.data)) {
      if (optional->has_value()) return block(optional->value(), indent);
    } else if (const auto& inner = std::get<Struct>(value.data); !inner.fields.empty()) {
      return section(inner, indent);
    }
    out += indent + flow_text(value) + "\n";
  }

  void field(const std::string& line, const Field& field) {
    out += line;
    if (with_help_) {
      std::string comment = field.attributes.help;
      if (!is_section(field.value)) {
        const std::string rule =
            field.attributes.choices.empty() ? range_text(field.attributes.range) : choices_text(field.attributes.choices);
        if (!rule.empty()) comment += (comment.empty() ? "" : "; ") + rule;
      }
      if (!comment.empty()) out += "  # " + comment;
    }
    out += "\n";
  }

  const bool with_help_;
};

void compare_sections(const Struct& before, const Struct& after, const std::string& path, std::vector<Difference>& found) {
  for (size_t i = 0; i < before.fields.size(); ++i) {
    const Value &a = before.fields[i].value, &b = after.fields[i].value;
    const std::string key = path + before.fields[i].key;
    if (std::holds_alternative<Struct>(a.data))
      compare_sections(std::get<Struct>(a.data), std::get<Struct>(b.data), key + ".", found);
    else if (const std::string x = flow_text(a), y = flow_text(b); x != y)
      found.push_back({key, x, y});
  }
}

struct Line {
  std::string key, rest;
};

void describe_section(const Struct& section, const std::string& path, std::vector<Line>& lines);

// The lines of the sections within `value`: of a list, its first element stands for all.
void describe_inside(const Value& value, const std::string& path, std::vector<Line>& lines) {
  if (const auto* section = std::get_if<Struct>(&value.data)) {
    describe_section(*section, path, lines);
  } else if (const auto* optional = std::get_if<Optional>(&value.data)) {
    describe_inside(optional->value(), path, lines);
  } else if (const auto* list = std::get_if<List>(&value.data)) {
    if (list->size() == 0 && list->reset) list->reset(1);
    if (list->size() > 0) describe_inside(list->at(0), path + ".0", lines);
  }
}

void describe_section(const Struct& section, const std::string& path, std::vector<Line>& lines) {
  for (const Field& field : section.fields) {
    const std::string key = path.empty() ? field.key : path + "." + field.key;
    const std::string& help = field.attributes.help;
    const std::string colon = help.empty() ? "" : ": " + help;
    if (is_section(field.value)) {
      lines.push_back({key, help});
    } else if (is_list_of_sections(field.value)) {
      lines.push_back({key, "a list of sections" + colon});
    } else {
      lines.push_back({field.attributes.required ? key + " (required)" : key + " = " + flow_text(field.value),
                       meaning(field.value, field.attributes) + colon});
    }
    describe_inside(field.value, key, lines);
  }
}

}  // namespace

std::string write(const Value& root, bool with_help) {
  Writer writer(with_help);
  writer.section(std::get<Struct>(root.data), "");
  return std::move(writer.out);
}

std::vector<Difference> differences(const Value& before, const Value& after) {
  std::vector<Difference> found;
  compare_sections(std::get<Struct>(before.data), std::get<Struct>(after.data), "", found);
  return found;
}

std::string describe(const Value& root) {
  constexpr size_t widest = 44;
  std::vector<Line> lines;
  describe_section(std::get<Struct>(root.data), "", lines);
  size_t width = 0;
  for (const Line& line : lines) width = std::max(width, std::min(widest, line.key.size()));
  std::string result;
  for (const Line& line : lines) {
    result += line.rest.empty() ? line.key : fmt::format("{:<{}}  {}", line.key, width, line.rest);
    result += "\n";
  }
  return result;
}

}  // namespace relume::detail
