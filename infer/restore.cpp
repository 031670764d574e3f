#include "infer/restore.h"

#include <fmt/format.h>

#include "autograd/resample.h"
#include "base/files.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "data/convert.h"
#include "data/image.h"
#include "data/picture_jobs.h"
#include "data/resize.h"
#include "infer/load_network.h"

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

Tensor restore_picture(const SwinIR& network, const Tensor& picture) {
  const NoGrad no_grad;
  const int64_t height = picture.shape(0), width = picture.shape(1), multiple = network.padding_multiple(),
                s = network.output_scale();
  const auto missing = [&](int64_t size) { return (multiple - size % multiple) % multiple; };
  const Tensor x = as_float(picture).reshape({1, height, width, picture.shape(2)});
  const Tensor y = network(pad(x, 0, 0, missing(height), missing(width), Border::zero));
  const Tensor whole = pad(y, 0, 0, height * s - y.shape(1), width * s - y.shape(2), Border::zero);
  return whole.reshape({height * s, width * s, whole.shape(3)});
}

Picture restore_picture(const SwinIR& network, const Picture& picture, bool sixteen_bit) {
  const bool deep = sixteen_bit && picture.pixels.dtype() == DType::f32;
  const Tensor colours = restore_picture(network, picture.pixels), pixels = picture.grey ? grey_of(colours) : colours;
  Picture out{.pixels = deep ? to_16_bit_truncated(pixels) : to_u8_truncated(pixels), .grey = picture.grey, .icc = picture.icc};
  if (!picture.alpha) return out;
  Tensor alpha = as_float(picture.alpha);
  if (network.output_scale() != 1) alpha = resize_opencv(alpha, pixels.shape(0), pixels.shape(1), OpencvResize::cubic);
  out.alpha = deep ? to_16_bit_rounded(alpha) : to_u8_rounded(alpha);
  return out;
}

int64_t restore_files(const RestoreOptions& options) {
  const std::vector<PictureJob> jobs = picture_jobs(options.input, options.output, options.overwrite);
  const auto network = load_swinir(options.weights, options.config);
  Progress progress("picture", int64_t(jobs.size()));
  std::string failures;
  int64_t done = 0, failed = 0;
  for (const PictureJob& job : jobs) {
    throw_if_interrupted();
    try {
      Picture picture = read_picture(job.from);
      const bool sixteen_bit = codec_for(job.to).holds_16_bit;
      check_writable(job.to, sixteen_bit ? picture : to_8_bit(picture));
      picture = restore_picture(*network, picture, sixteen_bit);
      if (job.to.has_parent_path()) make_folder(job.to.parent_path());
      write_picture(job.to, picture);
    } catch (const InputError& e) {
      if (jobs.size() == 1) throw;
      failures += std::string("\n  ") + e.what();
      ++failed;
    }
    progress.update(++done, job.from.filename().string());
  }
  RELUME_CHECK(failed == 0, failed, " of ", jobs.size(), " pictures could not be restored:", failures);
  return done;
}

}  // namespace relume
