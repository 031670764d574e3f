#include "infer/cleaner.h"

#include "autograd/elementwise.h"
#include "autograd/resample.h"
#include "data/convert.h"
#include "data/resize.h"
#include "tensor/kernels/memory.h"

namespace relume {
namespace {

Tensor as_float(const Tensor& picture) { return picture.dtype() == DType::u8 ? to_float(picture) : picture; }

Tensor enlarged(const Tensor& picture, int64_t short_side) {
  const bool small = std::min(picture.shape(1), picture.shape(2)) < short_side;
  return small ? resize_short_side(picture, short_side) : picture;
}

// The size that is asked for, once a picture is clean.
Tensor resized(const Tensor& picture, const CleanOptions& o) {
  if (o.height == 0) return enlarged(picture, o.short_side);
  if (std::min(o.height, o.width) < o.short_side) return resize_short_side(picture, o.short_side);
  return resize_torch(picture, o.height, o.width, TorchResize::bicubic, {.antialias = true});
}

Tensor clean_whole(const Cleaner& cleaner, const Tensor& lq, const CleanOptions& o) {
  const Tensor x = cleaner.enlarge_after ? as_float(lq) : enlarged(as_float(lq), o.short_side);
  const int64_t height = x.shape(1) * cleaner.scale, width = x.shape(2) * cleaner.scale;
  const auto missing = [&](int64_t side) { return padded_side(cleaner, side) - side; };
  const Tensor y = cleaner.network(pad(x, 0, 0, missing(x.shape(1)), missing(x.shape(2)), Border::zero));
  return resized(pad(y, 0, 0, height - y.shape(1), width - y.shape(2), Border::zero), o);
}

Tensor clean_tiled(const Cleaner& cleaner, const Tensor& lq, const CleanOptions& o) {
  RELUME_CHECK(o.tile % cleaner.multiple == 0, "tiles of ", o.tile, " pixels; this network takes multiples of ",
               cleaner.multiple);
  // An 8-bit picture is cut as it is: it needs a quarter of the memory.
  const Tensor cleaned = run_tiled(
      lq, {.size = o.tile, .stride = o.tile_stride, .up = cleaner.scale},
      [&](const Tensor& tile, const TileWindow&) { return cleaner.network(as_float(tile)); }, o.progress);
  return resized(cleaned, o);
}

// Tiles, and pictures of one folder, often have one shape.
template <class Network> std::function<Tensor(const Tensor&)> computed_by(const Network& network, DType compute = DType::f32) {
  const Device device = network.device();
  const std::shared_ptr<RepeatedFunction> repeated = kernels::repeated.on(device)(
      device, [&network, compute](const std::vector<Tensor>& x) { return cast(network(cast(x[0], compute)), DType::f32); });
  return [repeated](const Tensor& x) { return (*repeated)({x}); };
}

}  // namespace

Cleaner cleaner_of(const SwinIR& network) {
  const SwinIRConfig& c = network.config();
  return {.network = computed_by(network),
          .multiple = network.padding_multiple(),
          .scale = network.output_scale(),
          .only_side = c.ape ? c.img_size / c.patch_size * (c.unshuffle ? c.sf : c.outer_unshuffle) : 0,
          .device = network.device()};
}

Cleaner cleaner_of(const RRDBNet& network, DType compute) {
  return {.network = computed_by(network, compute),
          .scale = network.config().sf,
          .device = network.device(),
          .enlarge_after = true};
}

Cleaner cleaner_of(const SCUNet& network, DType compute) {
  return {.network = computed_by(network, compute), .device = network.device(), .enlarge_after = true};
}

Tensor clean(const Cleaner& cleaner, const Tensor& lq, const CleanOptions& options) {
  RELUME_CHECK(lq && (lq.rank() == 3 || lq.rank() == 4) && lq.numel() > 0, "clean: expects a picture [H, W, 3], got ", lq);
  const NoGrad no_grad;
  const Tensor x = lq.rank() == 4 ? lq : lq.reshape({1, lq.shape(0), lq.shape(1), lq.shape(2)});
  const Tensor y =
      is_tiled(options, x.shape(1), x.shape(2)) ? clean_tiled(cleaner, x, options) : clean_whole(cleaner, x, options);
  return lq.rank() == 4 ? y : y.reshape({y.shape(1), y.shape(2), y.shape(3)});
}

}  // namespace relume
