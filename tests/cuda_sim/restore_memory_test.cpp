// Restoring where the device has less memory than the plan counted on.
#include <gtest/gtest.h>

#include "infer/restore.h"
#include "tests/cuda/runs.h"
#include "tests/cuda_sim/fake_runtime.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_weights.h"

namespace relume::test {
namespace {

// The device has `memory` more than is in use, as long as one lives.
class ShortMemory {
 public:
  explicit ShortMemory(int64_t memory) { sim::set_device_memory(uint64_t(allocator(cuda_device).bytes_in_use() + memory)); }
  ~ShortMemory() { sim::set_device_memory(16ull << 30); }
  ShortMemory(const ShortMemory&) = delete;
  ShortMemory& operator=(const ShortMemory&) = delete;
};

TEST(CudaMemory, ThatRunsOutMakesTilesOrNamesTheOption) {
  const TemporaryFolder folder;
  save_small_network(0, folder / "weights.safetensors");
  write_png(folder / "in.png", natural_picture(64, 64, 1));
  RestoreOptions o{.input = folder / "in.png",
                   .output = folder / "out.png",
                   .weights = folder / "weights.safetensors",
                   .device = cuda_device,
                   .memory = int64_t(2) << 30};  // more than there is: nothing is measured, and the picture is taken whole
  allocator(cuda_device).reset_peak();
  const int64_t before = allocator(cuda_device).bytes_in_use();
  restore_files(o);
  const int64_t whole = allocator(cuda_device).peak_bytes() - before;

  const ShortMemory memory(whole * 3 / 4);
  o.existing = Existing::replaced;
  testing::internal::CaptureStderr();
  EXPECT_EQ(restore_files(o).restored, 1);
  EXPECT_HAS(testing::internal::GetCapturedStderr(), "in.png: out of memory on cuda:0: ");
  o.mode = TileMode::off;
  std::string text;
  try {
    restore_files(o);
  } catch (const OutOfMemory& e) {
    text = e.what();
  }
  EXPECT_HAS(text, "while it was restored whole; leave out --tile off");
}

}  // namespace
}  // namespace relume::test
