// Configuration of a stage-one training: what `relume train` reads (design D10). Defaults are the paper's general recipe
// (spec/diffbir.md 2.2, spec/degradation.md D3).
#pragma once

#include "configs/reader.h"
#include "degrade/recipe.h"
#include "models/swinir.h"
#include "train/training_config.h"

namespace relume {

struct Stage1DataConfig {
  std::string pictures;    // a folder, a list of files (.txt, .csv, .jsonl) or a pack (.h5)
  std::string validation;  // the same; empty: no validation
  std::string crop = "center";
  int64_t size = 512;
  bool flip = false;
  int64_t max_side = 0;
  int threads = 2;
  double cache_gb = 1;
  std::string bad_pictures = "skip";
  double bad_rate = 0.01;
  bool shared_draws = false;
  int64_t pair_pool = 0;

  void fields(auto&& v) {
    v("pictures", pictures, Required{}, "folder of pictures to train on, a list of files (.txt, .csv, .jsonl) or a pack (.h5)");
    v("validation", validation, "folder, list or pack of held-out pictures; empty: no validation");
    v("crop", crop, OneOf{{"none", "center", "random", "patch"}}, "how a square is taken from a picture");
    v("size", size, Range{8, 8192}, "side of that square in pixels");
    v("flip", flip, "mirror half of the squares");
    v("max_side", max_side, Range{0, 65535}, "reduce larger pictures to this long side when they are read; 0: never");
    v("threads", threads, Range{1, 256}, "threads that prepare batches");
    v("cache_gb", cache_gb, Range{0, 1e6}, "memory for decoded pictures in gigabytes");
    v("bad_pictures", bad_pictures, OneOf{{"skip", "stop"}},
      "what to do where a picture is damaged or too small: take another one and log it, or end the training");
    v("bad_rate", bad_rate, Range{0, 1},
      "fraction of the pictures that may be skipped before the training ends (10 always may)");
    v("shared_draws", shared_draws, "draw once for a batch what the second-order recipe's reference shares within it");
    v("pair_pool", pair_pool, Range{0, 1e6}, "pairs in the pool that mixes batches of shared draws, e.g. 256; 0: no pool");
  }
};

struct Stage1Config {
  std::string output = "out/stage1";
  bool overwrite = false;
  int64_t seed = 231;
  std::string weights;
  SwinIRConfig model;
  Stage1DataConfig data;
  Recipe degradation;
  TrainingConfig train;

  void fields(auto&& v) {
    v("output", output, "folder for the logs, the resolved configuration, the states and the weights");
    v("overwrite", overwrite, "train into a folder that already holds a training, replacing it");
    v("seed", seed, Range{0, 9e15}, "of every random number");
    v("weights", weights, "weights to begin with instead of random ones: safetensors, PyTorch, HDF5; of the same network");
    v("model", model, "the network");
    v("data", data, "the pictures");
    v("degradation", degradation, "how pictures are spoilt");
    v("train", train, "the training");
  }
  void validate() const {
    RELUME_CHECK(!output.empty(), "output is empty; name a folder");
    RELUME_CHECK(data.bad_rate > 0 || data.bad_pictures == "stop",
                 "data.bad_rate 0 allows no bad picture; say data.bad_pictures=stop");
    RELUME_CHECK(!data.shared_draws || degradation.kind == "second_order",
                 "data.shared_draws is for the second-order recipe; set degradation.kind=second_order");
    RELUME_CHECK(data.pair_pool == 0 || (data.shared_draws && data.pair_pool % train.batch_size == 0), "data.pair_pool ",
                 data.pair_pool, " needs data.shared_draws=true and must be a multiple of train.batch_size ", train.batch_size);
    RELUME_CHECK(model.output_is_input_size(),
                 "stage one learns at the size of its input: model.unshuffle must be on, or model.sf 1");
    const int multiple = model.unshuffle ? model.sf * model.window_size : model.outer_unshuffle;
    RELUME_CHECK(data.size % multiple == 0, "data.size ", data.size, " is no multiple of ", multiple,
                 ", which this network needs");
  }
};

}  // namespace relume
