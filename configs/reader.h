// Configuration: YAML to plain structs and back (design D10). A struct lists its fields once; from that list come reading with
// line-numbered errors, overrides from the command line, writing, and the text of --help.
//
//   struct SwinIRConfig {
//     int embed_dim = 180, window_size = 8;
//     std::vector<int> depths{6, 6, 6, 6, 6, 6, 6, 6}, num_heads{6, 6, 6, 6, 6, 6, 6, 6};
//     std::string upsampler = "nearest+conv";
//     void fields(auto&& v) {
//       v("embed_dim", embed_dim, Range{1, 4096}, "width of the network");
//       v("window_size", window_size, Range{1, 64}, "side of an attention window in pixels");
//       v("depths", depths, Range{1, 64}, "blocks of each group");            // a range holds for every element
//       v("num_heads", num_heads, Range{1, 64});
//       v("upsampler", upsampler, OneOf{{"nearest+conv", "pixelshuffle", ""}}, "how the picture is enlarged");
//     }
//     void validate() const {                                                   // rules between fields; optional
//       RELUME_CHECK(depths.size() == num_heads.size(), "depths has ", depths.size(), " entries, num_heads ",
//       num_heads.size());
//     }
//   };
//   struct Stage1Config {
//     SwinIRConfig model;
//     std::string folder;
//     std::array<double, 2> blur_sigma{0.1, 12};
//     void fields(auto&& v) {
//       v("model", model, "the network");
//       v("folder", folder, Required{}, "a folder of pictures");
//       v("blur_sigma", blur_sigma, Range{0, 100}, "least and greatest width of the blur, pixels");
//     }
//   };
//   const auto config = read_config<Stage1Config>("stage1.yaml", {"model.window_size=16", "folder=photos"});
//   write_file_atomically(output / "config.yaml", to_yaml(config));
//
// A field is bool, int, int64_t, double, std::string, another such struct, or a std::vector, std::array or std::optional of
// these (null: no value). After the name and the member stand, in any order: Range, OneOf, Required, and the help text.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace relume {

// A field in which two configurations differ, its key dotted as in overrides and its values as YAML has them in one line.
struct Difference {
  std::string key, before, after;
};

// Bounds of a number, both included; of every element if the field is a list.
struct Range {
  double min = -std::numeric_limits<double>::infinity(), max = std::numeric_limits<double>::infinity();
};

// The texts a std::string field may have; every element if the field is a list.
struct OneOf {
  std::vector<std::string> choices;
};

// The field has no default: a configuration without it is refused.
struct Required {};

