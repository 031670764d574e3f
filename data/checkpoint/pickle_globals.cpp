#include "data/checkpoint/pickle_globals.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "tensor/core/half.h"

namespace relume {
namespace {

constexpr size_t max_rank = 64;                  // PyTorch's own
constexpr size_t max_key = 256;                  // bytes of a storage's key: it is compared for each of its tensors
constexpr size_t max_encoded = size_t(1) << 20;  // bytes of one text
constexpr size_t bytes_per_value = 32;           // what an encoded text costs

constexpr TorchType types[] = {
    {"float32", 4, DType::f32},
    {"float64", 8, DType::f64},
    {"float16", 2, DType::f16},
    {"bfloat16", 2, DType::bf16},
    {"uint8", 1, DType::u8},
    {"int32", 4, DType::i32},
    {"int64", 8, DType::i64},
    {"bool", 1, DType::boolean},
    {"int8", 1, {}},
    {"int16", 2, {}},
    {"uint16", 2, {}},
    {"uint32", 4, {}},
    {"uint64", 8, {}},
    {"complex32", 4, {}},
    {"complex64", 8, {}},
    {"complex128", 16, {}},
    {"qint8", 1, {}},
    {"quint8", 1, {}},
    {"qint32", 4, {}},
    {"float8_e4m3fn", 1, {}},
    {"float8_e4m3fnuz", 1, {}},
    {"float8_e5m2", 1, {}},
    {"float8_e5m2fnuz", 1, {}},
    {"float8_e8m0fnu", 1, {}},
};
constexpr TorchType untyped{"untyped", 1, {}};

constexpr const TorchType* type_named(std::string_view name) {
  for (const TorchType& t : types)
    if (t.name == name) return &t;
  return nullptr;
}

enum class Meaning {
  ordered_dict,
  tensor,
  tensor_v2,
  tensor_v3,
  parameter,
  parameter_with_state,
  tensor_of_type,
  tensor_class,
  storage_class,
  size,
  dtype,
  numpy_dtype,
  numpy_scalar,
  encode,
  empty_bytes,
};

struct Global {
  std::string_view module, name;
  Meaning meaning;
  const TorchType* type = nullptr;
};

// The whole list. Python 3 writes Python 2's names of modules in protocol 2; NumPy 2 moved its own.
constexpr Global globals[] = {
    {"collections", "OrderedDict", Meaning::ordered_dict},
    {"torch._utils", "_rebuild_tensor", Meaning::tensor},
    {"torch._utils", "_rebuild_tensor_v2", Meaning::tensor_v2},
    {"torch._utils", "_rebuild_tensor_v3", Meaning::tensor_v3},
    {"torch._utils", "_rebuild_parameter", Meaning::parameter},
    {"torch._utils", "_rebuild_parameter_with_state", Meaning::parameter_with_state},
    {"torch._tensor", "_rebuild_from_type_v2", Meaning::tensor_of_type},
    {"torch", "Tensor", Meaning::tensor_class},
    {"torch.nn.parameter", "Parameter", Meaning::tensor_class},
    {"torch", "Size", Meaning::size},
    {"numpy", "dtype", Meaning::numpy_dtype},
    {"numpy.core.multiarray", "scalar", Meaning::numpy_scalar},
    {"numpy._core.multiarray", "scalar", Meaning::numpy_scalar},
    {"_codecs", "encode", Meaning::encode},
    {"__builtin__", "bytes", Meaning::empty_bytes},
    {"builtins", "bytes", Meaning::empty_bytes},
    {"torch", "FloatStorage", Meaning::storage_class, type_named("float32")},
    {"torch", "DoubleStorage", Meaning::storage_class, type_named("float64")},
    {"torch", "HalfStorage", Meaning::storage_class, type_named("float16")},
    {"torch", "BFloat16Storage", Meaning::storage_class, type_named("bfloat16")},
    {"torch", "ByteStorage", Meaning::storage_class, type_named("uint8")},
    {"torch", "IntStorage", Meaning::storage_class, type_named("int32")},
    {"torch", "LongStorage", Meaning::storage_class, type_named("int64")},
    {"torch", "BoolStorage", Meaning::storage_class, type_named("bool")},
    {"torch", "CharStorage", Meaning::storage_class, type_named("int8")},
    {"torch", "ShortStorage", Meaning::storage_class, type_named("int16")},
    {"torch", "ComplexFloatStorage", Meaning::storage_class, type_named("complex64")},
    {"torch", "ComplexDoubleStorage", Meaning::storage_class, type_named("complex128")},
    {"torch", "QInt8Storage", Meaning::storage_class, type_named("qint8")},
    {"torch", "QUInt8Storage", Meaning::storage_class, type_named("quint8")},
    {"torch", "QInt32Storage", Meaning::storage_class, type_named("qint32")},
    {"torch.storage", "UntypedStorage", Meaning::storage_class, &untyped},
    {"torch", "UntypedStorage", Meaning::storage_class, &untyped},
};

std::string name_of(const Global& g) { return detail::concat(g.module, '.', g.name); }

PickleValue value_of(PickleKind kind, int64_t number, std::string_view text = {}) {
  PickleValue value{.kind = kind, .text = text};
  value.number = number;
  return value;
}

// A value for a global: its place in `globals`; for a dtype, behind them, its place in `types`.
PickleValue global_value(size_t index) { return value_of(PickleKind::global, int64_t(index)); }
Global global_of(const PickleValue& value) {
  const size_t index = size_t(value.number), count = std::size(globals);
  if (index < count) return globals[index];
  const TorchType& type = types[index - count];
  return {"torch", type.name, Meaning::dtype, &type};
}

// The arguments of one call, whose kinds are checked as they are asked for.
class Arguments {
 public:
  Arguments(const PickleDocument& document, const std::vector<PickleValue>& values, std::string what)
      : document_(document), values_(values), what_(std::move(what)) {}

