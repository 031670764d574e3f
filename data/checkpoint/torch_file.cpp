#include "data/checkpoint/torch_file.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/mapped_tensor.h"

namespace relume {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view zip_mark = "PK\3\4"sv, empty_zip_mark = "PK\5\6"sv;
constexpr std::string_view magic_number = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"sv;  // of torch/serialization.py
constexpr std::string_view magic_pickle_1 = "L119547037146038801333356L\n.";             // the same number in protocol 1
constexpr int64_t legacy_version = 1001;
constexpr uint64_t max_pickle = uint64_t(1) << 28;

bool is_dense(const TorchTensor& t) {
  int64_t expected = 1;
  for (size_t axis = t.sizes.size(); axis-- > 0; expected *= t.sizes[axis])
    if (t.sizes[axis] != 1 && t.strides[axis] != expected) return false;
  return true;
}

// Elements gathered one after another in row-major order; `element` bytes each.
void gather(char* to, const char* from, const TorchTensor& t, int64_t element) {
  std::vector<int64_t> index(t.sizes.size(), 0);
  const size_t last = t.sizes.size() - 1;
  for (;;) {
    const char* row = from;
    for (size_t axis = 0; axis < last; ++axis) row += index[axis] * t.strides[axis] * element;
    for (int64_t i = 0; i < t.sizes[last]; ++i, to += element)
      std::memcpy(to, row + i * t.strides[last] * element, size_t(element));
    size_t axis = last;
    while (axis > 0 && ++index[axis - 1] == t.sizes[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

}  // namespace

bool looks_like_torch(std::string_view bytes) {
  return bytes.starts_with(zip_mark) || bytes.starts_with(empty_zip_mark) || bytes.starts_with(magic_pickle_1) ||
         (bytes.size() >= 2 && bytes[0] == '\x80' && bytes[1] >= 0 && bytes[1] <= 5);
}

TorchFile::TorchFile(MappedFile file, std::string where) : file_(std::move(file)), where_(std::move(where)) {
  if (file_.bytes.starts_with(zip_mark) || file_.bytes.starts_with(empty_zip_mark))
    open_zip();
  else
    open_legacy();
}

void TorchFile::open_zip() {
  zip_.emplace(file_, where_);
  const ZipEntry* pickle = nullptr;
  for (const ZipEntry& e : zip_->entries()) {
    const size_t slash = e.name.find('/');
    if (slash == std::string::npos || e.name.substr(slash + 1) != "data.pkl") continue;
    RELUME_CHECK(!pickle, where_, ": two entries are a data.pkl: '", printable(pickle->name), "' and '", printable(e.name),
                 "'");
    pickle = &e;
    archive_ = e.name.substr(0, slash + 1);
  }
  RELUME_CHECK(pickle, where_, ": a ZIP archive without data.pkl, so not one of PyTorch's checkpoints; expected torch.save's");
  RELUME_CHECK(!zip_->find(archive_ + "constants.pkl"), where_,
               ": a TorchScript archive, which is a program; in PyTorch save torch.jit.load(...).state_dict() instead");
  const ZipEntry* order = zip_->find(archive_ + "byteorder");
  RELUME_CHECK(!order || zip_->bytes(*order) == "little", where_,
               ": written on a big-endian machine, which is not read; load and save it there as safetensors");
  RELUME_CHECK(pickle->bytes <= max_pickle, where_, ": its data.pkl of ", pickle->bytes, " bytes is over the limit of ",
               max_pickle);
  const std::string_view bytes = zip_->bytes(*pickle);
  document_ = read_pickle(bytes, where_);
  RELUME_CHECK(document_.bytes == bytes.size(), where_, ": ", bytes.size() - document_.bytes,
               " bytes behind the end of its pickle");
}

void TorchFile::open_legacy() {
  std::string_view rest = file_.bytes;
  const auto next = [&] {
    PickleDocument d = read_pickle(rest.substr(0, max_pickle), where_);
    rest.remove_prefix(d.bytes);
    return d;
  };
  if (rest.starts_with(magic_pickle_1)) {
    rest.remove_prefix(magic_pickle_1.size());
  } else {
    const PickleDocument magic = next();
    RELUME_CHECK(magic.root.kind == PickleKind::wide_integer && magic.root.text == magic_number, where_, ": a plain pickle of ",
                 describe(magic, magic.root), ", not a checkpoint of PyTorch; write it with torch.save");
  }
  const PickleDocument version = next();
  RELUME_CHECK(version.root.kind == PickleKind::integer && version.root.number == legacy_version, where_,
               ": written by version ", describe(version, version.root), " of PyTorch's old layout, only ", legacy_version,
               " is read");
  const PickleDocument system = next();
  bool little = false;
  if (system.root.kind == PickleKind::dict) {
    const std::vector<PickleValue>& facts = system.items_of(system.root);
    for (size_t i = 0; i < facts.size(); i += 2)
      if (facts[i].kind == PickleKind::text && facts[i].text == "little_endian")
        little = facts[i + 1].kind == PickleKind::boolean && facts[i + 1].number;
  }
  RELUME_CHECK(little, where_,
               ": not written on a little-endian machine, which alone is read; load and save it there as safetensors");
  document_ = next();
  const PickleDocument keys = next();
  RELUME_CHECK(keys.root.kind == PickleKind::list, where_, ": the list of its storages is ", describe(keys, keys.root));

  legacy_.resize(document_.storages.size());
  for (const PickleValue& key : keys.items_of(keys.root)) {
    const std::string what = detail::concat(where_, ": storage ", describe(keys, key));
    const auto known = document_.storage_index.find(key.kind == PickleKind::text ? key.text : ""sv);
    RELUME_CHECK(known != document_.storage_index.end(), what, " belongs to no tensor");
    const TorchStorage& storage = document_.storages[known->second];
    RELUME_CHECK(!legacy_[known->second], what, " is given twice");
    RELUME_CHECK(rest.size() >= 8, what, " is missing: the file is truncated; fetch it again");
    int64_t numel = 0;
    std::memcpy(&numel, rest.data(), sizeof numel);
    rest.remove_prefix(sizeof numel);
    RELUME_CHECK(numel == storage.numel, what, " holds ", numel, " elements, its pickle says ", storage.numel);
    int64_t bytes = 0;
    RELUME_CHECK(!__builtin_mul_overflow(numel, storage.type->bytes, &bytes) && uint64_t(bytes) <= rest.size(), what,
                 ": truncated: ", numel, " elements of ", storage.type->bytes, " bytes, ", rest.size(),
                 " bytes follow; fetch the file again");
    legacy_[known->second] = rest.substr(0, size_t(bytes));
    rest.remove_prefix(size_t(bytes));
  }
  RELUME_CHECK(rest.empty(), where_, ": ", rest.size(),
               " bytes behind its last storage; several checkpoints in one file are not read");
}

std::string TorchFile::entry_of(size_t storage) const {
  return archive_ + "data/" + std::string(document_.storages[storage].key);
}

std::optional<uint64_t> TorchFile::storage_bytes(size_t storage) const {
  if (!zip_) return legacy_[storage] ? std::optional(uint64_t(legacy_[storage]->size())) : std::nullopt;
  const ZipEntry* entry = zip_->find(entry_of(storage));
  return entry ? std::optional(entry->bytes) : std::nullopt;
}

std::string_view TorchFile::storage(size_t storage) const {
  if (!zip_) return *legacy_[storage];
  return zip_->bytes(*zip_->find(entry_of(storage)));
}

TorchTensors::TorchTensors(std::shared_ptr<const TorchFile> file, const std::vector<std::pair<std::string, size_t>>& names)
    : ListedSource(file->where()), file_(std::move(file)) {
  uint64_t unfolded = 0;
  const uint64_t allowed = unfolding_limit(file_->file_bytes());
  for (const auto& [name, index] : names) {
    TensorInfo info = checked(name, file_->document().tensors[index]);
    RELUME_CHECK(!__builtin_add_overflow(unfolded, uint64_t(bytes_of(info)), &unfolded) && unfolded <= allowed, where(),
                 ": its tensors up to '", printable(name), "' take more than ", human_bytes(double(allowed)),
                 " when written out, from a file of ", human_bytes(double(file_->file_bytes())));
    list(std::move(info));
    indices_.push_back(index);
  }
}

TensorInfo TorchTensors::checked(const std::string& name, const TorchTensor& t) const {
  const std::string what = where() + ": tensor '" + printable(name) + "'";
  const TorchStorage& storage = file_->document().storages[t.storage];
  const std::string held = "storage '" + printable(storage.key) + "'";
  RELUME_CHECK(t.type->dtype, what, " has the type ", t.type->name,
               ", which is not supported (float32, float64, float16, bfloat16, uint8, int32, int64 and bool are)");
  RELUME_CHECK(t.sizes.size() == t.strides.size(), what, " has ", t.sizes.size(), " sizes and ", t.strides.size(), " strides");
  RELUME_CHECK(t.sizes.size() <= size_t(Shape::max_rank), what, " has ", t.sizes.size(), " axes, at most ", Shape::max_rank,
               " are supported");
  int64_t bytes = t.type->bytes, last = t.offset;
  bool empty = false, fits = t.offset >= 0;
  for (size_t axis = 0; axis < t.sizes.size(); ++axis) {
    const int64_t size = t.sizes[axis], stride = t.strides[axis];
    RELUME_CHECK(size >= 0 && stride >= 0, what, ": axis ", axis, " has size ", size, " and stride ", stride);
    empty = empty || size == 0;
    int64_t step = 0;
    fits = fits && !__builtin_mul_overflow(bytes, size, &bytes) &&
           !__builtin_mul_overflow(std::max<int64_t>(size - 1, 0), stride, &step) && !__builtin_add_overflow(last, step, &last);
  }
  const std::optional<uint64_t> stored = file_->storage_bytes(t.storage);
  RELUME_CHECK(stored, what, ": its ", held, " is missing in the file");
  int64_t expected = 0, end = 0, begin = 0, limit = 0;
  RELUME_CHECK(!__builtin_mul_overflow(storage.numel, storage.type->bytes, &expected) && *stored == uint64_t(expected), what,
               ": its ", held, " is ", *stored < uint64_t(expected) ? "shorter" : "longer", " than its pickle says: ", *stored,
               " bytes for ", storage.numel, " elements of ", storage.type->bytes);
  // begin and length lie within the storage, whose byte count has just been seen not to overflow.
  begin = t.begin * storage.type->bytes, limit = begin + t.length * storage.type->bytes;
  fits = fits && !__builtin_add_overflow(last, int64_t(1), &end) && !__builtin_mul_overflow(end, t.type->bytes, &end) &&
         !__builtin_add_overflow(begin, end, &end);
  RELUME_CHECK(fits, what, ": its element count overflows 64 bits (offset ", t.offset, ")");
  RELUME_CHECK(empty || end <= limit, what, " reaches to byte ", end, " of its ", held, ", which is shorter: ", limit,
               " bytes");
  return {name, *t.type->dtype, Shape(std::span<const int64_t>(t.sizes))};
}

Tensor TorchTensors::read_at(size_t index) const {
  const TensorInfo& info = tensors()[index];
  const TorchTensor& t = file_->document().tensors[indices_[index]];
  const std::string_view bytes = file_->storage(t.storage);
  if (info.shape.numel() == 0) return Tensor::empty(info.shape, info.dtype);
  const char* first = bytes.data() + t.begin * file_->document().storages[t.storage].type->bytes + t.offset * t.type->bytes;
  if (is_dense(t)) return mapped_tensor(info, first, file_->memory(), where());
  Tensor dense = Tensor::empty(info.shape, info.dtype);
  gather(static_cast<char*>(dense.raw()), first, t, t.type->bytes);
  check_boolean(info, static_cast<const char*>(dense.raw()), bytes_of(info), where());
  return dense;
}

}  // namespace relume
