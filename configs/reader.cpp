#include "configs/reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <system_error>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "configs/kinds.h"
#include "configs/yaml_tree.h"

namespace relume::detail {

namespace {

// More than anyone reads at once; a file that is no configuration at all has thousands.
constexpr size_t most_problems = 20;

std::string child(const std::string& path, const std::string& key) { return path.empty() ? key : path + "." + key; }

// `value` of `text` in full, without spaces around it; "+5" is 5.
template <class T> std::errc parse_number(std::string_view text, T& value) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc{} && end != text.data() + text.size()) return std::errc::invalid_argument;
  return error;
}

// Reads one configuration: the file, then the overrides, then the rules that need both.
class Reader {
 public:
  Reader(const Value& root, const std::string& name) : root_(root), name_(name), source_(name) {}

  void read_file(const std::string& text) {
    const YamlNode node = parse_yaml(text, name_);
    if (node.kind != YamlNode::Kind::null) read(root_, node, {}, "");
  }

  // Only what stands under one key of the file.
  void read_section(const std::string& text, const std::string& key) {
    const YamlNode node = parse_yaml(text, name_);
    for (const YamlNode& item : node.items)
      if (node.kind == YamlNode::Kind::map && item.key == key) return read(root_, item, {}, "");
    problem(0, fmt::format("has no section '{}'", key));
  }

  void apply(const std::string& override_text) {
    source_ = "command line: " + printable(override_text);
    with_lines_ = false;
    const size_t equals = override_text.find('=');
    if (equals == std::string::npos || equals == 0) return problem(0, "expected key=value");
    if (!is_text(override_text)) return problem(0, "is not text in UTF-8");
    const std::string path = override_text.substr(0, equals), text = override_text.substr(equals + 1);
    const std::optional<Field> target = find(path);
    if (!target) return;
    YamlNode node;
    node.kind = YamlNode::Kind::scalar;
    node.text = text;
    const bool is_string = std::holds_alternative<std::string*>(target->value.data);
    const bool in_quotes = !text.empty() && (text[0] == '"' || text[0] == '\'');
    // The shell has taken the quotes of a text off already: "output=a: b" and "output=" mean what they say.
    if (!text.empty() && (!is_string || in_quotes)) {
      try {
        node = parse_yaml(text, source_, false);
      } catch (const InputError& error) {
        problems_.push_back(error.what());
        return;
      }
    }
    read(target->value, node, target->attributes, path);
    overrides_.push_back(printable(override_text));
  }

  void finish() {
    source_ = name_;
    with_lines_ = true;
    // What a section that could not be read would have had is not missing.
    if (!misread_section_) check_required(root_, "");
    // Rules between fields are written for fields that keep their own rules.
    if (problems_.empty()) validate(root_, "");
    if (problems_.empty()) return;
    if (full()) {
      problems_.resize(most_problems);
      problems_.push_back(name_ + ": more problems follow");
    }
    throw InputError(join(problems_, "\n"));
  }

 private:
  bool full() const { return problems_.size() > most_problems; }

  void problem(int line, const std::string& message) {
    problems_.push_back(with_lines_ && line > 0 ? fmt::format("{}:{}: {}", source_, line, message)
                                                : fmt::format("{}: {}", source_, message));
  }

  void mismatch(const YamlNode& node, const std::string& path, const std::string& expected) {
    // An indented section or list begins below its key, and what is empty is noticed only at the next key.
    const int line = node.kind == YamlNode::Kind::scalar || node.key_line == 0 ? node.line : node.key_line;
    problem(line,
            fmt::format("{} is {}, expected {}", path.empty() ? "the configuration" : path, describe_node(node), expected));
  }

  static std::string describe_node(const YamlNode& node) {
    switch (node.kind) {
      case YamlNode::Kind::null: return "empty";
      case YamlNode::Kind::list: return fmt::format("a list of {}", node.items.size());
      case YamlNode::Kind::map: return "a section";
      case YamlNode::Kind::scalar: break;
    }
    return fmt::format(fmt::runtime(node.quoted ? "\"{}\" in quotes" : "'{}'"), printable(node.text));
  }

  void read(const Value& value, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    if (full()) return;
    if (!path.empty()) lines_[path] = with_lines_ ? (node.key_line > 0 ? node.key_line : node.line) : 0;
    std::visit([&](const auto& data) { read_as(data, node, attributes, path); }, value.data);
  }

