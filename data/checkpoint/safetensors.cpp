#include "data/checkpoint/safetensors.h"

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/checkpoint/mapped_tensor.h"
#include "data/checkpoint/memory_source.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

namespace relume {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian and mapped as it is");

constexpr uint64_t max_header = 100'000'000;  // the reference reader's limit
constexpr const char* metadata_key = "__metadata__";
using Json = nlohmann::json;

struct FileType {
  const char* name;
  uint64_t bytes;
  std::optional<DType> dtype;  // none: part of the format, not of this library
};
constexpr FileType file_types[] = {
    {"F64", 8, DType::f64}, {"F32", 4, DType::f32}, {"F16", 2, DType::f16}, {"BF16", 2, DType::bf16},
    {"I64", 8, DType::i64}, {"I32", 4, DType::i32}, {"U8", 1, DType::u8},   {"BOOL", 1, DType::boolean},
    {"I8", 1, {}},          {"I16", 2, {}},         {"U16", 2, {}},         {"U32", 4, {}},
    {"U64", 8, {}},         {"C64", 8, {}},         {"F8_E4M3", 1, {}},     {"F8_E5M2", 1, {}},
    {"F8_E8M0", 1, {}},
};
const FileType* find_type(const std::string& name) {
  const auto* at =
      std::find_if(std::begin(file_types), std::end(file_types), [&](const FileType& t) { return t.name == name; });
  return at == std::end(file_types) ? nullptr : at;
}
const char* file_name_of(DType dtype) {
  return std::find_if(std::begin(file_types), std::end(file_types), [&](const FileType& t) { return t.dtype == dtype; })->name;
}

// One entry of the header, checked on its own.
struct Entry {
  std::string name;
  const FileType* type;
  Shape shape;
  uint64_t begin, end;
};

// Reads the header entry by entry (no tree of the whole header is ever held) and checks the ranges together at the end.
class HeaderReader {
 public:
  explicit HeaderReader(std::string where) : where_(std::move(where)) {}

  void parse(std::string_view header) {
    RELUME_CHECK(!header.empty() && header.front() == '{', where_, ": the safetensors header is not a JSON object");
    try {
      [[maybe_unused]] const Json rest = Json::parse(
          header, [this](int depth, Json::parse_event_t event, Json& value) { return on_event(depth, event, value); });
    } catch (const Json::exception& error) {
      throw InputError(where_ + ": the safetensors header is not valid JSON (" + error.what() + ")");
    }
  }

  void check_ranges(uint64_t data_bytes) const {
    std::vector<const Entry*> sorted;
    for (const Entry& e : entries) sorted.push_back(&e);
    std::sort(sorted.begin(), sorted.end(),
              [](const Entry* a, const Entry* b) { return std::pair(a->begin, a->end) < std::pair(b->begin, b->end); });
    uint64_t end = 0;
    for (const Entry* e : sorted) {
      RELUME_CHECK(e->begin >= end, where_, ": tensor '", printable(e->name), "' starts at byte ", e->begin,
                   " and overlaps the one before it, which ends at ", end);
      RELUME_CHECK(e->begin == end, where_, ": a hole of ", e->begin - end, " bytes before tensor '", printable(e->name), "'");
      end = e->end;
    }
    RELUME_CHECK(end <= data_bytes, where_, ": truncated: the header describes ", end, " bytes of data, the file holds ",
                 data_bytes, "; fetch the file again");
    RELUME_CHECK(end == data_bytes, where_, ": ", data_bytes - end, " bytes behind the last tensor that no tensor describes");
  }

  void check_types() const {
    for (const Entry& e : entries)
      RELUME_CHECK(e.type->dtype, where_, ": tensor '", printable(e.name), "' has dtype ", e.type->name,
                   ", which is not supported (F64, F32, F16, BF16, I64, I32, U8 and BOOL are); remove or convert it");
  }

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;

 private:
  bool on_event(int depth, Json::parse_event_t event, Json& value) {
    using Event = Json::parse_event_t;
    RELUME_CHECK(depth <= 3, where_, ": the safetensors header is nested too deeply (at '", printable(key_), "')");
    // The format has none, and the parser goes through all siblings of an object at its end.
    RELUME_CHECK(event != Event::object_start || depth < 2, where_, ": an object inside the description of '", printable(key_),
                 "'");
    if (event == Event::object_start) keys_[depth].clear();
    if (event == Event::key) {
      const std::string& key = value.get_ref<const std::string&>();
      RELUME_CHECK(keys_[depth - 1].insert(key).second, where_, ": the safetensors header names '", printable(key), "' twice");
      if (depth == 1) key_ = key;
    }
    const bool member_ends = depth == 1 && (event == Event::value || event == Event::array_end || event == Event::object_end);
    if (!member_ends) return true;
    if (key_ == metadata_key)
      read_metadata(value);
    else
      read_entry(value);
    return false;  // drop it from the tree
  }

  void read_metadata(const Json& value) {
    RELUME_CHECK(value.is_object(), where_, ": ", metadata_key, " is not a JSON object");
    for (const auto& [key, text] : value.items()) {
      RELUME_CHECK(text.is_string(), where_, ": ", metadata_key, " '", printable(key), "' is not a string");
      metadata[key] = text.get<std::string>();
    }
  }