namespace detail {

struct Attributes {
  std::string help;
  Range range;
  std::vector<std::string> choices;
  bool required = false;
  void add(const char* text) { help = text; }
  void add(Range bounds) { range = bounds; }
  void add(OneOf one_of) { choices = std::move(one_of.choices); }
  void add(Required) { required = true; }
};

struct Field;
struct Value;

// A struct, a list, an optional with their types erased; they point into the configuration, which must stay where it is.
struct Struct {
  std::vector<Field> fields;
  std::function<void()> validate;  // may be empty
};
struct List {
  std::function<size_t()> size;
  std::function<void(size_t)> reset;  // to so many elements with their defaults; empty if the length is fixed
  std::function<Value(size_t)> at;
};
struct Optional {
  std::function<bool()> has_value;
  std::function<void()> reset;
  std::function<Value()> value;  // made first if there is none
};
struct Value {
  std::variant<bool*, int*, int64_t*, double*, std::string*, Struct, List, Optional> data;
};
struct Field {
  std::string key;
  Value value;
  Attributes attributes;
};

template <class T> struct Leaf { using Type = T; };
template <class T> struct Leaf<std::vector<T>> : Leaf<T> {};
template <class T, size_t n> struct Leaf<std::array<T, n>> : Leaf<T> {};
template <class T> struct Leaf<std::optional<T>> : Leaf<T> {};

template <class T> Value bind(T& x);
template <class T> Value bind_list(T& x) {
  List list{.size = [&x] { return x.size(); }, .reset = nullptr, .at = [&x](size_t i) { return bind(x[i]); }};
  if constexpr (requires { x.resize(1); }) {
    list.reset = [&x](size_t size) {
      x.clear();
      x.resize(size);
    };
  }
  return {std::move(list)};
}
template <class T> Value bind_special(std::vector<T>& x) { return bind_list(x); }
template <class T, size_t n> Value bind_special(std::array<T, n>& x) { return bind_list(x); }
template <class T> Value bind_special(std::optional<T>& x) {
  return {Optional{.has_value = [&x] { return x.has_value(); },
                   .reset = [&x] { x.reset(); },
                   .value = [&x] { return bind(x ? *x : x.emplace()); }}};
}

// Collects the fields of a struct: what `fields(v)` gets as `v`.
struct Collector {
  std::vector<Field> fields;
  template <class T, class... A> void operator()(const char* key, T& member, A&&... attributes) {
    using Type = typename Leaf<T>::Type;
    static_assert(
        (!std::is_same_v<std::decay_t<A>, Range> && ...) || (std::is_arithmetic_v<Type> && !std::is_same_v<Type, bool>),
        "Range is for numbers");
    static_assert((!std::is_same_v<std::decay_t<A>, OneOf> && ...) || std::is_same_v<Type, std::string>, "OneOf is for texts");
    Field field{key, bind(member), {}};
    (field.attributes.add(std::forward<A>(attributes)), ...);
    fields.push_back(std::move(field));
  }
};

template <class T> Value bind(T& x) {
  if constexpr (requires(Collector v) { x.fields(v); }) {
    Collector collector;
    x.fields(collector);
    Struct result{std::move(collector.fields), nullptr};
    if constexpr (requires { x.validate(); }) result.validate = [&x] { x.validate(); };
    return {std::move(result)};
  } else if constexpr (requires { bind_special(x); }) {
    return bind_special(x);
  } else {
    static_assert(
        requires(Value v) { v.data = &x; },
        "a field is bool, int, int64_t, double, std::string, a struct with fields(), "
        "or a vector, array or optional of these");
    return {&x};
  }
}

void read(const Value& root, const std::string& text, const std::string& name, const std::vector<std::string>& overrides);
void read_section(const Value& root, const std::string& text, const std::string& name, const std::string& key);
std::string read_config_file(const std::filesystem::path& file);
std::string write(const Value& root, bool with_help);
std::string describe(const Value& root);
std::vector<Difference> differences(const Value& before, const Value& after);

}  // namespace detail

// The configuration in `text`, then each of `overrides` ("train.steps=1000": a dotted key, list elements by number, and a value
// in YAML; for a std::string field the text as it stands unless it is quoted). Throws one InputError with a line for each
// problem, "name:line: ..." or "command line: key=value: ...": syntax, unknown or repeated keys, wrong types, values out of
// range, missing required keys, and what validate() says. Anchors, tags, several documents and nesting deeper than 32 are
// refused.
template <class C>
C read_config_text(const std::string& text, const std::string& name, const std::vector<std::string>& overrides = {}) {
  C config;
  detail::read(detail::bind(config), text, name, overrides);
  return config;
}

// The same from a file of at most 1 MiB.
template <class C> C read_config(const std::filesystem::path& file, const std::vector<std::string>& overrides = {}) {
  return read_config_text<C>(detail::read_config_file(file), file.string(), overrides);
}

// What stands under `key` in a larger configuration, whose other keys are not looked at: the network of a recorded training.
template <class C> C read_config_section(const std::string& text, const std::string& name, const std::string& key) {
  C config;
  detail::read_section(detail::bind(config), text, name, key);
  return config;
}

// The configuration as YAML with every key; reading it gives an equal one, to the last bit. `with_help` adds the help texts as
// comments. Throws InputError for what YAML cannot hold: infinities, text that is not UTF-8.
template <class C> std::string to_yaml(const C& config, bool with_help = false) {
  C copy = config;
  return detail::write(detail::bind(copy), with_help);
}

// The fields in which two configurations of one kind differ, in the order of their declaration; a list counts as one field.
template <class C> std::vector<Difference> differences(const C& before, const C& after) {
  C a = before, b = after;
  return detail::differences(detail::bind(a), detail::bind(b));
}

// One line for each key, dotted as in overrides: default, type and range, help.
template <class C> std::string describe() {
  C config;
  return detail::describe(detail::bind(config));
}

}  // namespace relume