  void expect_count(size_t least, size_t most) const {
    RELUME_CHECK(values_.size() >= least && values_.size() <= most, what_, " is given ", values_.size(), " arguments, ", least,
                 least == most ? "" : detail::concat(" to ", most), " expected");
  }
  size_t count() const { return values_.size(); }
  const PickleValue& at(size_t i, PickleKind kind, const char* expected) const {
    RELUME_CHECK(values_[i].kind == kind, what_, ": argument ", i + 1, " is ", describe(document_, values_[i]), ", ", expected,
                 " expected");
    return values_[i];
  }
  int64_t integer(size_t i) const { return at(i, PickleKind::integer, "an integer").number; }
  Global global(size_t i, Meaning meaning, const char* expected) const {
    const Global g = global_of(at(i, PickleKind::global, expected));
    RELUME_CHECK(g.meaning == meaning, what_, ": argument ", i + 1, " is ", name_of(g), ", ", expected, " expected");
    return g;
  }
  std::vector<int64_t> integers(size_t i) const {
    const PickleValue& list = values_[i];
    RELUME_CHECK(list.kind == PickleKind::tuple || list.kind == PickleKind::list, what_, ": argument ", i + 1, " is ",
                 describe(document_, list), ", a tuple of integers expected");
    const std::vector<PickleValue>& items = document_.items_of(list);
    RELUME_CHECK(items.size() <= max_rank, what_, ": argument ", i + 1, " has ", items.size(), " numbers, at most ", max_rank,
                 " expected");
    std::vector<int64_t> numbers;
    for (const PickleValue& item : items) {
      RELUME_CHECK(item.kind == PickleKind::integer, what_, ": argument ", i + 1, " holds ", describe(document_, item),
                   ", integers expected");
      numbers.push_back(item.number);
    }
    return numbers;
  }

