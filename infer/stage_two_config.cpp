#include "infer/stage_two_config.h"

namespace relume {
namespace {

constexpr int64_t tile_multiple = 64;  // of the denoiser's tiles, in pixels (spec 5.3)

}  // namespace

void StageTwoConfig::validate() const {
  RELUME_CHECK(diffusion.linear_start <= diffusion.linear_end, "diffusion: linear_start ", diffusion.linear_start,
               " is above linear_end ", diffusion.linear_end);
  RELUME_CHECK(!diffusion.zero_snr || diffusion.parameterization == "v",
               "diffusion: zero_snr needs parameterization v: from noise alone an eps model tells nothing");
  RELUME_CHECK(noise_aug < diffusion.timesteps, "noise_aug ", noise_aug, ": the schedule has times 0 to ",
               diffusion.timesteps - 1);
  RELUME_CHECK(cldm_tile_size % tile_multiple == 0, "cldm_tile_size ", cldm_tile_size, ": expected a multiple of ",
               tile_multiple, ", or 0 for whole pictures");
  const int64_t reduction = networks.vae.reduction();
  RELUME_CHECK(cldm_tile_stride <= cldm_tile_size && cldm_tile_stride % reduction == 0, "cldm_tile_stride ", cldm_tile_stride,
               ": expected a multiple of ", reduction, " up to the tile of ", cldm_tile_size);
  for (const int64_t tile : {vae_encoder_tile_size, vae_decoder_tile_size})
    RELUME_CHECK(tile % reduction == 0, "tiles of the autoencoder of ", tile, " pixels: expected a multiple of ", reduction,
                 ", or 0 for whole pictures");
  RELUME_CHECK(guidance.loss != "w_mse" || guidance.space == "rgb",
               "guidance: w_mse looks for flat areas in pictures; it needs space rgb");
  RELUME_CHECK(guidance.loss == "none" || cldm_tile_size == 0, "guidance does not go with tiles (cldm_tile_size)");
  networks.validate();
  stage_two().sampler.validate();
}

DenoiserTiles StageTwoConfig::denoiser_tiles() const {
  return {cldm_tile_size, cldm_tile_stride > 0 ? cldm_tile_stride : cldm_tile_size / 2};
}

StageTwoOptions StageTwoConfig::stage_two() const {
  const int64_t reduction = networks.vae.reduction();
  const DenoiserTiles tiles = denoiser_tiles();
  return {.schedule = NoiseSchedule({.steps = diffusion.timesteps,
                                     .first = diffusion.linear_start,
                                     .last = diffusion.linear_end,
                                     .zero_terminal_snr = diffusion.zero_snr}),
          .prediction = diffusion.parameterization == "v" ? Prediction::v : Prediction::eps,
          .sampler = {.name = sampler,
                      .steps = steps,
                      .s_churn = s_churn,
                      .s_tmin = s_tmin,
                      .s_tmax = s_tmax,
                      .s_noise = s_noise,
                      .eta = eta,
                      .order = order,
                      .exact_reference = exact_reference},
          .guidance = {.scale = cfg_scale, .rescale = rescale_cfg},
          .start_from_condition = start_point_type == "cond",
          .noise_augmentation = noise_aug,
          .strength = strength,
          .tile = tiles.size / reduction,
          .tile_stride = tiles.stride / reduction,
          .encoder_tile = vae_encoder_tile_size,
          .decoder_tile = vae_decoder_tile_size / reduction};
}

}  // namespace relume
