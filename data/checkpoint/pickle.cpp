#include "data/checkpoint/pickle.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/pickle_globals.h"

namespace relume {
namespace {

static_assert(std::endian::native == std::endian::little, "pickles store numbers little-endian");

constexpr size_t max_values = size_t(1) << 21, max_marks = 1000, max_text = size_t(1) << 24, max_memo_gap = 1024;
constexpr size_t max_integer = 255;  // bytes

// Opcodes that build what a checkpoint has no use for, by name for the message that refuses them.
const char* refused_opcode(int op) {
  switch (op) {
    case 'P': return "PERSID";
    case 'o': return "OBJ";
    case 0x81: return "NEWOBJ";
    case 0x82: return "EXT1";
    case 0x83: return "EXT2";
    case 0x84: return "EXT4";
    case 0x8f: return "EMPTY_SET";
    case 0x90: return "ADDITEMS";
    case 0x91: return "FROZENSET";
    case 0x92: return "NEWOBJ_EX";
    case 0x96: return "BYTEARRAY8";
    case 0x97: return "NEXT_BUFFER";
    case 0x98: return "READONLY_BUFFER";
    default: return nullptr;
  }
}

class Machine {
 public:
  explicit Machine(std::string_view bytes) : bytes_(bytes) {}

  PickleDocument run(const std::string& where) {
    try {
      bool more = true;
      while (more) {
        op_at_ = at_;
        more = step(byte());
      }
    } catch (const InputError& e) {
      throw InputError(detail::concat(where, ": byte ", op_at_, " of its pickle: ", e.what()));
    }
    document_.bytes = at_;
    return std::move(document_);
  }

 private:
  // One opcode; false after the last.
  bool step(int op) {
    if (op == '.') {
      document_.root = pop();
      return false;
    }
    if (number_opcode(op) || text_opcode(op) || container_opcode(op) || memory_opcode(op) || object_opcode(op)) return true;
    const char* name = refused_opcode(op);
    RELUME_CHECK(!name, "refuses the opcode ", name, ", which PyTorch does not write for tensors and plain values");
    throw InputError(fmt::format("unknown opcode 0x{:02x}", op));
  }

  bool number_opcode(int op) {
    switch (op) {
      case 'N': return push({}), true;
      case 0x88: return push_boolean(true), true;
      case 0x89: return push_boolean(false), true;
      case 'J': return push_integer(number<int32_t>()), true;
      case 'K': return push_integer(number<uint8_t>()), true;
      case 'M': return push_integer(number<uint16_t>()), true;
      case 'I': return decimal(line()), true;
      case 'L': {
        const std::string_view digits = line();
        return decimal(digits.ends_with('L') ? digits.substr(0, digits.size() - 1) : digits), true;
      }
      case 0x8a: return binary_integer(number<uint8_t>()), true;
      case 0x8b: return binary_integer(number<uint32_t>()), true;
      case 'F': return push_real(parsed<double>(line())), true;
      case 'G': return push_real(std::bit_cast<double>(__builtin_bswap64(number<uint64_t>()))), true;
      default: return false;
    }
  }

  bool text_opcode(int op) {
    switch (op) {
      case 'X': return push_text(take(number<uint32_t>())), true;
      case 0x8c: return push_text(take(number<uint8_t>())), true;
      case 0x8d: return push_text(take(number<uint64_t>())), true;
      case 'T': return push_string(take(number<uint32_t>())), true;  // texts of Python 2
      case 'U': return push_string(take(number<uint8_t>())), true;
      case 'B': return push_bytes(take(number<uint32_t>())), true;
      case 'C': return push_bytes(take(number<uint8_t>())), true;
      case 0x8e: return push_bytes(take(number<uint64_t>())), true;
      case 'V': return push_text(plain(line())), true;
      case 'S': {
        const std::string_view quoted = line();
        RELUME_CHECK(quoted.size() >= 2 && quoted.front() == quoted.back() && (quoted[0] == '\'' || quoted[0] == '"'),
                     "a text without its quotes");
        return push_text(plain(quoted.substr(1, quoted.size() - 2))), true;
      }
      default: return false;
    }
  }

  bool container_opcode(int op) {
    switch (op) {
      case ']': return push(container(PickleKind::list, 0)), true;
      case '}': return push(container(PickleKind::dict, 0)), true;
      case ')': return push(container(PickleKind::tuple, 0)), true;
      case 'l': return push(container(PickleKind::list, pop_mark())), true;
      case 't': return push(container(PickleKind::tuple, pop_mark())), true;
      case 'd': return push(dict(pop_mark())), true;
      case 0x85: return push(container(PickleKind::tuple, 1)), true;
      case 0x86: return push(container(PickleKind::tuple, 2)), true;
      case 0x87: return push(container(PickleKind::tuple, 3)), true;
      case 'a': return extend(PickleKind::list, 1), true;
      case 'e': return extend(PickleKind::list, pop_mark()), true;
      case 's': return extend(PickleKind::dict, 2), true;
      case 'u': return extend(PickleKind::dict, pop_mark()), true;
      default: return false;
    }
  }

