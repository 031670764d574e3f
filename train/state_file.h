// The state of a training as an HDF5 file (design D8): everything a run needs to go on exactly as if it had never stopped.
//
//   weights/<parameter>, ema/<parameter>, adam_m/<parameter>, adam_v/<parameter>   in the published layout, like a checkpoint
//   progress/...   counters, scalars: the step, the position in the data, sums not yet logged, lengths of the logs
//   meta/...       u8 texts: kind ("stage1"), config (the resolved YAML), revision
//   further groups of the network's own training (stage one: data/, pool/)
//
// Datasets are contiguous and carry no times, so equal states are equal files.
#pragma once

#include <filesystem>
#include <string>

#include "data/checkpoint/safetensors.h"
#include "data/hdf5_file.h"
#include "tensor/core/tensor.h"

namespace relume {

// Collects what a state holds; names are "group/name". Tensors are f32, f64, i64 or u8 on the CPU and not copied.
class StateContents {
 public:
  void add(const std::string& name, const Tensor& tensor) { tensors_.emplace_back(name, tensor); }
  void add(const std::string& name, int64_t value) { add(name, Tensor::of<int64_t>({}, {value})); }
  void add(const std::string& name, double value) { add(name, Tensor::of<double>({}, {value})); }
  void add(const std::string& name, const std::string& text);
  const NamedTensors& tensors() const { return tensors_; }
  int64_t bytes() const;  // of the data

 private:
  NamedTensors tensors_;
};

struct StateFacts {
  int64_t bytes = 0;  // of the file
  uint64_t xxh3 = 0;  // of its bytes
};

// Writes the file, whole or not at all: its room is reserved first, it is read back and flushed to disk before it takes its
// name. Every failure is an Error that names the path, and the bytes needed and free when the disk is full. One thread at a
// time in the whole process.
StateFacts write_state(const std::filesystem::path& path, const StateContents& contents);

// A state file, memory-mapped. Each access checks name, type and shape; InputError naming the file and the dataset.
class StateFile {
 public:
  explicit StateFile(const std::filesystem::path& path) : file_(path) {}

  bool has(const std::string& name) const { return file_.find(name) != nullptr; }
  Tensor tensor(const std::string& name) const;  // a copy
  // The same; its shape must be `shape`.
  Tensor tensor(const std::string& name, const Shape& shape, DType dtype) const;
  int64_t integer(const std::string& name) const { return *tensor(name, {}, DType::i64).data<int64_t>(); }
  double number(const std::string& name) const { return *tensor(name, {}, DType::f64).data<double>(); }
  std::string text(const std::string& name) const;
  const std::string& where() const { return file_.where(); }

 private:
  Hdf5File file_;
};

}  // namespace relume
