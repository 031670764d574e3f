#include "data/checkpoint/hdf5_tensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/checkpoint/mapped_tensor.h"
#include "data/hdf5_writer.h"

namespace relume {
namespace {

using Json = nlohmann::json;  // not the ordered one, which searches object members one by one

constexpr const char* notes_name = "__metadata__";
constexpr const char* boolean_name = "BOOL";  // as safetensors has it
constexpr int max_nesting = 5;
constexpr size_t max_datasets = 65'000;  // of one group: links beyond 65,535 go where the reader does not look

constexpr std::pair<Hdf5Type, DType> types[] = {
    {{Hdf5Kind::floating, 4, 8}, DType::f32},     {{Hdf5Kind::floating, 8, 11}, DType::f64},
    {{Hdf5Kind::floating, 2, 5}, DType::f16},     {{Hdf5Kind::floating, 2, 8}, DType::bf16},
    {{Hdf5Kind::unsigned_integer, 1}, DType::u8}, {{Hdf5Kind::signed_integer, 4}, DType::i32},
    {{Hdf5Kind::signed_integer, 8}, DType::i64},
};

DType dtype_of_dataset(const Hdf5Dataset& d, const std::string& what) {
  const auto* at = std::ranges::find(types, d.type, &std::pair<Hdf5Type, DType>::first);
  RELUME_CHECK(at != std::end(types), what, " has the type ", to_string(d.type),
               ", which is not supported (f16, bf16, f32, f64, u8, i32 and i64 are)");
  return at->second;
}
Hdf5Type stored_type(DType dtype) {
  if (dtype == DType::boolean) return hdf5_u8;
  return std::ranges::find(types, dtype, &std::pair<Hdf5Type, DType>::second)->first;
}

// How deep the brackets of a JSON text are nested. (nlohmann's own hook for that goes through all siblings of every object.)
int nesting_of(std::string_view text) {
  int depth = 0, most = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (quoted && text[i] == '\\')
      ++i;
    else if (text[i] == '"')
      quoted = !quoted;
    else if (!quoted && (text[i] == '{' || text[i] == '['))
      most = std::max(most, ++depth);
    else if (!quoted && (text[i] == '}' || text[i] == ']'))
      --depth;
  }
  return most;
}

Json parse_notes(std::string_view text, const std::string& what) {
  RELUME_CHECK(nesting_of(text) <= max_nesting, what, " is nested too deeply");
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    throw InputError(what + " is not valid JSON (" + error.what() + ")");
  }
}

// The note that a tensor is not what its dataset seems; nothing when there is none.
const Json* note_on(const Json& notes, const std::string& name) {
  const auto tensors = notes.find("tensors");
  if (tensors == notes.end() || !tensors->is_object()) return nullptr;
  const auto note = tensors->find(name);
  return note == tensors->end() ? nullptr : &*note;
}

void apply_note(const Json& note, TensorInfo& info, const std::string& what) {
  const bool proper =
      note.is_object() && note.value("dtype", Json()) == boolean_name ? info.dtype == DType::u8 : note.is_object();
  RELUME_CHECK(proper, what, ": what ", notes_name, " notes on it is ", printable(note.dump()), ", which does not fit ",
               info.dtype);
  if (note.value("dtype", Json()) == boolean_name) info.dtype = DType::boolean;
  if (!note.contains("shape")) return;
  RELUME_CHECK(note["shape"] == Json::array() && info.shape.numel() == 1, what, ": ", notes_name, " gives it the shape ",
               printable(note["shape"].dump()), " where its dataset is ", info.shape);
  info.shape = {};
}

std::map<std::string, std::string> metadata_in(const Json& notes, const std::string& what) {
  std::map<std::string, std::string> metadata;
  const auto given = notes.find("metadata");
  if (given == notes.end()) return metadata;
  RELUME_CHECK(given->is_object(), what, ": 'metadata' is not a JSON object");
  for (const auto& [key, text] : given->items()) {
    RELUME_CHECK(text.is_string(), what, ": metadata '", printable(key), "' is not a string");
    metadata[key] = text.get<std::string>();
  }
  return metadata;
}

}  // namespace

