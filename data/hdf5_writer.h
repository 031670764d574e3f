// Writes HDF5 files that data/hdf5_file.h and every HDF5 library since 1.10 reads: contiguous datasets in the root group or in
// groups of one level, no time stamps, so that equal contents are equal files (design D8).
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "data/hdf5_file.h"

namespace relume {

// One thread at a time in the whole process: libhdf5 has global state. Every failure is an Error naming file and dataset.
class Hdf5Writer {
 public:
  // An existing file is emptied first. Messages speak of `target`, the name that the file will have (else its own), and of
  // `needed` bytes where the disk is full.
  explicit Hdf5Writer(std::filesystem::path path, std::filesystem::path target = {}, int64_t needed = 0);
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;

  // A whole dataset from memory, in row-major order; an empty shape is a scalar. "group/name" makes the group at its first use;
  // a second '/' is not allowed. Many datasets are better shared out over groups: adding to one takes time with its size.
  void add(const std::string& name, const Hdf5Type& type, const std::vector<int64_t>& shape, const void* data);

  // A dataset filled part by part: begin() once, then append() rows of the first axis until all are there.
  void begin(const std::string& name, const Hdf5Type& type, const std::vector<int64_t>& shape);
  void append(const void* data, int64_t rows);

  void close();  // ends the file; without it the file is not readable

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace relume
