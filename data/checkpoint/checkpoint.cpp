#include "data/checkpoint/checkpoint.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/checkpoint/hdf5_tensors.h"
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
constexpr size_t max_text = size_t(1) << 20;                           // bytes of a text of a training state

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

// The training states of ours: groups of tensors, and texts below meta/.
Checkpoint open_training_state(const std::shared_ptr<const Hdf5File>& file, const CheckpointOptions& options) {
  Checkpoint c{.format = "training state (HDF5)"};
  std::map<std::string, int> groups;
  for (const Hdf5Dataset& d : file->datasets()) {
    const size_t slash = d.name.find('/');
    const std::string group = d.name.substr(0, slash == std::string::npos ? 0 : slash);
    ++groups[group];
    if (group != "meta" || d.type != hdf5_u8 || d.shape.size() != 1 || d.bytes > max_text) continue;
    const std::string_view text = file->bytes(d);
    RELUME_CHECK(is_utf8(text), file->where(), ": '", d.name, "' is not a text in UTF-8");
    c.metadata["relume." + d.name.substr(slash + 1)] = text;
  }
  RELUME_CHECK(groups.contains("weights") || groups.contains("ema"), file->where(),
               ": a training state without weights (no group weights/ or ema/)");
  const bool average = groups.contains("ema") && !(options.raw_weights && groups.contains("weights"));
  c.tensors = std::make_shared<Hdf5Tensors>(file, average ? "ema/" : "weights/");
  c.taken.push_back(average                  ? "the averaged weights (ema)"
                    : groups.contains("ema") ? "the raw weights, not the averaged ones"
                                             : "the weights; the state holds no average");
  for (const auto& [group, count] : groups)
    if (group != (average ? "ema" : "weights") && group != "meta")
      c.beside.push_back(detail::concat(group.empty() ? "outside of groups" : printable(group), ": ", count, " tensors"));
  return c;
}

Checkpoint open_hdf5(MappedFile mapped, const std::string& where, const CheckpointOptions& options) {
  const auto file = std::make_shared<const Hdf5File>(std::move(mapped), where);
  RELUME_CHECK(!file->find("pack_version"), where, ": a pack of pictures, not a checkpoint");
  if (file->find("meta/kind")) return open_training_state(file, options);
  const auto source = std::make_shared<Hdf5Tensors>(file, "");
  return {.tensors = source, .format = "HDF5", .metadata = source->metadata()};
}

Checkpoint open_any(const MappedFile& file, const std::string& where, const CheckpointOptions& options) {
  const std::string_view bytes = file.bytes;
  RELUME_CHECK(!bytes.empty(), where, ": an empty file");
  RELUME_CHECK(bytes.size() >= 8, where, ": shorter than 8 bytes (", bytes.size(), "), so no checkpoint of any format");
  if (bytes.starts_with(hdf5_mark)) return open_hdf5(file, where, options);
  // Before the others: the length of a header may begin with any bytes, 80 02 as a pickle does, 1F 8B as gzip.
  const SafetensorsSigns signs = safetensors_signs(bytes);
  if (signs.length && signs.object) return open_safetensors(file, where);
  RELUME_CHECK(!bytes.starts_with(lfs_mark), where,
               ": a Git LFS pointer, not the file it stands for; fetch that with 'git lfs pull'");
  RELUME_CHECK(!is_web_page(bytes), where, ": a web page, not a checkpoint; the download went wrong, look at it in a browser");
  RELUME_CHECK(!bytes.starts_with(gzip_mark), where, ": a gzip file; unpack it with gunzip");
  RELUME_CHECK(!bytes.starts_with(gguf_mark), where, ": a GGUF file, which is not read");
  RELUME_CHECK(bytes.size() < tar_mark_at || !bytes.substr(tar_mark_at).starts_with(tar_mark), where,
               ": a tar archive; if it is a checkpoint of PyTorch before 0.2, load and save it with a later one");
  if (looks_like_torch(bytes)) return open_torch(file, where, options);
  RELUME_CHECK(signs.length || signs.object, where,
               ": an unknown file format; safetensors, what torch.save writes, and HDF5 are read");
  return open_safetensors(file, where);
}

void strip_prefixes(Checkpoint& c) {
  for (bool again = true; again && !c.tensors->tensors().empty();) {
    again = false;
    for (const std::string prefix : wrapper_prefixes) {
      const auto wrapped = [&](const TensorInfo& t) { return t.name.size() > prefix.size() && t.name.starts_with(prefix); };
      if (!std::ranges::all_of(c.tensors->tensors(), wrapped)) continue;
      c.tensors = std::make_shared<ShortenedNames>(c.tensors, prefix);
      c.taken.push_back("names without their prefix '" + prefix + "'");
      again = true;
    }
  }
}

}  // namespace

Checkpoint open_checkpoint(const std::filesystem::path& path, const CheckpointOptions& options) {
  const MappedFile file = map_file(path);
  Checkpoint c = open_any(file, path.string(), options);
  c.file_bytes = int64_t(file.bytes.size());
  strip_prefixes(c);
  return c;
}

}  // namespace relume