  void read_as(bool* x, const YamlNode& node, const Attributes&, const std::string& path) {
    const bool plain = node.kind == YamlNode::Kind::scalar && !node.quoted;
    const auto is = [&](const char* small, const char* python) { return plain && (node.text == small || node.text == python); };
    *x = is("true", "True");
    if (!*x && !is("false", "False")) mismatch(node, path, kind_name(x));
  }
  void read_as(int* x, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    read_number(x, node, attributes, path);
  }
  void read_as(int64_t* x, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    read_number(x, node, attributes, path);
  }
  void read_as(double* x, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    read_number(x, node, attributes, path);
  }

  template <class T> void read_number(T* x, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    T parsed{};
    const bool plain = node.kind == YamlNode::Kind::scalar && !node.quoted;
    const std::errc error = plain ? parse_number(node.text, parsed) : std::errc::invalid_argument;
    if (error == std::errc::invalid_argument || (error == std::errc{} && !std::isfinite(double(parsed)))) {
      return mismatch(node, path, kind_name(x));
    }
    const Range range = attributes.range;
    const bool in_range = error == std::errc{} && double(parsed) >= range.min && double(parsed) <= range.max;
    if (!in_range) {
      std::string bounds = range_text(range);
      if (bounds.empty()) bounds = fmt::format("{} that {} bits can hold", kind_name(x), 8 * sizeof(T));
      return problem(node.line, fmt::format("{} is {}, expected {}", path, printable(node.text), bounds));
    }
    *x = parsed;
  }

  void read_as(std::string* x, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    if (node.kind != YamlNode::Kind::scalar) return mismatch(node, path, kind_name(x));
    const std::vector<std::string>& choices = attributes.choices;
    if (!choices.empty() && std::find(choices.begin(), choices.end(), node.text) == choices.end()) {
      return problem(node.line, fmt::format("{} is '{}', expected {}{}", path, printable(node.text), choices_text(choices),
                                            did_you_mean(node.text, choices)));
    }
    // A file name cannot hold it, and whoever prints the text would stop there.
    if (node.text.find('\0') != std::string::npos) return problem(node.line, path + " contains a NUL character");
    *x = node.text;
  }

  void read_as(const Struct& section, const YamlNode& node, const Attributes&, const std::string& path) {
    // A section whose keys are all commented out keeps its defaults.
    if (node.kind == YamlNode::Kind::null) return;
    if (node.kind != YamlNode::Kind::map) {
      misread_section_ = true;
      return mismatch(node, path, kind_name(section));
    }
    for (const YamlNode& item : node.items) {
      if (full()) return;
      const Field* field = find_key(section, item.key);
      if (field == nullptr) {
        unknown_key(section, path, item.key, item.key_line);
      } else {
        read(field->value, item, field->attributes, child(path, field->key));
      }
    }
  }

  void read_as(const List& list, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    if (node.kind != YamlNode::Kind::list) return mismatch(node, path, kind_name(list));
    if (!list.reset && node.items.size() != list.size()) return mismatch(node, path, kind_name(list));
    if (list.reset) {
      // What an earlier list gave is gone with it.
      const std::string prefix = path + ".";
      std::erase_if(lines_, [&](const auto& entry) { return entry.first.starts_with(prefix); });
      list.reset(node.items.size());
    }
    for (size_t i = 0; i < node.items.size() && !full(); ++i) {
      read(list.at(i), node.items[i], attributes, child(path, std::to_string(i)));
    }
  }

  void read_as(const Optional& optional, const YamlNode& node, const Attributes& attributes, const std::string& path) {
    if (node.kind == YamlNode::Kind::null) return optional.reset();
    read(optional.value(), node, attributes, path);
  }

  static const Field* find_key(const Struct& section, const std::string& key) {
    const auto at = std::find_if(section.fields.begin(), section.fields.end(), [&](const Field& f) { return f.key == key; });
    return at == section.fields.end() ? nullptr : &*at;
  }

  // The field an override names; reports what is wrong with the name.
  std::optional<Field> find(const std::string& full_path) {
    Field at{"", root_, {}};
    std::string path;
    for (std::string& part : split(full_path, '.')) {
      if (const auto* optional = std::get_if<Optional>(&at.value.data)) at.value = Value(optional->value());
      if (const auto* section = std::get_if<Struct>(&at.value.data)) {
        const Field* field = find_key(*section, part);
        if (field == nullptr) return unknown_key(*section, path, part, 0), std::nullopt;
        at = Field(*field);
      } else if (const auto* list = std::get_if<List>(&at.value.data)) {
        size_t index = 0;
        if (parse_number(part, index) != std::errc{} || index >= list->size()) {
          problem(0, fmt::format("'{}' is no element of {}, which has {}", printable(part), path, list->size()));
          return std::nullopt;
        }
        at.value = Value(list->at(index));
      } else {
        problem(0, fmt::format("{} is {}, not a section", path, kind_name(at.value)));
        return std::nullopt;
      }
      path = child(path, part);
    }
    return at;
  }

