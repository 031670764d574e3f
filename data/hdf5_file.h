// HDF5, the part of it that we write (data/hdf5_writer.h): superblock version 2 or 3 at the start of the file, object headers
// version 2, groups with compact links, contiguous datasets of little-endian integers and floats. Read by a parser of our own
// because libhdf5 is neither safe on hostile files nor usable from several threads. After the "HDF5 File Format Specification,
// version 3.0"; everything outside the subset is refused by name.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/files.h"

namespace relume {

enum class Hdf5Kind : uint8_t { unsigned_integer, signed_integer, floating };

// The type of an element. `exponent_bits` tells f16 (5) from bf16 (8) and is 0 for integers.
struct Hdf5Type {
  Hdf5Kind kind = Hdf5Kind::unsigned_integer;
  int bytes = 1;
  int exponent_bits = 0;
  bool operator==(const Hdf5Type&) const = default;
};
inline constexpr Hdf5Type hdf5_u8{Hdf5Kind::unsigned_integer, 1}, hdf5_u64{Hdf5Kind::unsigned_integer, 8},
    hdf5_i64{Hdf5Kind::signed_integer, 8};
std::string to_string(const Hdf5Type& type);  // "u8", "i64", "f32", "bf16": as DType has it, where it has it

struct Hdf5Dataset {
  std::string name;  // with its groups: "model/conv.weight"
  Hdf5Type type;
  std::vector<int64_t> shape;      // empty: a scalar
  uint64_t offset = 0, bytes = 0;  // in the file
};

// A file's datasets, listed and checked whole when opened: every range lies within the file and has the size its shape and type
// ask for, every checksum of the metadata is right. Each violation is an InputError naming file, object and rule. Any thread.
class Hdf5File {
 public:
  enum class Checksums { verify, ignore };  // ignored only to let a fuzzer reach what lies behind them

  explicit Hdf5File(const std::filesystem::path& path) : Hdf5File(map_file(path), path.string()) {}
  Hdf5File(MappedFile file, std::string where, Checksums checksums = Checksums::verify);

  const std::vector<Hdf5Dataset>& datasets() const { return datasets_; }  // in the order of their links
  const Hdf5Dataset* find(const std::string& name) const;                 // null when there is none
  // The dataset's bytes, not aligned; valid as long as memory() is held.
  std::string_view bytes(const Hdf5Dataset& dataset) const { return file_.bytes.substr(dataset.offset, dataset.bytes); }
  const std::shared_ptr<void>& memory() const { return file_.memory; }
  const std::string& where() const { return where_; }

 private:
  MappedFile file_;
  std::string where_;
  std::vector<Hdf5Dataset> datasets_;
  std::unordered_map<std::string, size_t> index_;
};

// Jenkins' lookup3 with initial value 0, the checksum of HDF5 metadata.
uint32_t hdf5_checksum(std::string_view bytes);

}  // namespace relume
