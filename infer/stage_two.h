// Stage two as the pipeline applies it to what stage one restored (spec/diffbir.md 5.3, 5.8).
#pragma once

#include <functional>
#include <memory>

#include "models/control_ldm.h"
#include "models/diffusion/classifier_free.h"
#include "models/diffusion/named_sampler.h"
#include "tensor/core/repeated_function.h"

namespace relume {

struct StageTwoOptions {
  NoiseSchedule schedule = NoiseSchedule();
  Prediction prediction = Prediction::eps;
  SamplerOptions sampler = {};
  ClassifierFreeOptions guidance = {};
  bool start_from_condition = false;  // a start that is steadier than noise, with less detail
  int64_t noise_augmentation = 0;     // time of the noise that is added to the condition; 0: none
  double strength = 1;                // of the control
  int64_t tile = 0, tile_stride = 0;  // of latents, in their pixels, multiples of 8; 0: whole
  // Tiles of the autoencoder as the reference has them (models/autoencoder_tiles.h): pixels, latents; 0: whole.
  int64_t encoder_tile = 0, decoder_tile = 0;
};

// All that is drawn for one call.
struct StageTwoNoise {
  Tensor start;         // N(0, 1), like the latents that start_shape() says
  Tensor augmentation;  // the same, where noise_augmentation is not 0
  NoiseSource steps;    // the sampler's
};

class StageTwo {
 public:
  // `networks` must live as long.
  StageTwo(const ControlLdm& networks, StageTwoOptions options);

  // The condition's latents of a cleaned picture, f32 [N, H, W, 3] in [0, 1] on the CPU, which is padded with zeros on the
  // right and at the bottom to multiples of 64, with tiles of the denoiser or the encoder of 8.
  Tensor condition(const Tensor& cleaned) const;
  Shape start_shape(const Tensor& condition) const;  // of what is sampled: whole, the sides are multiples of 8
  // Latents of the condition's shape.
  Tensor sample(const Tensor& condition, const TextCondition& text, const StageTwoNoise& noise, const X0Hook& hook = {}) const;
  // The picture of latents, f32 [N, 8 h, 8 w, 3] on the CPU, about [0, 1], not clamped; to be cropped to the cleaned one's
  // size.
  Tensor decode(const Tensor& latents) const;

  // A prediction for a batch of latents or of their tiles, with the part of the condition that belongs to them.
  using Predict = std::function<Tensor(const Tensor& x, double t, const Tensor& condition, Texts texts)>;
  // Called in place of the networks, which it may ask itself: to watch them.
  using Watch = std::function<Tensor(const Predict& predict, const Tensor& x, double t, const Tensor& condition, Texts texts)>;
  void set_watch(Watch watch) { watch_ = std::move(watch); }

 private:
  Denoiser denoiser(const Tensor& condition, const TextCondition& text) const;
  Predict tiled(Predict predict) const;
  bool in_tiles() const { return options_.tile > 0; }

  const ControlLdm& networks_;
  StageTwoOptions options_;
  std::unique_ptr<RepeatedFunction> predicted_;  // of latents, waves, the condition and the text's tensors
  Watch watch_;
};

// The part of a picture f32 [N, H, W, C] on the CPU that begins at its upper left corner, dense.
Tensor cropped(const Tensor& picture, int64_t height, int64_t width);

}  // namespace relume
