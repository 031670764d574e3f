#include "data/hdf5_writer.h"

#include <hdf5.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/files.h"

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

// The innermost entry of libhdf5's error stack. Where a system call failed it is a long line with, somewhere in it,
// "errno = 28, error message = 'No space left on device'": then that is all there is to say.
struct LibraryError {
  std::string text;
  int number = 0;  // errno; 0: no system call failed
};
LibraryError innermost_error() {
  LibraryError error;
  H5Ewalk2(
      H5E_DEFAULT, H5E_WALK_UPWARD,
      [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
        if (depth == 0 && entry->desc) static_cast<LibraryError*>(out)->text = entry->desc;
        return 0;
      },
      &error);
  if (const size_t at = error.text.find("errno = "); at != std::string::npos) {
    error.number = std::atoi(error.text.c_str() + at + 8);
    error.text = std::generic_category().message(error.number);
  }
  if (error.text.empty()) error.text = "unknown reason";
  return error;
}

// The library has no 16-bit floats of its own. Made once, for the life of the process.
hid_t float16_type(int exponent_bits) {
  const hid_t type = H5Tcopy(H5T_IEEE_F32LE);
  const size_t exponent = size_t(exponent_bits), mantissa = 15 - exponent;
  const bool made = H5Tset_fields(type, 15, mantissa, exponent, 0, mantissa) >= 0 && H5Tset_precision(type, 16) >= 0 &&
                    H5Tset_size(type, 2) >= 0 && H5Tset_ebias(type, (size_t(1) << (exponent - 1)) - 1) >= 0;
  RELUME_BUG(made, "no HDF5 type of 16 bits: ", innermost_error().text);
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
  State(const std::filesystem::path& path, std::filesystem::path shown, int64_t bytes)
      : target(std::move(shown)), needed(bytes) {
    // A file that could not be closed, on a full disk, would be tried again when the process ends, and crash it there.
    [[maybe_unused]] static const herr_t once = H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);  // errors are ours to report
    const Handle access(H5Pcreate(H5P_FILE_ACCESS), H5Pclose), creation(H5Pcreate(H5P_FILE_CREATE), H5Pclose);
    check(H5Pset_libver_bounds(access, H5F_LIBVER_LATEST, H5F_LIBVER_LATEST), "a file");
    prepare_group(creation);
    file = Handle(H5Fcreate(path.c_str(), H5F_ACC_TRUNC, creation, access), H5Fclose);
    check(file, "a file");
  }

  void check(int64_t result, const std::string& what) const {
    if (result >= 0) return;
    const LibraryError error = innermost_error();
    throw Error(target.string() + ": cannot write " + what + ": " + error.text +
                room_text(error.number, target, double(needed)));
  }

  // Links stay in the header of the group, where the reader looks for them, however many there are.
  void prepare_group(const Handle& creation) const {
    check(H5Pset_link_phase_change(creation, 65535, 0), "a group");
    check(H5Pset_obj_track_times(creation, false), "a group");
  }

  // The group that "group/name" lies in, made at its first use; the file itself for a plain name.
  hid_t group_of(const std::string& full) {
    const size_t slash = full.find('/');
    if (slash == std::string::npos) return file;
    const std::string group = full.substr(0, slash);
    const auto found = groups.find(group);
    if (found != groups.end()) return found->second;
    const Handle creation(H5Pcreate(H5P_GROUP_CREATE), H5Pclose);
    prepare_group(creation);
    Handle made(H5Gcreate2(file, group.c_str(), H5P_DEFAULT, creation, H5P_DEFAULT), H5Gclose);
    check(made, "the group '" + group + "'");
    return groups.emplace(group, std::move(made)).first->second;
  }

  std::filesystem::path target;
  int64_t needed;
  Handle file, dataset;
  std::map<std::string, Handle> groups;  // after the file: closed before it
  std::string name;                      // of the dataset that was begun, and what is known of it
  hid_t type = -1;
  std::vector<hsize_t> shape;
  hsize_t done = 0;
};

Hdf5Writer::Hdf5Writer(std::filesystem::path path, std::filesystem::path target, int64_t needed)
    : state_(new State(path, target.empty() ? path : std::move(target), needed)) {}
Hdf5Writer::~Hdf5Writer() = default;

void Hdf5Writer::begin(const std::string& name, const Hdf5Type& type, const std::vector<int64_t>& shape) {
  State& s = *state_;
  const size_t slash = name.find('/');
  RELUME_BUG(slash != 0 && !name.empty() && !name.ends_with('/') && slash == name.rfind('/'), "HDF5 dataset '", name, "'");
  RELUME_BUG(!s.dataset, "HDF5 dataset '", name, "' begun before '", s.name, "' was whole");
  s.name = "'" + name + "'", s.type = library_type(type), s.shape.assign(shape.begin(), shape.end()), s.done = 0;
  const Handle space(shape.empty() ? H5Screate(H5S_SCALAR) : H5Screate_simple(int(shape.size()), s.shape.data(), nullptr),
                     H5Sclose);
  const Handle creation(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
  s.check(H5Pset_layout(creation, H5D_CONTIGUOUS), s.name);
  s.check(H5Pset_obj_track_times(creation, false), s.name);
  s.check(H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER), s.name);  // every element is written below, once
  const std::string own_name = slash == std::string::npos ? name : name.substr(slash + 1);
  s.dataset =
      Handle(H5Dcreate2(s.group_of(name), own_name.c_str(), s.type, space, H5P_DEFAULT, creation, H5P_DEFAULT), H5Dclose);
  s.check(s.dataset, s.name);
  if (!s.shape.empty() && s.shape[0] == 0) append(nullptr, 0);
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
  State& s = *state_;
  if (!shape.empty()) return shape[0] > 0 ? append(data, shape[0]) : void();
  s.check(H5Dwrite(s.dataset, s.type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data), s.name);
  s.check(s.dataset.end(), s.name);
}

void Hdf5Writer::close() {
  State& s = *state_;
  RELUME_BUG(s.file && !s.dataset, "HDF5 dataset ", s.name, ": closed with ", s.done, " rows written");
  s.groups.clear();
  s.check(s.file.end(), "the end of the file");
}

}  // namespace relume