  void read_entry(const Json& value) {
    const std::string what = where_ + ": tensor '" + printable(key_) + "'";
    const auto field = [&](const char* name) -> const Json& {
      const auto at = value.find(name);
      RELUME_CHECK(at != value.end(), what, " has no ", name);
      return *at;
    };
    RELUME_CHECK(value.is_object(), what, " is not a JSON object");
    const Json &dtype = field("dtype"), &sizes = field("shape"), &offsets = field("data_offsets");
    RELUME_CHECK(dtype.is_string(), what, ": dtype is not a string");
    const FileType* type = find_type(dtype.get_ref<const std::string&>());
    RELUME_CHECK(type, what, " has the unknown dtype '", printable(dtype.get_ref<const std::string&>()), "'");
    RELUME_CHECK(is_list_of_counts(sizes), what, ": shape is not a list of non-negative integers");
    RELUME_CHECK(sizes.size() <= size_t(Shape::max_rank), what, " has ", sizes.size(), " axes, at most ", Shape::max_rank,
                 " are supported");
    RELUME_CHECK(is_list_of_counts(offsets) && offsets.size() == 2, what, ": data_offsets is not a pair of integers");
    const auto shape = sizes.get<std::vector<int64_t>>();
    int64_t bytes = int64_t(type->bytes);
    bool fits = true;
    for (const int64_t size : shape) fits = fits && !__builtin_mul_overflow(bytes, size, &bytes);
    RELUME_CHECK(fits, what, ": the byte count of shape ", sizes.dump(), " overflows 64 bits");
    const uint64_t begin = offsets[0].get<uint64_t>(), end = offsets[1].get<uint64_t>();
    RELUME_CHECK(begin <= end, what, ": data_offsets ", offsets.dump(), " end before they begin");
    RELUME_CHECK(end - begin == uint64_t(bytes), what, " takes ", bytes, " bytes (", type->name, " ", sizes.dump(),
                 "), its data_offsets ", offsets.dump(), " span ", end - begin);
    entries.push_back({key_, type, Shape(std::span<const int64_t>(shape)), begin, end});
  }

  static bool is_list_of_counts(const Json& value) {
    return value.is_array() && std::all_of(value.begin(), value.end(), [](const Json& v) {
             return v.is_number_unsigned() && v.get<uint64_t>() <= uint64_t(INT64_MAX);
           });
  }

  std::string where_, key_;
  std::set<std::string> keys_[4];  // per nesting depth, of the object being read
};

}  // namespace

SafetensorsFile::SafetensorsFile(MappedFile file, std::string path)
    : ListedSource(std::move(path)), map_(std::move(file.memory)) {
  const uint64_t bytes = file.bytes.size();
  RELUME_CHECK(bytes >= 8, where(), ": not a safetensors file (", bytes, " bytes; the header length alone takes 8)");
  const char* begin = file.bytes.data();
  uint64_t header = 0;
  std::memcpy(&header, begin, 8);
  RELUME_CHECK(header <= max_header, where(), ": not a safetensors file (header length ", header, ", at most ", max_header,
               " allowed)");
  RELUME_CHECK(header <= bytes - 8, where(), ": truncated: the header length is ", header, ", ", bytes - 8, " bytes follow");
  data_ = begin + 8 + header;

  HeaderReader reader(where());
  reader.parse({begin + 8, header});
  reader.check_ranges(bytes - 8 - header);
  reader.check_types();
  for (Entry& e : reader.entries) {
    list({std::move(e.name), *e.type->dtype, e.shape});
    offsets_.push_back(e.begin);
  }
  metadata_ = std::move(reader.metadata);
}

Tensor SafetensorsFile::read_at(size_t index) const {
  return mapped_tensor(tensors()[index], data_ + offsets_[index], map_, where());
}

void write_safetensors(const std::filesystem::path& path, const NamedTensors& entries,
                       const std::map<std::string, std::string>& metadata) {
  MemorySource source(path.string());
  for (const auto& [name, tensor] : entries) source.add(name, tensor);
  write_safetensors(path, source, metadata);
}

void write_safetensors(const std::filesystem::path& path, const TensorSource& source,
                       const std::map<std::string, std::string>& metadata) {
  const std::vector<TensorInfo>& infos = source.tensors();
  std::vector<size_t> order(infos.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return size_of(infos[a].dtype) > size_of(infos[b].dtype); });
  std::vector<int64_t> offsets(infos.size());
  int64_t end = 0;
  for (const size_t i : order) {
    offsets[i] = end;
    end += bytes_of(infos[i]);
  }

  // Member by member: an ordered JSON object would search all it has for each new name.
  std::string text = "{";
  const auto add = [&](const std::string& name, const nlohmann::ordered_json& value) {
    if (text.size() > 1) text += ',';
    text += Json(name).dump() + ':' + value.dump();
  };
  try {
    if (!metadata.empty()) add(metadata_key, metadata);
    for (size_t i = 0; i < infos.size(); ++i) {
      RELUME_CHECK(infos[i].name != metadata_key, path.string(), ": cannot write a tensor named '", infos[i].name,
                   "': the format keeps the name to itself");
      add(infos[i].name, {{"dtype", file_name_of(infos[i].dtype)},
                          {"shape", infos[i].shape.sizes()},
                          {"data_offsets", {offsets[i], offsets[i] + bytes_of(infos[i])}}});
    }
  } catch (const Json::exception&) {
    throw InputError(path.string() + ": cannot write a tensor name or metadata text that is not valid UTF-8");
  }
  text += '}';
  text.resize((text.size() + 7) / 8 * 8, ' ');  // the data starts aligned
  RELUME_CHECK(text.size() <= max_header, path.string(), ": the header of ", text.size(), " bytes is over the format's limit");

  AtomicFile file(path);
  const uint64_t length = text.size();
  file.write(&length, sizeof length);
  file.write(text);
  for (const size_t i : order) {
    const Tensor dense = source.read(infos[i].name).to(Device{}).contiguous();
    file.write(dense.raw(), size_t(bytes_of(infos[i])));
  }
  file.commit();
}

}  // namespace relume