  bool memory_opcode(int op) {
    switch (op) {
      case '(':
        RELUME_CHECK(marks_.size() < max_marks, "values nested more than ", max_marks, " deep");
        return marks_.push_back(stack_.size()), true;
      case '0': return drop(), true;
      case '1': return stack_.resize(stack_.size() - pop_mark()), true;
      case '2': return push(top()), true;
      case 'g': return recall(parsed<uint64_t>(line())), true;
      case 'h': return recall(number<uint8_t>()), true;
      case 'j': return recall(number<uint32_t>()), true;
      case 'p': return memoise(parsed<uint64_t>(line())), true;
      case 'q': return memoise(number<uint8_t>()), true;
      case 'r': return memoise(number<uint32_t>()), true;
      case 0x94: return memoise(memo_.size()), true;
      case 0x80: {
        const int protocol = byte();
        RELUME_CHECK(protocol <= 5, "protocol ", protocol, ", 0 to 5 are read");
        return true;
      }
      case 0x95: {
        const uint64_t frame = number<uint64_t>();
        RELUME_CHECK(frame <= bytes_.size() - at_, "truncated: a frame of ", frame, " bytes, ", bytes_.size() - at_, " follow");
        return true;
      }
      default: return false;
    }
  }

  bool object_opcode(int op) {
    switch (op) {
      case 'c': {
        const std::string_view module = line(), name = line();
        return push(known_global(module, name)), true;
      }
      case 0x93: {
        const PickleValue name = pop(), module = pop();
        RELUME_CHECK(name.kind == PickleKind::text && module.kind == PickleKind::text, "a global whose name is no text");
        return push(known_global(module.text, name.text)), true;
      }
      case 'i': {
        const std::string_view module = line(), name = line();
        known_global(module, name);
        throw InputError(fmt::format("refuses to make an object of {}.{} (opcode INST)", printable(module), printable(name)));
      }
      case 'R': {
        const PickleValue arguments = pop(), callable = pop();
        return push(call_global(document_, callable, arguments)), true;
      }
      case 'b': {
        const PickleValue state = pop();
        return check_state(document_, top(), state), true;
      }
      case 'Q': return push(storage_of(document_, pop())), true;
      default: return false;
    }
  }

  // Bytes of the pickle.
  int byte() { return number<uint8_t>(); }
  template <class T> T number() {
    T value;
    RELUME_CHECK(sizeof value <= bytes_.size() - at_, "truncated: the pickle ends before its STOP; fetch the file again");
    std::memcpy(&value, bytes_.data() + at_, sizeof value);
    at_ += sizeof value;
    return value;
  }
  std::string_view take(uint64_t count) {
    RELUME_CHECK(count <= max_text, "a text of ", count, " bytes, at most ", max_text, " are read");
    RELUME_CHECK(count <= bytes_.size() - at_, "truncated: a text of ", count, " bytes, ", bytes_.size() - at_,
                 " follow; fetch the file again");
    const std::string_view part = bytes_.substr(at_, size_t(count));
    at_ += part.size();
    return part;
  }
  std::string_view line() {
    const size_t end = bytes_.substr(at_, max_text).find('\n');
    RELUME_CHECK(end != std::string_view::npos, "a line without an end");
    const std::string_view text = bytes_.substr(at_, end);
    at_ += end + 1;
    return text;
  }
  template <class T> static T parsed(std::string_view text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    RELUME_CHECK(error == std::errc{} && end == text.data() + text.size(), "'", printable(text),
                 "' is not a number that is held");
    return value;
  }
  static std::string_view plain(std::string_view text) {
    RELUME_CHECK(std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7F && c != '\\'; }), "the text '",
                 printable(text), "' has escapes, which are not read in this protocol; save the file with protocol 2");
    return text;
  }

