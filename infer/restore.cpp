#include "infer/restore.h"

#include "autograd/elementwise.h"
#include "data/convert.h"
#include "data/pil_resize.h"
#include "data/resize.h"

namespace relume {

namespace {

using Path = std::filesystem::path;

Tensor as_float(const Tensor& part) { return part.dtype() == DType::u8 ? to_float(part) : part; }

// BT.601 luma in all channels, in the form that leaves equal channels exactly as they are.
Tensor grey_of(const Tensor& picture) {
  const Tensor out = Tensor::empty(picture.shape());
  const float* in = picture.data<float>();
  float* to = out.data<float>();
  for (int64_t i = 0; i < picture.numel(); i += 3)
    to[i] = to[i + 1] = to[i + 2] = in[i + 1] + 0.299f * (in[i] - in[i + 1]) + 0.114f * (in[i + 2] - in[i + 1]);
  return out;
}

}  // namespace

Tensor restore_picture(const SwinIR& network, const Tensor& picture) { return clean(cleaner_of(network), picture); }

// Pillow keeps the range after each of its passes, columns first.
Tensor resized_first(const Tensor& picture, int64_t height, int64_t width) {
  if (picture.shape(0) == height && picture.shape(1) == width) return picture;
  if (picture.dtype() == DType::u8) return pil_resize(picture, height, width, PilFilter::bicubic);
  const TorchResizeOptions antialiased{.antialias = true};
  const Tensor wide = clamp(resize_torch(picture, picture.shape(0), width, TorchResize::bicubic, antialiased), 0, 1);
  return clamp(resize_torch(wide, height, width, TorchResize::bicubic, antialiased), 0, 1);
}

Tensor cleaned_picture(const Cleaner& cleaner, const Picture& picture, const PicturePlan& plan, const TileProgress& progress) {
  CleanOptions options = plan.clean_options();
  options.progress = progress;
  return clean(cleaner, resized_first(picture.pixels, plan.height, plan.width), options);
}

Picture finished_picture(Tensor pixels, const Picture& picture, const PicturePlan& plan, bool sixteen_bit) {
  const bool deep = sixteen_bit && picture.pixels.dtype() == DType::f32;
  const int64_t height = plan.result_height, width = plan.result_width;
  if (pixels.shape(0) != height || pixels.shape(1) != width)
    pixels = resize_torch(pixels, height, width, TorchResize::bicubic, {.antialias = true});
  if (picture.grey) pixels = grey_of(pixels);
  Picture out{.pixels = deep ? to_16_bit_truncated(pixels) : to_u8_truncated(pixels), .grey = picture.grey, .icc = picture.icc};
  pixels = {};
  if (!picture.alpha) return out;
  const Tensor alpha = resize_opencv(as_float(picture.alpha), height, width, OpencvResize::cubic);
  out.alpha = deep ? to_16_bit_rounded(alpha) : to_u8_rounded(alpha);
  return out;
}

}  // namespace relume
