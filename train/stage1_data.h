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
#include "train/state_file.h"

namespace relume {

struct Batch {
  Tensor lq, gt;  // f32 [N, size, size, 3] in [0, 1]
};

// Batches prepared ahead by threads. What a sample holds depends on (seed, position of the batch, index) alone.
class Stage1Batches {
 public:
  // From batch `position` on; `state` is that of a run to be continued, or null. Waits for the first batch, so that pictures
  // nothing can be learnt from are refused before anything is written.
  explicit Stage1Batches(const Stage1Config& config, int64_t position = 0, const StateFile* state = nullptr);
  Batch next();
  std::vector<BadPicture> take_replaced() { return bad_.take(); }  // pictures of the batches so far, each once
  double last_wait_seconds() const { return loader_->last_wait_seconds(); }
  void save(StateContents& state) const;  // what a continued run needs beside the position: data/, pool/

 private:
  struct Sample {
    Degraded pair;                // with shared draws only its gt, clean
    std::vector<BadPicture> met;  // pictures it takes the place of
  };
  Sample sample(int64_t position, int64_t index);
  Degraded degraded_together(const Tensor& clean, int64_t position);
  Tensor crop(int64_t picture, RandomKey key);  // u8 [size, size, 3]
  void restore(const StateFile& state);
  Stage1Config config_;
  CropOptions crop_;
  std::unique_ptr<PictureDataset> pictures_;
  SampleOrder order_;
  Substitutes substitutes_;
  BadPictures bad_;
  std::optional<PairPool> pool_;
  std::optional<LoadedBatch<Sample>> first_;
  std::unique_ptr<Loader<Sample>> loader_;  // last: its threads use the members above
};

// Held-out pairs, degraded once with fixed draws: the middle of each picture, at most 512 x 512, never resized.
std::vector<Degraded> validation_pairs(const Stage1Config& config);

}  // namespace relume
