#include "data/hdf5_writer.h"

#include <hdf5.h>

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace relume {
namespace {

// A handle of libhdf5, closed at the end of its life.
class Handle {
 public:
  Handle() = default;
  Handle(hid_t id, herr_t (*close)(hid_t)) : id_(id), close_(close) {}
  Handle(Handle&& other) noexcept : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(id_, other.id_);
    std::swap(close_, other.close_);
    return *this;
  }
  ~Handle() { end(); }
  operator hid_t() const { return id_; }
  explicit operator bool() const { return id_ >= 0; }
  herr_t end() { return id_ >= 0 ? close_(std::exchange(id_, -1)) : 0; }

 private:
  hid_t id_ = -1;
  herr_t (*close_)(hid_t) = nullptr;
};

// The innermost entry of libhdf5's error stack: it carries the system's reason.
std::string innermost_error() {
  std::string text;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
        if (depth == 0 && entry->desc) *static_cast<std::string*>(out) = entry->desc;
        return 0;
      },
      &text);
  return text.empty() ? "unknown reason" : text;
}

// The library has no 16-bit floats of its own. Made once, for the life of the process.
hid_t float16_type(int exponent_bits) {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  const size_t exponent = size_t(exponent_bits), mantissa = 15 - exponent;
  const bool made = H5Tset_fields(type, 15, mantissa, exponent, 0, mantissa) >= 0 && H5Tset_precision(type, 16) >= 0 &&
                    H5Tset_size(type, 2) >= 0 && H5Tset_ebias(type, (size_t(1) << (exponent - 1)) - 1) >= 0;
  RELUME_BUG(made, "no HDF5 type of 16 bits: ", innermost_error());
  return type;
}

hid_t library_type(const Hdf5Type& type) {
  static const hid_t f16 = float16_type(5), bf16 = float16_type(8);
  if (type.kind == Hdf5Kind::unsigned_integer && type.bytes == 1) return H5T_STD_U8LE;
  if (type.kind == Hdf5Kind::unsigned_integer && type.bytes == 8) return H5T_STD_U64LE;
  if (type.kind == Hdf5Kind::signed_integer && type.bytes == 8) return H5T_STD_I64LE;
  if (type.kind == Hdf5Kind::signed_integer && type.bytes == 4) return H5T_STD_I32LE;
  if (type.kind == Hdf5Kind::floating && type.bytes == 4) return H5T_IEEE_F32LE;
  if (type.kind == Hdf5Kind::floating && type.bytes == 8) return H5T_IEEE_F64LE;
  if (type.kind == Hdf5Kind::floating && type.bytes == 2) return type.exponent_bits == 5 ? f16 : bf16;
  RELUME_BUG(false, "no HDF5 dataset of ", to_string(type), " is written");
}

}  // namespace

struct Hdf5Writer::State {
  explicit State(std::filesystem::path p) : path(std::move(p)) {
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // errors are ours to report
    const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose), creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    check(H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), "a file");
    // Links stay in the header of the group, where the reader looks for them, however many there are.
    check(H5Pset_link_phase_change(creation, 65535, 0), "a file");
    check(H5Pset_obj_track_times(creation, false), "a file");
    file = Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose);
    check(file, "a file");
  }

  void check(int64_t result, const std::string& what) const {
    if (result < 0) throw Error(path.string() + ": cannot write " + what + ": " + innermost_error());
  }

  std::filesystem::path path;
  Handle file, dataset;
  std::string name;  // of the dataset that was begun, and what is known of it
  hid_t type = -1;
  std::vector<hsize_t> shape;
  hsize_t done = 0;
};

Hdf5Writer::Hdf5Writer(std::filesystem::path path) : state_(new State(std::move(path))) {}
Hdf5Writer::~Hdf5Writer() = default;

void Hdf5Writer::begin(const std::string& name, const Hdf5Type& type, const std::vector<int64_t>& shape) {
  State& s = *state_;
  RELUME_BUG(!name.empty() && name.find('/') == std::string::npos && !shape.empty(), "HDF5 dataset '", name, "'");
  RELUME_BUG(!s.dataset, "HDF5 dataset '", name, "' begun before '", s.name, "' was whole");
  s.name = "'" + name + "'", s.type = library_type(type), s.shape.assign(shape.begin(), shape.end()), s.done = 0;
  const Handle space(H5Screate_simple(int(shape.size()), s.shape.data(), nullptr), H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  s.check(H5Pset_layout(creation, H5D_CONTIGUOUS), s.name);
  s.check(H5Pset_obj_track_times(creation, false), s.name);
  s.check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), s.name);  // every element is written below, once
  s.dataset = Handle(H5Dcreate2(s.file, name.c_str(), s.type, space, H5P_DEFAULT, creation, H5P_DEFAULT), H5Dclose);
  s.check(s.dataset, s.name);
  if (s.shape[0] == 0) append(nullptr, 0);
}

void Hdf5Writer::append(const void* data, int64_t rows) {
  State& s = *state_;
  RELUME_BUG(s.dataset && hsize_t(rows) <= s.shape[0] - s.done, "HDF5 dataset ", s.name, ": ", rows, " rows too many");
  if (rows > 0) {
    std::vector<hsize_t> start(s.shape.size(), 0), count = s.shape;
    start[0] = s.done, count[0] = hsize_t(rows);
    const Handle in_file(H5Dget_space(s.dataset), H5Sclose);
    const Handle in_memory(H5Screate_simple(int(count.size()), count.data(), nullptr), H5Sclose);
    s.check(H5Sselect_hyperslab(in_file, H5S_SELECT_SET, start.data(), nullptr, count.data(), nullptr), s.name);
    s.check(H5Dwrite(s.dataset, s.type, in_memory, in_file, H5P_DEFAULT, data), s.name);
    s.done += hsize_t(rows);
  }
  if (s.done == s.shape[0]) s.check(s.dataset.end(), s.name);
}

void Hdf5Writer::add(const std::string& name, const Hdf5Type& type, const std::vector<int64_t>& shape, const void* data) {
  begin(name, type, shape);
  if (shape[0] > 0) append(data, shape[0]);
}

void Hdf5Writer::close() {
  State& s = *state_;
  RELUME_BUG(s.file && !s.dataset, "HDF5 dataset ", s.name, ": closed with ", s.done, " rows written");
  s.check(s.file.end(), "the end of the file");
}

}  // namespace relume