 private:
  const PickleDocument& document_;
  const std::vector<PickleValue>& values_;
  std::string what_;
};

// A storage value points at one of these, kept as a tensor without sizes: which storage, and which part of it.
PickleValue add_tensor(PickleDocument& document, PickleKind kind, TorchTensor tensor) {
  document.charge(4 + tensor.sizes.size() + tensor.strides.size());
  document.tensors.push_back(std::move(tensor));
  return value_of(kind, int64_t(document.tensors.size()) - 1);
}

PickleValue rebuilt_tensor(PickleDocument& document, const Arguments& a, Meaning version) {
  if (version == Meaning::tensor) a.expect_count(4, 4);
  if (version == Meaning::tensor_v2) a.expect_count(6, 7);
  if (version == Meaning::tensor_v3) a.expect_count(7, 8);
  // What follows, whether it wants gradients and its hooks, is no part of a tensor's value.
  TorchTensor tensor = document.tensors[size_t(a.at(0, PickleKind::storage, "a storage").number)];
  tensor.offset = a.integer(1), tensor.sizes = a.integers(2), tensor.strides = a.integers(3);
  if (version == Meaning::tensor_v3) tensor.type = a.global(6, Meaning::dtype, "a dtype").type;
  return add_tensor(document, PickleKind::tensor, std::move(tensor));
}

PickleValue ordered_dict(PickleDocument& document, const Arguments& a, const std::vector<PickleValue>& arguments) {
  a.expect_count(0, 1);
  std::vector<PickleValue> items;
  if (a.count() == 1) {  // Python 2 gives a list of pairs
    const std::vector<PickleValue>& pairs = document.items_of(a.at(0, PickleKind::list, "a list of pairs"));
    document.charge(2 * pairs.size());
    for (const PickleValue& pair : pairs) {
      const bool two = (pair.kind == PickleKind::list || pair.kind == PickleKind::tuple) && document.items_of(pair).size() == 2;
      RELUME_CHECK(two, "collections.OrderedDict: ", describe(document, arguments[0]), " holds ", describe(document, pair),
                   ", pairs expected");
      items.insert(items.end(), document.items_of(pair).begin(), document.items_of(pair).end());
    }
  }
  document.charge(1);
  document.items.push_back(std::move(items));
  return value_of(PickleKind::dict, int64_t(document.items.size()) - 1);
}

// A text encoded as Latin-1, which is how protocol 2 writes bytes.
PickleValue encoded(PickleDocument& document, const Arguments& a) {
  a.expect_count(2, 2);
  const std::string_view text = a.at(0, PickleKind::text, "a text").text, encoding = a.at(1, PickleKind::text, "a text").text;
  RELUME_CHECK(encoding == "latin1", "_codecs.encode: the encoding '", printable(encoding), "', only latin1 is read");
  RELUME_CHECK(text.size() <= max_encoded, "_codecs.encode: a text of ", text.size(), " bytes, at most ", max_encoded,
               " are read");
  document.charge(1 + text.size() / bytes_per_value);
  std::string& bytes = document.owned.emplace_back();
  for (size_t i = 0; i < text.size(); ++i) {  // UTF-8: one byte up to U+007F, two up to U+00FF, which begin with C2 or C3
    const auto lead = static_cast<unsigned char>(text[i]);
    RELUME_CHECK(lead <= 0xC3, "_codecs.encode: the text '", printable(text), "' is not Latin-1");
    bytes += lead < 0x80 ? char(lead) : char((lead & 3) << 6 | (text[++i] & 0x3F));
  }
  return {.kind = PickleKind::bytes, .text = bytes};
}

template <class T> T number_in(std::string_view bytes) {
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// The codes are NumPy's: kind and bytes, "f8".
PickleValue numpy_scalar(const Arguments& a) {
  a.expect_count(2, 2);
  const std::string_view code = a.at(0, PickleKind::numpy_dtype, "a number type").text;
  const std::string_view bytes = a.at(1, PickleKind::bytes, "bytes").text;
  RELUME_CHECK(bytes.size() == size_t(code[1] - '0'), "a NumPy number of type ", code, " in ", bytes.size(), " bytes");
  PickleValue real{.kind = PickleKind::floating};
  if (code == "f2") return real.real = float(std::bit_cast<Float16>(number_in<uint16_t>(bytes))), real;
  if (code == "f4") return real.real = number_in<float>(bytes), real;
  if (code == "f8") return real.real = number_in<double>(bytes), real;
  if (code == "b1") return value_of(PickleKind::boolean, bytes[0] != 0);
  uint64_t value = 0;
  std::memcpy(&value, bytes.data(), bytes.size());
  const int unused = 64 - 8 * int(bytes.size());
  if (code[0] == 'i') return value_of(PickleKind::integer, int64_t(value << unused) >> unused);
  if (value > uint64_t(INT64_MAX)) return {.kind = PickleKind::wide_integer, .text = bytes};
  return value_of(PickleKind::integer, int64_t(value));
}

PickleValue numpy_dtype(const Arguments& a) {
  a.expect_count(3, 3);
  const std::string_view code = a.at(0, PickleKind::text, "a text").text;
  static constexpr std::string_view known[] = {"f2", "f4", "f8", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"};
  RELUME_CHECK(std::ranges::find(known, code) != std::end(known), "numpy.dtype: the type '", printable(code),
               "', only plain numbers are read");
  return value_of(PickleKind::numpy_dtype, 0, code);
}

}  // namespace

PickleValue known_global(std::string_view module, std::string_view name) {
  for (size_t i = 0; i < std::size(globals); ++i)
    if (globals[i].module == module && globals[i].name == name) return global_value(i);
  for (size_t i = 0; i < std::size(types); ++i)
    if (module == "torch" && types[i].name == name) return global_value(std::size(globals) + i);
  // Before PyTorch 0.4 the storages of a GPU had names of their own.
  if (module == "torch.cuda" && name.ends_with("Storage")) return known_global("torch", name);
  throw InputError(
      detail::concat("refuses the global ", printable(module), ".", printable(name),
                     ": only tensors, dicts, lists, texts and numbers are read, and nothing is ever executed; if you "
                     "trust the file, load it in PyTorch and save its state_dict()"));
}

PickleValue call_global(PickleDocument& document, const PickleValue& callable, const PickleValue& arguments) {
  RELUME_CHECK(callable.kind == PickleKind::global, "refuses to call ", describe(document, callable));
  const Global global = global_of(callable);
  const std::string what = name_of(global);
  RELUME_CHECK(arguments.kind == PickleKind::tuple, what, " is called with ", describe(document, arguments),
               ", a tuple of arguments expected");
  // A copy: what is called may add to the document.
  const std::vector<PickleValue>& given = document.items_of(arguments);
  RELUME_CHECK(given.size() <= 8, what, " is given ", given.size(), " arguments");
  const std::vector<PickleValue> values = given;
  const Arguments a(document, values, what);
  switch (global.meaning) {
    case Meaning::ordered_dict: return ordered_dict(document, a, values);
    case Meaning::tensor:
    case Meaning::tensor_v2:
    case Meaning::tensor_v3: return rebuilt_tensor(document, a, global.meaning);
    case Meaning::parameter: a.expect_count(3, 3); return a.at(0, PickleKind::tensor, "a tensor");
    case Meaning::parameter_with_state: a.expect_count(4, 4); return a.at(0, PickleKind::tensor, "a tensor");
    case Meaning::tensor_of_type: {  // (function, class, arguments, attributes); the attributes are dropped
      a.expect_count(4, 4);
      a.global(1, Meaning::tensor_class, "torch.Tensor or Parameter");
      const PickleValue& function = a.at(0, PickleKind::global, "a function that builds tensors");
      const Meaning inner = global_of(function).meaning;
      RELUME_CHECK(
          inner == Meaning::tensor || inner == Meaning::tensor_v2 || inner == Meaning::tensor_v3 || inner == Meaning::parameter,
          what, ": refuses to call ", name_of(global_of(function)));
      return call_global(document, function, values[2]);
    }
    case Meaning::size: a.expect_count(1, 1); return a.at(0, PickleKind::tuple, "a tuple");
    case Meaning::numpy_dtype: return numpy_dtype(a);
    case Meaning::numpy_scalar: return numpy_scalar(a);
    case Meaning::encode: return encoded(document, a);
    case Meaning::empty_bytes: a.expect_count(0, 0); return {.kind = PickleKind::bytes};
    case Meaning::tensor_class:
    case Meaning::storage_class:
    case Meaning::dtype: break;
  }
  throw InputError("refuses to call " + what);
}

void check_state(const PickleDocument& document, const PickleValue& target, const PickleValue& state) {
  if (target.kind == PickleKind::dict && state.kind == PickleKind::dict) return;
  RELUME_CHECK(target.kind == PickleKind::numpy_dtype && state.kind == PickleKind::tuple, "refuses to set the state of ",
               describe(document, target), " to ", describe(document, state), " (opcode BUILD)");
  const std::vector<PickleValue>& fields = document.items_of(state);
  const bool plain =
      fields.size() >= 2 && fields[1].kind == PickleKind::text && (fields[1].text == "<" || fields[1].text == "|");
  RELUME_CHECK(plain, "a NumPy number that is not little-endian");
}

PickleValue storage_of(PickleDocument& document, const PickleValue& id) {
  RELUME_CHECK(id.kind == PickleKind::tuple, "a persistent id that is ", describe(document, id), ", a tuple expected");
  const Arguments a(document, document.items_of(id), "persistent id");
  a.expect_count(5, 6);
  const std::string_view kind = a.at(0, PickleKind::text, "a text").text;
  RELUME_CHECK(kind == "storage", "refuses the persistent id of a ", printable(kind), ", only storages are read");
  const TorchType* type = a.global(1, Meaning::storage_class, "a storage class").type;
  const std::string_view key = a.at(2, PickleKind::text, "a text").text;
  RELUME_CHECK(key.size() <= max_key, "a storage with a key of ", key.size(), " bytes, at most ", max_key, " are read");
  const int64_t numel = a.integer(4);
  RELUME_CHECK(numel >= 0, "storage '", printable(key), "' of ", numel, " elements");

  TorchTensor view{.type = type, .length = numel};
  if (a.count() == 6 && document.items_of(id)[5].kind != PickleKind::none) {  // (key of the view, first element, elements)
    const Arguments part(document, document.items_of(a.at(5, PickleKind::tuple, "a tuple")), "view of a storage");
    part.expect_count(3, 3);
    view.begin = part.integer(1), view.length = part.integer(2);
    RELUME_CHECK(view.begin >= 0 && view.length >= 0 && view.begin <= numel && view.length <= numel - view.begin, "storage '",
                 printable(key), "' of ", numel, " elements: a view of ", view.length, " from ", view.begin,
                 " on is not within it");
  }
  const auto [known, fresh] = document.storage_index.emplace(key, document.storages.size());
  view.storage = known->second;
  if (fresh) {
    document.charge(4);
    document.storages.push_back({key, type, numel});
  }
  const TorchStorage& storage = document.storages[view.storage];
  RELUME_CHECK(storage.type == type && storage.numel == numel, "storage '", printable(key), "' is given as ", storage.numel,
               " ", storage.type->name, " and as ", numel, " ", type->name);
  return add_tensor(document, PickleKind::storage, std::move(view));
}

}  // namespace relume