  // Values on the stack, above the latest mark.
  size_t above_mark() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }
  const PickleValue& top() const {
    RELUME_CHECK(above_mark() > 0, "a value is missing on the stack");
    return stack_.back();
  }
  PickleValue pop() {
    const PickleValue value = top();
    stack_.pop_back();
    return value;
  }
  void drop() {  // POP also takes a mark that nothing follows
    if (above_mark() == 0 && !marks_.empty()) return marks_.pop_back();
    pop();
  }
  size_t pop_mark() {
    RELUME_CHECK(!marks_.empty(), "a mark is missing on the stack");
    const size_t count = above_mark();
    marks_.pop_back();
    return count;
  }
  void push(const PickleValue& value) {
    RELUME_CHECK(stack_.size() < max_values, "more than ", max_values, " values on the stack");
    stack_.push_back(value);
  }
  void push_boolean(bool x) {
    PickleValue value{.kind = PickleKind::boolean};
    value.number = x;
    push(value);
  }
  void push_integer(int64_t x) {
    PickleValue value{.kind = PickleKind::integer};
    value.number = x;
    push(value);
  }
  void push_real(double x) {
    PickleValue value{.kind = PickleKind::floating};
    value.real = x;
    push(value);
  }
  void push_text(std::string_view text) {
    RELUME_CHECK(is_utf8(text), "the text '", printable(text), "' is not UTF-8");
    push({.kind = PickleKind::text, .text = text});
  }
  void push_string(std::string_view text) {
    push({.kind = is_utf8(text) ? PickleKind::text : PickleKind::bytes, .text = text});
  }
  void push_bytes(std::string_view text) { push({.kind = PickleKind::bytes, .text = text}); }

  void decimal(std::string_view digits) {
    if (digits == "00" || digits == "01") return push_boolean(digits == "01");  // protocols 0 and 1 have no others
    push_integer(parsed<int64_t>(digits));
  }
  void binary_integer(uint64_t bytes) {
    RELUME_CHECK(bytes <= max_integer, "an integer of ", bytes, " bytes, at most ", max_integer, " are read");
    const std::string_view digits = take(bytes);
    if (digits.size() > 8) return push({.kind = PickleKind::wide_integer, .text = digits});
    int64_t value = !digits.empty() && (digits.back() & 0x80) ? -1 : 0;
    std::memcpy(&value, digits.data(), digits.size());
    push_integer(value);
  }

  // A container of the topmost `count` values, which it takes from the stack.
  PickleValue container(PickleKind kind, size_t count) {
    RELUME_CHECK(count <= above_mark(), "a value is missing on the stack");
    document_.charge(count + 1);
    PickleValue value{.kind = kind};
    value.number = int64_t(document_.items.size());
    document_.items.emplace_back(stack_.end() - int64_t(count), stack_.end());
    stack_.resize(stack_.size() - count);
    return value;
  }
  PickleValue dict(size_t count) {
    RELUME_CHECK(count % 2 == 0, "a dict with a key that has no value");
    return container(PickleKind::dict, count);
  }
  void extend(PickleKind kind, size_t count) {
    RELUME_CHECK(above_mark() > count, "a value is missing on the stack");
    RELUME_CHECK(kind == PickleKind::list || count % 2 == 0, "a dict with a key that has no value");
    const auto first = stack_.end() - int64_t(count);
    const PickleValue& target = *(first - 1);
    RELUME_CHECK(target.kind == kind, "adds to ", describe(document_, target), ", which is no ",
                 kind == PickleKind::list ? "list" : "dict");
    document_.charge(count);
    std::vector<PickleValue>& items = document_.items[size_t(target.number)];
    items.insert(items.end(), first, stack_.end());
    stack_.resize(stack_.size() - count);
  }

  void memoise(uint64_t index) {
    const PickleValue value = top();
    RELUME_CHECK(index <= memo_.size() + max_memo_gap, "memo entry ", index, " where there are ", memo_.size());
    if (index >= memo_.size()) {
      document_.charge(size_t(index) + 1 - memo_.size());
      memo_.resize(size_t(index) + 1);
    }
    memo_[size_t(index)] = value;
  }
  void recall(uint64_t index) {
    RELUME_CHECK(index < memo_.size() && memo_[size_t(index)], "memo entry ", index, " was never stored");
    push(*memo_[size_t(index)]);
  }

  std::string_view bytes_;
  size_t at_ = 0, op_at_ = 0;
  PickleDocument document_;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;  // heights of the stack
  std::vector<std::optional<PickleValue>> memo_;
};

}  // namespace

void PickleDocument::charge(size_t values) {
  charged += values;
  RELUME_CHECK(charged <= max_values, "more than ", max_values, " values");
}

PickleDocument read_pickle(std::string_view bytes, const std::string& where) { return Machine(bytes).run(where); }

std::string describe(const PickleDocument& document, const PickleValue& value) {
  const auto counted = [&](const char* what, size_t per_item) {
    return fmt::format("a {} of {}", what, document.items_of(value).size() / per_item);
  };
  switch (value.kind) {
    case PickleKind::none: return "None";
    case PickleKind::boolean: return value.number ? "true" : "false";
    case PickleKind::integer: return std::to_string(value.number);
    case PickleKind::wide_integer: return fmt::format("an integer of {} bytes", value.text.size());
    case PickleKind::floating: return fmt::format("{}", value.real);
    case PickleKind::text: return "'" + printable(value.text) + "'";
    case PickleKind::bytes: return fmt::format("{} bytes", value.text.size());
    case PickleKind::list: return counted("list", 1);
    case PickleKind::tuple: return counted("tuple", 1);
    case PickleKind::dict: return counted("dict", 2);
    case PickleKind::tensor: return "a tensor";
    case PickleKind::global: return "a global";
    case PickleKind::storage: return "a storage";
    case PickleKind::numpy_dtype: return "a number type of NumPy";
  }
  return {};
}

}  // namespace relume