  void unknown_key(const Struct& section, const std::string& path, const std::string& key, int line) {
    std::vector<std::string> known, elsewhere;
    for (const Field& field : section.fields) known.push_back(field.key);
    std::string hint = nearest_name(key, known);
    if (hint.empty()) {
      collect_paths(root_, "", key, elsewhere);
      if (!elsewhere.empty()) hint = elsewhere[0];
    } else {
      hint = child(path, hint);
    }
    std::string message = fmt::format("unknown key '{}'", printable(child(path, key)));
    if (hint == child(path, key)) {
      message += " (dots are for the command line; in a file, indent the key under its section)";
    } else if (!hint.empty()) {
      message += fmt::format(" (did you mean '{}'?)", hint);
    } else {
      message += fmt::format("; known{}: {}", path.empty() ? "" : " in " + path, fmt::join(known, ", "));
    }
    problem(line, message);
  }

  // The paths of sections that end in `key`.
  static void collect_paths(const Value& value, const std::string& path, const std::string& key,
                            std::vector<std::string>& found) {
    const auto* section = std::get_if<Struct>(&value.data);
    if (section == nullptr) return;
    for (const Field& field : section->fields) {
      const std::string here = child(path, field.key);
      if (field.key == key || here == key) found.push_back(here);
      collect_paths(field.value, here, key, found);
    }
  }

  // Calls `visit(section, path)` for every section there is, inner ones first.
  template <class Visit> static void for_each_section(const Value& value, const std::string& path, const Visit& visit) {
    if (const auto* section = std::get_if<Struct>(&value.data)) {
      for (const Field& field : section->fields) for_each_section(field.value, child(path, field.key), visit);
      visit(*section, path);
    } else if (const auto* list = std::get_if<List>(&value.data)) {
      for (size_t i = 0; i < list->size(); ++i) for_each_section(list->at(i), child(path, std::to_string(i)), visit);
    } else if (const auto* optional = std::get_if<Optional>(&value.data); optional != nullptr && optional->has_value()) {
      for_each_section(optional->value(), path, visit);
    }
  }

  void check_required(const Value& value, const std::string& path) {
    for_each_section(value, path, [&](const Struct& section, const std::string& here) {
      for (const Field& field : section.fields) {
        const std::string key = child(here, field.key);
        if (!field.attributes.required || lines_.contains(key)) continue;
        const std::string& help = field.attributes.help;
        const auto at = lines_.find(here);
        problem(at == lines_.end() ? 0 : at->second,
                fmt::format("missing key '{}'{}", key, help.empty() ? "" : " (" + help + ")"));
      }
    });
  }

  void validate(const Value& value, const std::string& path) {
    for_each_section(value, path, [&](const Struct& section, const std::string& here) {
      if (!section.validate) return;
      try {
        section.validate();
      } catch (const InputError& error) {
        const auto at = lines_.find(here);
        problem(at == lines_.end() ? 0 : at->second,
                fmt::format("{}{}{}", here.empty() ? "" : here + ": ", error.what(),
                            overrides_.empty() ? "" : fmt::format(" (with {} from the command line)", join(overrides_, " "))));
      }
    });
  }

  const Value& root_;
  const std::string& name_;
  std::string source_;
  bool with_lines_ = true, misread_section_ = false;
  std::map<std::string, int> lines_;  // of every key that was given; 0 on the command line
  std::vector<std::string> overrides_, problems_;
};

}  // namespace

void read(const Value& root, const std::string& text, const std::string& name, const std::vector<std::string>& overrides) {
  Reader reader(root, name);
  reader.read_file(text);
  for (const std::string& override_text : overrides) reader.apply(override_text);
  reader.finish();
}

void read_section(const Value& root, const std::string& text, const std::string& name, const std::string& key) {
  Reader reader(root, name);
  reader.read_section(text, key);
  reader.finish();
}

std::string read_config_file(const std::filesystem::path& file) { return read_file(file, int64_t{1} << 20); }

}  // namespace relume::detail