Hdf5Tensors::Hdf5Tensors(std::shared_ptr<const Hdf5File> file, const std::string& prefix)
    : ListedSource(file->where()), file_(std::move(file)) {
  Json notes = Json::object();
  if (const Hdf5Dataset* d = file_->find(prefix + notes_name)) {
    const std::string what = where() + ": its dataset " + notes_name;
    RELUME_CHECK(d->type == hdf5_u8 && d->shape.size() == 1, what, " is no text");
    notes = parse_notes(file_->bytes(*d), what);
    RELUME_CHECK(notes.is_object(), what, " is not a JSON object");
    metadata_ = metadata_in(notes, what);
  }
  uint64_t end = 0, unfolded = 0;
  for (const Hdf5Dataset& d : file_->datasets()) end = std::max(end, d.offset + d.bytes);
  for (const Hdf5Dataset& d : file_->datasets()) {
    if (!d.name.starts_with(prefix) || d.name == prefix + notes_name) continue;
    const std::string name = d.name.substr(prefix.size()), what = where() + ": dataset '" + printable(d.name) + "'";
    RELUME_CHECK(d.shape.size() <= size_t(Shape::max_rank), what, " has ", d.shape.size(), " axes, at most ", Shape::max_rank,
                 " are supported");
    TensorInfo info{name, dtype_of_dataset(d, what), Shape(std::span<const int64_t>(d.shape))};
    if (const Json* note = note_on(notes, name)) apply_note(*note, info, what);
    unfolded += d.bytes;  // each at most the file's size, and there are at most 2^20
    RELUME_CHECK(unfolded <= unfolding_limit(end), what, " and those before it share their data, and take ",
                 human_bytes(double(unfolded)), " when written out");
    list(std::move(info));
    datasets_.push_back(&d);
  }
}

Tensor Hdf5Tensors::read_at(size_t index) const {
  return mapped_tensor(tensors()[index], file_->bytes(*datasets_[index]).data(), file_->memory(), where());
}

void write_hdf5(const std::filesystem::path& path, const TensorSource& source,
                const std::map<std::string, std::string>& metadata) {
  RELUME_CHECK(source.tensors().size() <= max_datasets, path.string(), ": ", source.tensors().size(), " tensors, at most ",
               max_datasets, " can be written as HDF5; write .safetensors instead");
  Json notes = Json::object();
  if (!metadata.empty()) notes["metadata"] = metadata;
  for (const TensorInfo& info : source.tensors()) {
    RELUME_CHECK(!info.name.empty() && info.name != notes_name &&
                     info.name.find_first_of(std::string_view("/\0", 2)) == std::string::npos,
                 path.string(), ": cannot write a tensor named '", printable(info.name),
                 "' as HDF5; write .safetensors instead");
    if (info.dtype == DType::boolean) notes["tensors"][info.name]["dtype"] = boolean_name;
    if (info.shape.rank() == 0) notes["tensors"][info.name]["shape"] = Json::array();
  }
  std::string text;
  try {
    text = notes.dump();
  } catch (const Json::exception&) {
    throw InputError(path.string() + ": cannot write a tensor name or metadata text that is not valid UTF-8");
  }
  AtomicFile target(path);
  Hdf5Writer file(target.temporary());
  for (const TensorInfo& info : source.tensors()) {
    const Tensor dense = source.read(info.name).to(Device{}).contiguous();
    const auto sizes = info.shape.sizes();
    const std::vector<int64_t> shape =
        sizes.empty() ? std::vector<int64_t>{1} : std::vector<int64_t>(sizes.begin(), sizes.end());
    file.add(info.name, stored_type(info.dtype), shape, dense.raw());
  }
  if (!notes.empty()) file.add(notes_name, hdf5_u8, {int64_t(text.size())}, text.data());
  file.close();
  target.commit();
}

}  // namespace relume
