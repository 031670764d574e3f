#include "data/checkpoint/torch_writer.h"

#include <cstring>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/mapped_tensor.h"
#include "data/checkpoint/zip_writer.h"

namespace relume {
namespace {

constexpr const char* archive = "archive/";

const char* storage_class(DType dtype) {
  switch (dtype) {
    case DType::f32: return "FloatStorage";
    case DType::f64: return "DoubleStorage";
    case DType::f16: return "HalfStorage";
    case DType::bf16: return "BFloat16Storage";
    case DType::u8: return "ByteStorage";
    case DType::i32: return "IntStorage";
    case DType::i64: return "LongStorage";
    case DType::boolean: return "BoolStorage";
  }
  return "";
}

// A pickle of protocol 2, as torch.save writes it but without a memo.
class Pickle {
 public:
  Pickle() { text_ += "\x80\x02}("; }  // PROTO 2, EMPTY_DICT, MARK
  void add(const TensorInfo& info, const std::string& key) {
    put_text(info.name);
    put_global("torch._utils", "_rebuild_tensor_v2");
    text_ += "((";
    put_text("storage");
    put_global("torch", storage_class(info.dtype));
    put_text(key);
    put_text("cpu");
    put_integer(info.shape.numel());
    text_ += "tQ";  // TUPLE, BINPERSID
    put_integer(0);
    put_tuple(info.shape.sizes());
    std::vector<int64_t> strides(size_t(info.shape.rank()), 1);
    for (int axis = info.shape.rank() - 2; axis >= 0; --axis)
      strides[size_t(axis)] = strides[size_t(axis) + 1] * std::max<int64_t>(info.shape[axis + 1], 1);
    put_tuple(strides);
    text_ += '\x89';  // wants no gradient
    put_global("collections", "OrderedDict");
    text_ += ")RtR";  // no hooks; TUPLE, REDUCE
  }
  std::string finish() && { return std::move(text_ += "u."); }  // SETITEMS, STOP

 private:
  void put_raw(const void* data, size_t bytes) { text_.append(static_cast<const char*>(data), bytes); }
  void put_text(const std::string& text) {
    const auto length = uint32_t(text.size());
    text_ += 'X';
    put_raw(&length, sizeof length);
    text_ += text;
  }
  void put_global(const char* module, const char* name) { text_ += std::string("c") + module + "\n" + name + "\n"; }
  void put_integer(int64_t x) {
    text_ += "\x8a\x08";  // LONG1 of 8 bytes
    put_raw(&x, sizeof x);
  }
  void put_tuple(std::span<const int64_t> numbers) {
    text_ += '(';
    for (const int64_t n : numbers) put_integer(n);
    text_ += 't';
  }

  std::string text_;
};

}  // namespace

void write_torch(const std::filesystem::path& path, const TensorSource& source) {
  Pickle pickle;
  size_t count = 0;
  for (const TensorInfo& info : source.tensors()) {
    RELUME_CHECK(is_utf8(info.name), path.string(), ": cannot write the tensor name '", printable(info.name),
                 "', which is not valid UTF-8");
    pickle.add(info, std::to_string(count++));
  }
  ZipWriter file(path);
  file.add(archive + std::string("data.pkl"), std::move(pickle).finish());
  file.add(archive + std::string("byteorder"), "little");
  count = 0;
  for (const TensorInfo& info : source.tensors()) {
    const Tensor dense = source.read(info.name).to(Device{}).contiguous();
    file.add(archive + ("data/" + std::to_string(count++)), dense.raw(), size_t(bytes_of(info)));
  }
  file.add(archive + std::string("version"), "3\n");
  file.commit();
}

}  // namespace relume
