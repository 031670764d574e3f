#include "configs/yaml_tree.h"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <sstream>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace relume::detail {

namespace {

constexpr size_t deepest = 32;

// Builds the tree from yaml-cpp's events rather than from its own nodes, which keep neither quotes nor repeated keys and
// resolve aliases before anyone can refuse them.
class Builder : public YAML::EventHandler {
 public:
  Builder(const std::string& where, bool with_lines) : where_(where), with_lines_(with_lines) {}

  YamlNode root;
  int documents = 0;

  [[noreturn]] void fail(int line, const std::string& message) const {
    throw InputError(with_lines_ && line > 0 ? fmt::format("{}:{}: {}", where_, line, message)
                                             : fmt::format("{}: {}", where_, message));
  }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (++documents > 1) fail(mark.line + 1, "a second document begins here; a configuration is one");
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    check(mark, "", anchor);
    add(node(YamlNode::Kind::null, mark));
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse_anchor(mark); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    check(mark, tag, anchor);
    YamlNode scalar = node(YamlNode::Kind::scalar, mark);
    scalar.quoted = tag == "!";
    scalar.text = value;
    add(std::move(scalar));
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(YamlNode::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    YamlNode node;
    bool has_key = false;
    std::string key;
    int key_line = 0;
    std::unordered_map<std::string, int> lines_of_keys;
  };

  static YamlNode node(YamlNode::Kind kind, const YAML::Mark& mark) {
    YamlNode result;
    result.kind = kind;
    result.line = mark.line + 1;
    return result;
  }

  void check(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) const {
    if (anchor != YAML::NullAnchor) refuse_anchor(mark);
    // "?" stands for a plain scalar without a tag, "!" for a quoted one.
    if (!tag.empty() && tag != "?" && tag != "!") {
      fail(mark.line + 1,
           fmt::format("tags (here '{}') are not supported; put text that begins with ! in quotes", printable(tag)));
    }
  }

  [[noreturn]] void refuse_anchor(const YAML::Mark& mark) const {
    fail(mark.line + 1, "anchors and aliases (& and *) are not supported; write the value out, in quotes if it is text");
  }

  void open(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    check(mark, tag, anchor);
    if (!open_.empty() && open_.back().node.kind == YamlNode::Kind::map && !open_.back().has_key) {
      // An unclosed bracket, which may yet become a key, arrives here too.
      fail(mark.line + 1, "a key must be plain text, not a list or a map; or a bracket is not closed");
    }
    if (open_.size() >= deepest) fail(mark.line + 1, fmt::format("nested deeper than {} levels", deepest));
    open_.emplace_back().node = node(kind, mark);
  }

  void close() {
    YamlNode done = std::move(open_.back().node);
    open_.pop_back();
    add(std::move(done));
  }

  void add(YamlNode done) {
    if (open_.empty()) {
      root = std::move(done);
      return;
    }
    Open& parent = open_.back();
    if (parent.node.kind == YamlNode::Kind::map && !parent.has_key) {
      if (done.kind != YamlNode::Kind::scalar) fail(done.line, "a key must be plain text, not empty");
      const auto [earlier, first] = parent.lines_of_keys.emplace(done.text, done.line);
      if (!first) {
        fail(done.line, fmt::format("key '{}' stands twice{}", printable(done.text),
                                    with_lines_ ? fmt::format(", first in line {}", earlier->second) : ""));
      }
      parent.has_key = true;
      parent.key = std::move(done.text);
      parent.key_line = done.line;
      return;
    }
    if (parent.has_key) {
      done.key = std::move(parent.key);
      done.key_line = parent.key_line;
      parent.has_key = false;
    }
    parent.node.items.push_back(std::move(done));
  }

  const std::string& where_;
  const bool with_lines_;
  std::vector<Open> open_;
};

}  // namespace

YamlNode parse_yaml(const std::string& text, const std::string& where, bool with_lines) {
  Builder builder(where, with_lines);
  if (!is_text(text)) builder.fail(0, "is not text in UTF-8");
  std::istringstream stream(text);
  try {
    YAML::Parser parser(stream);
    while (parser.HandleNextDocument(builder)) continue;
  } catch (const YAML::Exception& error) {
    builder.fail(error.mark.is_null() ? 0 : error.mark.line + 1, "not valid YAML: " + error.msg);
  }
  return std::move(builder.root);
}

bool is_text(const std::string& text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t k) { return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0u; };
    const unsigned lead = byte(0);
    const size_t length = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (lead == 0 || length == 0) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(k) & 0xC0) != 0x80) return false;
    }
    // Longer forms of shorter characters, surrogates, and what lies above U+10FFFF.
    if ((lead == 0xE0 && byte(1) < 0xA0) || (lead == 0xED && byte(1) > 0x9F) || (lead == 0xF0 && byte(1) < 0x90) ||
        (lead == 0xF4 && byte(1) > 0x8F)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace relume::detail
