// The HDF5 reader and packs on top of it, checksums of the metadata ignored, so that bytes behind them are reached. Whatever
// the bytes, everything read lies within them or is an InputError that names the file.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"
#include "data/pack/pack.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relume;
  // A copy of the exact size, so that a read beyond its end is seen.
  const std::shared_ptr<char[]> bytes(new char[size]);
  std::copy(data, data + size, bytes.get());
  const auto check_name = [](const InputError& e) {
    if (!std::string(e.what()).starts_with("x.h5")) __builtin_trap();
  };
  try {
    Hdf5File file({bytes, {bytes.get(), size}}, "x.h5", Hdf5File::Checksums::ignore);
    for (const Hdf5Dataset& dataset : file.datasets())
      if (file.bytes(dataset).size() != dataset.bytes) __builtin_trap();
    const Pack pack(std::move(file));
    for (int64_t i = 0; i < std::min<int64_t>(pack.size(), 100); ++i) {
      try {
        pack.captions(i);
        pack.picture(i);
      } catch (const InputError& e) {
        check_name(e);
      }
    }
  } catch (const InputError& e) {
    check_name(e);
  }
  return 0;
}
