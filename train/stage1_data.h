// Training and validation pairs of stage one.
#pragma once

#include <memory>
#include <optional>

#include "data/bad_pictures.h"
#include "data/crop.h"
#include "data/dataset.h"
#include "data/loader.h"
#include "degrade/pair_pool.h"
#include "train/stage1_config.h"

namespace relume {

struct Batch {
  Tensor lq, gt;  // f32 [N, size, size, 3] in [0, 1]
};

// Batches prepared ahead by threads. What a sample holds depends on (seed, step, index) alone.
class Stage1Batches {
 public:
  // Waits for the first batch, so that pictures nothing can be learnt from are refused before anything is written.
  explicit Stage1Batches(const Stage1Config& config);
  Batch next();
  // Pictures that others took the place of, since the last call; those of batches prepared ahead are among them.
  std::vector<BadPicture> take_skipped() { return bad_.take(); }
  double last_wait_seconds() const { return loader_->last_wait_seconds(); }

 private:
  Degraded sample(int64_t step, int64_t index);  // with shared draws only its gt, clean
  Degraded degraded_together(const Tensor& clean, int64_t step);
  Tensor crop(int64_t picture, RandomKey key);  // u8 [size, size, 3]
  Stage1Config config_;
  CropOptions crop_;
  std::unique_ptr<PictureDataset> pictures_;
  SampleOrder order_;
  BadPictures bad_;
  std::optional<PairPool> pool_;
  std::optional<LoadedBatch<Degraded>> first_;
  std::unique_ptr<Loader<Degraded>> loader_;  // last: its threads use the members above
};

// Held-out pairs, degraded once with fixed draws: the middle of each picture, `size` x `size`, never resized.
std::vector<Degraded> validation_pairs(const Stage1Config& config);

}  // namespace relume
