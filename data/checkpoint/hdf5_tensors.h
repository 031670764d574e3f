// Weights in HDF5: one dataset per tensor under its own name (data/hdf5_file.h has the part of the format).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>

#include "data/checkpoint/listed_source.h"
#include "data/hdf5_file.h"

namespace relume {

// The datasets of a file whose names begin with `prefix` ("weights/"; empty: all), listed without it. f16 f32 f64 bf16 u8 i32
// i64 of at most Shape::max_rank axes are held; another type is refused by name. What write_hdf5 notes down beside the tensors
// (below) is taken into account and not listed. A tensor is a view of the mapping where it is aligned.
class Hdf5Tensors : public ListedSource {
 public:
  Hdf5Tensors(std::shared_ptr<const Hdf5File> file, const std::string& prefix);

  const std::map<std::string, std::string>& metadata() const { return metadata_; }

 protected:
  Tensor read_at(size_t index) const override;

 private:
  std::shared_ptr<const Hdf5File> file_;
  std::vector<const Hdf5Dataset*> datasets_;  // of tensors()[i]
  std::map<std::string, std::string> metadata_;
};

// Writes a source's tensors atomically, one at a time, in a file that Hdf5Tensors and every HDF5 library since 1.10 read. The
// dataset "__metadata__" beside them is a JSON text: "metadata" as in a safetensors file, and under "tensors" dtype and shape
// of those that HDF5 has no place for here: booleans (stored as u8) and scalars (stored as a list of one). Names must not hold
// '/'.
void write_hdf5(const std::filesystem::path& path, const TensorSource& source,
                const std::map<std::string, std::string>& metadata = {});

}  // namespace relume
