#include "data/checkpoint/hdf5_checkpoint.h"

#include <map>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/hdf5_tensors.h"

namespace relume {
namespace {

constexpr size_t max_texts = size_t(4) << 20;  // bytes of all texts of a training state

// The training states of ours: groups of tensors, and texts below meta/.
Checkpoint open_training_state(const std::shared_ptr<const Hdf5File>& file, const CheckpointOptions& options) {
  Checkpoint c{.format = "training state (HDF5)"};
  std::map<std::string, int> groups;
  size_t texts = 0;
  for (const Hdf5Dataset& d : file->datasets()) {
    const size_t slash = d.name.find('/');
    const std::string group = d.name.substr(0, slash == std::string::npos ? 0 : slash);
    ++groups[group];
    if (group != "meta" || d.type != hdf5_u8 || d.shape.size() != 1) continue;
    const std::string_view text = file->bytes(d);
    RELUME_CHECK((texts += text.size()) <= max_texts, file->where(), ": the texts below meta/ take more than ", max_texts,
                 " bytes");
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

}  // namespace

Checkpoint open_hdf5(std::shared_ptr<const Hdf5File> file, const CheckpointOptions& options) {
  RELUME_CHECK(!file->find("pack_version"), file->where(), ": a pack of pictures, not a checkpoint");
  if (file->find("meta/kind")) return open_training_state(file, options);
  const auto source = std::make_shared<Hdf5Tensors>(std::move(file), "");
  return {.tensors = source, .format = "HDF5", .metadata = source->metadata()};
}

}  // namespace relume
