#include "data/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/checkpoint/hdf5_checkpoint.h"
#include "data/checkpoint/safetensors.h"
#include "data/checkpoint/torch_checkpoint.h"
#include "data/checkpoint/torch_file.h"

namespace relume {
namespace {

using namespace std::string_view_literals;

constexpr std::string_view hdf5_mark = "\x89HDF\r\n\x1a\n"sv, lfs_mark = "version https://git-lfs.github.com/spec/",
                           gzip_mark = "\x1f\x8b"sv, gguf_mark = "GGUF", tar_mark = "ustar";
constexpr size_t tar_mark_at = 257;
constexpr const char* wrapper_prefixes[] = {"module.", "_orig_mod."};  // DataParallel, torch.compile
constexpr int max_wrappers = 4;                                        // around each other

// Names without the first `prefix` bytes.
class ShortenedNames : public ListedSource {
 public:
  ShortenedNames(std::shared_ptr<const TensorSource> source, std::string prefix)
      : ListedSource(source->where()), source_(std::move(source)), prefix_(std::move(prefix)) {
    for (const TensorInfo& info : source_->tensors()) list({info.name.substr(prefix_.size()), info.dtype, info.shape});
  }

 protected:
  Tensor read_at(size_t index) const override { return source_->read(prefix_ + tensors()[index].name); }

 private:
  std::shared_ptr<const TensorSource> source_;
  std::string prefix_;
};

bool is_web_page(std::string_view bytes) {
  const size_t begin = bytes.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  if (begin == std::string_view::npos || bytes[begin] != '<') return false;
  const std::string head = lower_case(std::string(bytes.substr(begin, 1024)));
  return head.starts_with("<!doctype") || head.starts_with("<?xml") || head.find("<html") != std::string::npos;
}

// A length that fits, and a JSON object; of a damaged file one of the two is left.
struct SafetensorsSigns {
  bool length, object;
};
SafetensorsSigns safetensors_signs(std::string_view bytes) {
  uint64_t header = 0;
  std::memcpy(&header, bytes.data(), sizeof header);
  return {header <= bytes.size() - 8, bytes.size() > 8 && bytes[8] == '{'};
}

Checkpoint open_safetensors(MappedFile file, const std::string& where) {
  const auto source = std::make_shared<SafetensorsFile>(std::move(file), where);
  return {.tensors = source, .format = "safetensors", .metadata = source->metadata()};
}

Checkpoint open_any(const MappedFile& file, const std::string& where, const CheckpointOptions& options) {
  const std::string_view bytes = file.bytes;
  RELUME_CHECK(!bytes.empty(), where, ": an empty file");
  RELUME_CHECK(bytes.size() >= 8, where, ": shorter than 8 bytes (", bytes.size(), "), so no checkpoint of any format");
  if (bytes.starts_with(hdf5_mark)) return open_hdf5(std::make_shared<const Hdf5File>(file, where), options);
  // Before the others: the length of a header may begin with any bytes, 80 02 as a pickle does, 1F 8B as gzip.
  const SafetensorsSigns signs = safetensors_signs(bytes);
  if (signs.length && signs.object) return open_safetensors(file, where);
  if (looks_like_torch(bytes)) return open_torch(file, where, options);
  RELUME_CHECK(!bytes.starts_with(lfs_mark), where,
               ": a Git LFS pointer, not the file it stands for; fetch that with 'git lfs pull'");
  RELUME_CHECK(!is_web_page(bytes), where, ": a web page, not a checkpoint; the download went wrong, look at it in a browser");
  RELUME_CHECK(!bytes.starts_with(gzip_mark), where, ": a gzip file; unpack it with gunzip");
  RELUME_CHECK(!bytes.starts_with(gguf_mark), where, ": a GGUF file, which is not read");
  RELUME_CHECK(bytes.size() < tar_mark_at || !bytes.substr(tar_mark_at).starts_with(tar_mark), where,
               ": a tar archive; if it is a checkpoint of PyTorch before 0.2, load and save it with a later one");
  RELUME_CHECK(signs.length || signs.object, where,
               ": an unknown file format; safetensors, what torch.save writes, and HDF5 are read");
  return open_safetensors(file, where);
}

void strip_prefixes(Checkpoint& c) {
  for (int found = 0; found < max_wrappers && !c.tensors->tensors().empty(); ++found) {
    const auto* prefix = std::ranges::find_if(wrapper_prefixes, [&](std::string_view p) {
      return std::ranges::all_of(c.tensors->tensors(),
                                 [&](const TensorInfo& t) { return t.name.size() > p.size() && t.name.starts_with(p); });
    });
    if (prefix == std::end(wrapper_prefixes)) return;
    c.tensors = std::make_shared<ShortenedNames>(c.tensors, *prefix);
    c.taken.push_back(detail::concat("names without their prefix '", *prefix, "'"));
  }
}

}  // namespace

Checkpoint open_checkpoint(const std::filesystem::path& path, const CheckpointOptions& options) {
  return open_checkpoint(map_file(path), path.string(), options);
}

Checkpoint open_checkpoint(const MappedFile& file, const std::string& where, const CheckpointOptions& options) {
  Checkpoint c = open_any(file, where, options);
  c.file_bytes = int64_t(file.bytes.size());
  strip_prefixes(c);
  return c;
}

}  // namespace relume
