// Bytes as weights in HDF5 or a training state, checksums of the metadata ignored, so that bytes behind them are reached: an
// InputError that names the file, or tensors within it.
#include "data/checkpoint/hdf5_checkpoint.h"
#include "fuzz/exact_copy.h"
#include "fuzz/memory.h"
#include "fuzz/tensors.h"

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  relume::fuzz::use_plain_memory();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace relume;
  try {
    const auto file = std::make_shared<const Hdf5File>(fuzz::exact_copy(data, size), "x.h5", Hdf5File::Checksums::ignore);
    for (const bool raw : {false, true}) {
      const Checkpoint c = open_hdf5(file, {.raw_weights = raw});
      fuzz::read_all(*c.tensors, "x.h5: ");
    }
  } catch (const InputError& error) {
    fuzz::require_message(error, "x.h5: ");
  }
  return 0;
}
