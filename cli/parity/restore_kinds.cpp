// Kinds gaussian_weights, tiled_fn, cleaner: tiles and their weights (spec/diffbir.md 5.8), and stage one as the pipeline
// applies it (5.2).
#include <array>
#include <cmath>

#include "autograd/conv.h"
#include "autograd/resample.h"
#include "base/files.h"
#include "base/text.h"
#include "cli/parity/kinds.h"
#include "data/resize.h"
#include "infer/cleaner.h"

namespace relume::parity {
namespace {

constexpr int64_t max_windows_file = int64_t(1) << 24;  // bytes

// The numbers between the letters of "w12h7".
std::vector<int64_t> numbers_in(const std::string& text) {
  std::vector<int64_t> numbers;
  for (size_t at = text.find_first_of("0123456789"); at != std::string::npos; at = text.find_first_of("0123456789", at)) {
    const size_t end = std::min(text.find_first_not_of("0123456789", at), text.size());
    RELUME_CHECK(end - at <= 9, "'", text, "' holds a number of ", end - at, " digits");
    numbers.push_back(std::stoll(text.substr(at, end - at)));
    at = end;
  }
  return numbers;
}

// sliding_windows.json: "h,w,tile,stride" to the windows (top, bottom, left, right).
void compare_windows(const Case& c, Report& report) {
  const Json listed = Json::parse(read_file(c.path().parent_path() / "sliding_windows.json", max_windows_file));
  for (const auto& [key, windows] : listed.items()) {
    const std::vector<int64_t> n = numbers_in(key);
    RELUME_CHECK(n.size() == 4, "sliding_windows.json: '", key, "' is not 'h,w,tile,stride'");
    std::vector<std::vector<int64_t>> ours;
    for (const TileWindow& w : tile_windows(n[0], n[1], {.size = n[2], .stride = n[3]}))
      ours.push_back({w.top, w.top + w.size, w.left, w.left + w.size});
    if (Json(ours) != windows) report.complain("sliding_windows.json: the windows of '" + key + "' are not ours");
  }
}

void run_gaussian_weights(const Case& c, Report& report) {
  const std::string prefix = "output.";
  for (const std::string& name : c.names(prefix)) {
    const std::vector<int64_t> sides = numbers_in(name.substr(prefix.size()));
    RELUME_CHECK(sides.size() == 2, c.name(), ": output '", name, "' is not named by its width and height");
    report.compare(name, gaussian_weights(sides[1], sides[0]));
  }
  compare_windows(c, report);
}

// The function of the tiled_fn cases: tanh of a convolution, plus a tenth of the tile's mean, then larger or smaller.
Tensor tiled_fn(const Tensor& tile, const Tensor& kernel, const Tiling& t) {
  const Tensor y = conv2d(tile, kernel, {}, ConvOptions::same(3));
  const int64_t channels = y.shape(3), pixels = y.shape(1) * y.shape(2);
  for (int64_t n = 0; n < y.shape(0); ++n)
    for (int64_t channel = 0; channel < channels; ++channel) {
      const float* in = tile.data<float>() + n * pixels * channels + channel;
      float* out = y.data<float>() + n * pixels * channels + channel;
      double sum = 0;
      for (int64_t i = 0; i < pixels; ++i) sum += in[i * channels];
      for (int64_t i = 0; i < pixels; ++i) out[i * channels] = std::tanh(out[i * channels]) + float(0.1 * sum / double(pixels));
    }
  return t.down > 1 ? resize_torch(y, y.shape(1) / t.down, y.shape(2) / t.down, TorchResize::area)
                    : upsample_nearest(y, int(t.up));
}

void run_tiled_fn(const Case& c, Report& report) {
  Tiling tiling{.size = c.option<int64_t>("size"), .stride = c.option<int64_t>("stride")};
  const std::string direction = c.option<std::string>("scale_type"), weight = c.option<std::string>("weight");
  RELUME_CHECK(direction == "up" || direction == "down", c.name(), ": unknown scale_type '", direction, "'");
  RELUME_CHECK(weight == "gaussian" || weight == "uniform", c.name(), ": unknown weight '", weight, "'");
  (direction == "up" ? tiling.up : tiling.down) = c.option<int64_t>("scale");
  tiling.blend = weight == "gaussian" ? TileBlend::gaussian : TileBlend::uniform;
  const Tensor kernel = to_channels_last(c.f32("input.kernel"));
  const NoGrad no_grad;
  const Tensor y = run_tiled(to_channels_last(c.f32("input.x")), tiling,
                             [&](const Tensor& tile, const TileWindow&) { return tiled_fn(tile, kernel, tiling); });
  report.compare_output("y", to_channels_first(y));
}

Tensor cleaned_by(const Case& c, const std::string& kind, const CleanOptions& options) {
  const Json& call = c.config().at("cleaner");
  const auto run = [&](const auto& network) {
    return to_channels_first(clean(cleaner_of(network), to_channels_last(c.f32("input.lq")), options));
  };
  if (kind == "swinir") return run(*swinir_of(c, call, "swinir."));
  if (kind == "bsrnet") return run(*rrdbnet_of(c, call));
  if (kind == "scunet") return run(*scunet_of(c, call));
  throw NotImplemented("cleaner " + kind);
}

void run_cleaner(const Case& c, Report& report) {
  constexpr int64_t published_short_side = 512;
  const std::string kind = c.option<std::string>("kind");
  CleanOptions options{.short_side = published_short_side};
  if (kind == "bsrnet") {
    const auto size = c.option<std::array<int64_t, 2>>("output_size");
    options.height = size[0], options.width = size[1];
  }
  if (c.option<bool>("tiled")) {
    options.tile = c.option<int64_t>("tile_size");
    options.tile_stride = c.option<int64_t>("tile_stride");
  }
  const Tensor cleaned = cleaned_by(c, kind, options);
  double sum = 0;
  for (int64_t i = 0; i < cleaned.numel(); ++i) sum += cleaned.data<float>()[i];
  report.compare_output("clean", cleaned);
  report.compare_output("clean_mean", sum / double(cleaned.numel()));
  RELUME_CHECK(c.option<std::vector<int64_t>>("cleaned_shape") ==
                   std::vector<int64_t>(cleaned.shape().sizes().begin(), cleaned.shape().sizes().end()),
               c.name(), ": cleaned to ", cleaned.shape());
}

}  // namespace

void register_restore_kinds(Kinds& kinds) {
  kinds["gaussian_weights"] = run_gaussian_weights;
  kinds["tiled_fn"] = run_tiled_fn;
  kinds["cleaner"] = run_cleaner;
}

}  // namespace relume::parity
