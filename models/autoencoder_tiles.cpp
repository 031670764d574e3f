#include "models/autoencoder_tiles.h"

#include <algorithm>
#include <cmath>

#include "autograd/resample.h"
#include "base/interrupt.h"
#include "base/rounding.h"

namespace relume {
namespace {

constexpr int64_t encoder_border = 32, decoder_border = 11;  // pixels, latents
constexpr int64_t tile_multiples[] = {32, 16, 8, 4, 2};

// The side that covers `length` with as many tiles, as even as possible.
int64_t even_tile(int64_t length, int64_t count, int64_t tile) {
  const int64_t even = (length + count - 1) / count;
  for (const int64_t multiple : tile_multiples)
    if (round_up(even, multiple) <= tile) return round_up(even, multiple);
  return even;
}

Tensor part_of(const Tensor& map, const AutoencoderTile& y, const AutoencoderTile& x) {
  return pad(map, -y.begin, -x.begin, y.end - map.shape(1), x.end - map.shape(2), Border::zero);
}

// A piece of a map on its way, and what the steps kept of it.
struct Piece {
  Tensor x, kept;
};

// All pieces normalised by the mean of their statistics, weighted by their pixels.
void normalise_together(const GroupNorm& norm, std::vector<Piece>& pieces) {
  std::vector<double> means, variances;  // of each group, the norm's epsilon within
  double pixels = 0;
  for (const Piece& piece : pieces) {
    const Tensor stats = norm.stats(piece.x).to(Device{}).to(DType::f64);
    const double weight = double(piece.x.shape(1) * piece.x.shape(2));
    means.resize(size_t(stats.shape(1))), variances.resize(means.size());
    for (size_t g = 0; g < means.size(); ++g) {
      const double* const found = stats.data<double>() + 2 * g;
      means[g] += weight * found[0], variances[g] += weight / (found[1] * found[1]);
    }
    pixels += weight;
  }
  std::vector<double> shared;
  for (size_t g = 0; g < means.size(); ++g)
    shared.push_back(means[g] / pixels), shared.push_back(1 / std::sqrt(variances[g] / pixels));
  const Tensor& first = pieces[0].x;
  const Tensor stats = Tensor::of<double>({1, int64_t(means.size()), 2}, shared)
                           .to(first.dtype() == DType::f64 ? DType::f64 : DType::f32)
                           .to(first.device());
  for (Piece& piece : pieces) {
    const Tensor normed = empty_like(piece.x);
    norm.apply(normed, piece.x, stats);
    piece.x = normed;
  }
}

void take(const AutoencoderStep& step, std::vector<Piece>& pieces) {
  for (Piece& piece : pieces)
    if (step.keeps) piece.kept = piece.x;
  if (step.norm) normalise_together(*step.norm, pieces);
  for (Piece& piece : pieces) {
    piece.x = step.behind_norm(piece.x, piece.kept);
    if (step.adds) piece.kept = {};
  }
}

// What each piece owns, side by side. `scaled` leads from pixels of the input to those of the result.
template <class Scaled> Tensor stitched(const std::vector<Piece>& pieces, const std::vector<AutoencoderTile>& rows,
                                        const std::vector<AutoencoderTile>& columns, const Scaled& scaled) {
  const Tensor& first = pieces[0].x;
  const int64_t channels = first.shape(3);
  const Tensor out =
      Tensor::empty({scaled(rows.back().end), scaled(columns.back().end), channels}, first.dtype(), first.device());
  const auto line = [&](const Tensor& map, int64_t row, int64_t begin, int64_t end) {
    return map.slice(row, row + 1).reshape({map.shape(1), channels}).slice(begin, end);
  };
  for (size_t i = 0; i < pieces.size(); ++i) {
    const AutoencoderTile &y = rows[i / columns.size()], &x = columns[i % columns.size()];
    const Tensor piece = pieces[i].x.reshape({pieces[i].x.shape(1), pieces[i].x.shape(2), channels});
    const int64_t top = scaled(y.begin), left = scaled(x.begin), begin = scaled(x.owned_begin), end = scaled(x.owned_end);
    for (int64_t row = scaled(y.owned_begin); row < scaled(y.owned_end); ++row)
      line(out, row, begin, end).copy_from(line(piece, row - top, begin - left, end - left));
  }
  return out.reshape({1, out.shape(0), out.shape(1), channels});
}

// One sample through the steps; its result is `up` times as large, or 1 / `down`.
Tensor run_steps(const AutoencoderSteps& steps, const Tensor& map, int64_t tile, int64_t border, int64_t up, int64_t down) {
  const auto rows = autoencoder_tiles(map.shape(1), tile, border), columns = autoencoder_tiles(map.shape(2), tile, border);
  std::vector<Piece> pieces;
  for (const AutoencoderTile& y : rows)
    for (const AutoencoderTile& x : columns) pieces.push_back({part_of(map, y, x), {}});
  for (const AutoencoderStep& step : steps) {
    throw_if_interrupted();
    take(step, pieces);
  }
  return stitched(pieces, rows, columns, [&](int64_t n) { return n * up / down; });
}

bool is_small(const Tensor& map, int64_t tile, int64_t border) {
  return std::max(map.shape(1), map.shape(2)) <= tile + 2 * border;
}

}  // namespace

std::vector<AutoencoderTile> autoencoder_tiles(int64_t length, int64_t tile, int64_t pad) {
  const int64_t inner = std::max<int64_t>(1, length - 2 * pad), count = std::max<int64_t>(1, (inner + tile - 1) / tile);
  const int64_t side = even_tile(inner, count, tile);
  std::vector<AutoencoderTile> tiles;
  for (int64_t i = 0; i < count; ++i) {
    AutoencoderTile t{.owned_begin = pad + i * side, .owned_end = std::min(pad + (i + 1) * side, length)};
    t.begin = std::max<int64_t>(0, t.owned_begin - pad), t.end = std::min(length, t.owned_end + pad);
    if (i == 0) t.owned_begin = 0;
    if (t.owned_end > length - pad) t.owned_end = length;
    tiles.push_back(t);
  }
  return tiles;
}

Tensor encoded_in_tiles(const AutoencoderKL& vae, const Tensor& pictures, int64_t tile) {
  const NoGrad no_grad;
  if (is_small(pictures, tile, encoder_border)) return vae.encoded(pictures);
  const AutoencoderSteps steps = vae.encoder.steps();
  return sample_by_sample(
      pictures, [&](const Tensor& one) { return run_steps(steps, one, tile, encoder_border, 1, vae.config().reduction()); });
}

Tensor moments_in_tiles(const AutoencoderKL& vae, const Tensor& pictures, int64_t tile) {
  const NoGrad no_grad;
  return vae.quant_conv(encoded_in_tiles(vae, pictures, tile));
}

Tensor decoded_in_tiles(const AutoencoderKL& vae, const Tensor& latents, int64_t tile) {
  const NoGrad no_grad;
  if (is_small(latents, tile, decoder_border)) return vae.decode(latents);
  const AutoencoderSteps steps = vae.decoder.steps();
  return sample_by_sample(vae.post_quant_conv(latents), [&](const Tensor& one) {
    return run_steps(steps, one, tile, decoder_border, vae.config().reduction(), 1);
  });
}

}  // namespace relume
