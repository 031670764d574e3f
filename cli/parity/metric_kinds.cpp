// Kinds of metrics on pixels. The names of the stored numbers say which channels, border and convention they were made with.
#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "base/text.h"
#include "cli/parity/kinds.h"
#include "data/crop.h"
#include "data/metrics/niqe.h"
#include "data/metrics/similarity.h"

namespace relume::parity {
namespace {

// Calls f(index, key) for each number config.values[index][key].
template <class F> void for_each_value(const Case& c, F&& f) {
  const auto all = c.option<Json>("values");
  for (const auto& [index, values] : all.items()) {
    RELUME_CHECK(values.is_object(), "case ", c.name(), ": config.values.", index, " is no object of numbers");
    for (const auto& value : values.items()) f(index, value.key());
  }
}

int64_t crop_in(const std::string& key) {
  const size_t at = key.rfind("crop");
  return at == std::string::npos ? 0 : std::atoll(key.c_str() + at + 4);
}

// The reference's own conversion, all three channels in [0, 1].
Tensor ycbcr(const Tensor& rgb) {
  static constexpr double matrix[3][4] = {
      {65.481, 128.553, 24.966, 16}, {-37.797, -74.203, 112.0, 128}, {112.0, -93.786, -18.214, 128}};
  const Tensor out = Tensor::empty({1, rgb.shape(0), rgb.shape(1), 3});
  for (int64_t i = 0; i < rgb.numel(); i += 3)
    for (int c = 0; c < 3; ++c) {
      const uint8_t* const p = rgb.data<uint8_t>() + i;
      const double* const m = matrix[c];
      out.data<float>()[i + c] = float(((m[0] * p[0] + m[1] * p[1] + m[2] * p[2]) / 255 + m[3]) / 255);
    }
  return out;
}

void metric_psnr_ssim(const Case& c, Report& report) {
  for_each_value(c, [&](const std::string& index, const std::string& key) {
    const Tensor a = c.tensor("input.dist" + index + "_hwc"), b = c.tensor("input.ref" + index + "_hwc");
    MetricOptions options{.crop = crop_in(key)};
    if (glob_match("*_y_*", key)) options.channels = MetricChannels::luma;
    if (glob_match("*_uniform*", key)) options.ssim_window = SsimWindow::uniform;
    const auto metric = !glob_match("*psnr*", key) ? ssim : glob_match("*_pt_*", key) ? psnr : psnr_exact;
    report.compare_value(index + "." + key, metric(a, b, options));
  });
  const std::string colours = "output.ycbcr", luma = "output.y";
  for (const std::string& name : c.names(luma)) {
    const bool all = name.starts_with(colours);
    const Tensor x = ycbcr(c.tensor("input.ref" + name.substr((all ? colours : luma).size()) + "_hwc"));
    report.compare(name, to_channels_first(all ? x : x.columns(0, 1).contiguous()));
  }
}

void metric_niqe(const Case& c, Report& report) {
  for_each_value(c, [&](const std::string& index, const std::string& key) {
    const NiqeOptions options{.channel = key.starts_with("gray") ? NiqeChannel::grey : NiqeChannel::luma, .crop = crop_in(key)};
    report.compare_value(index + "." + key, niqe(c.tensor("input.img" + index + "_hwc"), options).value_or(std::nan("")));
  });
  const auto size = c.option<int64_t>("block", 96);
  for (const std::string& name : c.names("input.img")) {
    const std::string image = name.substr(6, name.rfind("_hwc") - 6), output = "output." + image;
    const Tensor y = niqe_channel(c.tensor(name), NiqeChannel::luma);
    const int64_t height = y.shape(0), width = y.shape(1);
    if (c.has(output + "_y_round")) report.compare(output + "_y_round", y.reshape({height, width}));
    if (c.has(output + "_half")) {
      const Tensor half = niqe_half(cut(y, 0, 0, height / size * size, width / size * size));
      std::ranges::transform(std::span(half.data<float>(), size_t(half.numel())), half.data<float>(),
                             [](float v) { return v / 255; });
      report.compare(output + "_half", half.reshape({half.shape(0), half.shape(1)}));
    }
    const std::string features = output + "_block00_features_scale1";
    if (c.has(features)) {
      const auto block = niqe_block_features(cut(y, 0, 0, size, size), size).front();
      report.compare(features, Tensor::of<double>({int64_t(block.size())}, {block.begin(), block.end()}));
    }
  }
}

}  // namespace

void register_metric_kinds(Kinds& kinds) {
  kinds["metric_psnr_ssim"] = metric_psnr_ssim;
  kinds["metric_niqe"] = metric_niqe;
}

}  // namespace relume::parity
