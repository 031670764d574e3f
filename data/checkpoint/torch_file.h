// What torch.save writes: the ZIP layout (since PyTorch 1.6: data.pkl and one entry per storage) and the one before it (four
// pickles, a list of keys, the storages one after another). After torch/serialization.py. Nothing of the file is executed.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/files.h"
#include "data/checkpoint/listed_source.h"
#include "data/checkpoint/pickle.h"
#include "data/checkpoint/zip_file.h"

namespace relume {

enum class TorchLayout { zip, legacy };

// A memory-mapped file and the values of its pickle. InputError naming file, place and rule for everything that is not one of
// the layouts, whole; a TorchScript archive, the tar layout of PyTorch before 0.2 and big-endian files are refused by name.
// Any thread.
class TorchFile {
 public:
  TorchFile(MappedFile file, std::string where);

  TorchLayout layout() const { return zip_ ? TorchLayout::zip : TorchLayout::legacy; }
  const PickleDocument& document() const { return document_; }
  const std::string& where() const { return where_; }
  uint64_t file_bytes() const { return file_.bytes.size(); }

  // How many bytes a storage holds; none when the file lacks it.
  std::optional<uint64_t> storage_bytes(size_t storage) const;
  // Its bytes, which must be there; in the ZIP layout their CRC-32 is verified the first time.
  std::string_view storage(size_t storage) const;
  const std::shared_ptr<void>& memory() const { return file_.memory; }

 private:
  void open_zip();
  void open_legacy();
  std::string entry_of(size_t storage) const;

  MappedFile file_;
  std::string where_;
  std::optional<ZipFile> zip_;
  std::string archive_;                                  // the folder of all entries, with its '/'
  std::vector<std::optional<std::string_view>> legacy_;  // bytes of document().storages[i]
  PickleDocument document_;
};

// Tensors of a file under the given names (name, index into document().tensors), which the file keeps alive. Each is checked
// when listed: an element type that is held, at most Shape::max_rank axes, a storage that is there and long enough for every
// element. A contiguous tensor is read as a view of the mapping where it is aligned; transposed, sliced, expanded ones as dense
// copies. Together they may take 16 times the file and 64 MiB: zero strides make much of little.
class TorchTensors : public ListedSource {
 public:
  TorchTensors(std::shared_ptr<const TorchFile> file, const std::vector<std::pair<std::string, size_t>>& names);

 protected:
  Tensor read_at(size_t index) const override;

 private:
  TensorInfo checked(const std::string& name, const TorchTensor& tensor) const;
  std::shared_ptr<const TorchFile> file_;
  std::vector<size_t> indices_;  // into document().tensors, of tensors()[i]
};

// Whether `bytes` begin as a file of one of these layouts, or as any pickle.
bool looks_like_torch(std::string_view bytes);

}  // namespace relume
