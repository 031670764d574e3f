// Kinds of degradation. The reference works in BGR; we work in RGB, so pictures are reversed on the way in and out.
#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "cli/parity/kinds.h"
#include "data/convert.h"
#include "data/crop.h"
#include "data/jpeg.h"
#include "degrade/filter.h"
#include "degrade/jpeg.h"
#include "degrade/recipe.h"
#include "degrade/resize.h"

namespace relume::parity {
namespace {

// [..., C] with the order of channels reversed.
template <class T> Tensor reversed(const Tensor& x) {
  const Tensor from = x.contiguous();
  Tensor out = empty_like(from);
  const int64_t channels = x.shape(-1);
  for (int64_t i = 0; i < x.numel(); i += channels)
    std::reverse_copy(from.data<T>() + i, from.data<T>() + i + channels, out.data<T>() + i);
  return out;
}

// The listed draws of the reference, in order; they have no names. Fields are pictures in BGR.
DrawRecord record_of(const Case& c, const Json& draws) {
  DrawRecord record;
  for (const Json& draw : draws) {
    if (draw.contains("tensor"))
      record.entries.push_back({"", reversed<float>(c.f32(c.option_in<std::string>(draw, "tensor")))});
    else if (c.option_in<std::string>(draw, "op").starts_with("random.choice"))
      record.entries.push_back({"", c.option_in<std::string>(draw, "value")});
    else
      record.entries.push_back({"", c.option_in<double>(draw, "value")});
  }
  return record;
}

WideRecipe recipe_of(const Case& c) {
  constexpr std::array<double, 2> any_beta{0.001, 1000};  // the reference has its own default, seen in the draws alone
  WideRecipe r;
  r.blur_kernel_size = c.option("blur_kernel_size", r.blur_kernel_size);
  r.kernel_list = c.option("kernel_list", r.kernel_list);
  r.kernel_prob = c.option("kernel_prob", r.kernel_prob);
  r.blur_sigma = c.option("blur_sigma", r.blur_sigma);
  r.betag_range = c.option("betag_range", any_beta);
  r.betap_range = c.option("betap_range", any_beta);
  r.downsample_range = c.option("downsample_range", r.downsample_range);
  r.noise_range = c.option("noise_range", r.noise_range);
  r.jpeg_range = c.option("jpeg_range", r.jpeg_range);
  r.validate();
  return r;
}

// The picture cut to config.out_size as config.crop_type says; one of that size is taken as it is.
Tensor cropped(const Case& c, const std::string& name) {
  const Tensor picture = c.tensor(name);
  const int64_t size = c.option<int64_t>("out_size");
  if (picture.shape() == Shape{size, size, 3}) return picture;
  const CropOptions options{.kind = parse_crop_kind(c.option<std::string>("crop_type")), .size = size};
  RELUME_CHECK(options.kind == CropKind::none || options.kind == CropKind::center, c.name(),
               ": degrade_codeformer cases have crop_type none or center; the draws of others are not listed");
  RandomStream unused({});
  return apply_crop(picture, options.size, plan_crop(picture.shape(0), picture.shape(1), options, unused, name));
}

// Each stage is fed with the recorded result of the one before it, so that one level of difference in a JPEG is judged once.
void degrade_codeformer(const Case& c, Report& report) {
  const WideRecipe recipe = recipe_of(c);
  const auto samples = c.option<std::vector<Json>>("samples");
  static const char* const stage_names[] = {"stage0_blur", "stage1_resize", "stage2_noise", "stage3_jpeg", "stage4_resize"};

  for (size_t i = 0; i < samples.size(); ++i) {
    const std::string sample = std::string("s") + std::to_string(i) + ".";
    Tensor x = to_float(cropped(c, "input." + sample + "image_hwc")), gt = empty_like(x);
    std::transform(x.data<float>(), x.data<float>() + x.numel(), gt.data<float>(), [](float v) { return 2 * v - 1; });
    report.compare("output." + sample + "gt_hwc", gt);

    const DrawRecord record = record_of(c, c.option_in<Json>(samples[i], "draws"));
    ReplayedDraws draws(record);
    if (draws.uniform(0, 1, "caption") < c.option("p_empty_prompt", 0.5) &&
        !c.option_in<std::string>(samples[i], "prompt").empty())
      report.complain("sample " + std::to_string(i) + ": the caption coin empties the prompt, the case keeps it");
    const WideDraw draw = draw_wide(recipe, x.shape(0), x.shape(1), draws);
    if (draws.remaining() > 0)
      report.complain("sample " + std::to_string(i) + ": " + std::to_string(draws.remaining()) + " draws were not used");
    for (const WideStage stage : wide_stages) {
      const std::string name = "output." + sample + stage_names[size_t(stage)] + "_bgr_hwc";
      x = apply(stage, x, draw);
      report.compare(name, reversed<float>(x));
      if (stage == WideStage::back) report.compare("output." + sample + "lq_hwc", x);
      x = reversed<float>(c.f32(name));
    }
  }
}

void degrade_filter_resize(const Case& c, Report& report) {
  const Tensor x = c.f32("input.x_bgr_hwc");
  const std::string kernel_prefix = "input.kernel";
  for (const std::string& kernel : c.names(kernel_prefix))
    report.compare("output.filter2D_" + kernel.substr(kernel_prefix.size()) + "_hwc", filter2d(x, c.tensor(kernel)));
  const auto scales = c.option<std::vector<double>>("scales");
  for (size_t i = 0; i < scales.size(); ++i) {
    const int64_t height = reduced_side(x.shape(0), scales[i]), width = reduced_side(x.shape(1), scales[i]);
    const std::string suffix = std::string("_") + c.config()["scales"][i].dump() + "_hwc";
    const Tensor down = resize_opencv(x, height, width, OpencvResize::linear);
    report.compare("output.down_linear" + suffix, down);
    report.compare("output.back_linear" + suffix, resize_opencv(down, x.shape(0), x.shape(1), OpencvResize::linear));
    report.compare("output.down_area" + suffix, resize_opencv(x, height, width, OpencvResize::area));
    report.compare("output.down_cubic" + suffix, resize_opencv(x, height, width, OpencvResize::cubic));
  }
}

// The decoder is judged alone, on the recorded files; the round trip judges the encoder.
void degrade_jpeg(const Case& c, Report& report) {
  const Tensor x = reversed<float>(c.f32("input.x_bgr_hwc"));
  for (const int quality : c.option<std::vector<int>>("qualities")) {
    const std::string name = "output.q" + std::to_string(quality);
    report.compare(name + "_bgr_hwc", reversed<float>(add_jpeg(x, quality)));
    const Tensor bytes = c.tensor(name + "_bytes");
    const std::string_view file(reinterpret_cast<const char*>(bytes.data<uint8_t>()), size_t(bytes.numel()));
    report.compare(name + "_decoded_bgr_u8_hwc", reversed<uint8_t>(decode_jpeg(file, c.name() + ": " + name + "_bytes")));
  }
}

}  // namespace

void register_degrade_kinds(Kinds& kinds) {
  kinds["degrade_codeformer"] = degrade_codeformer;
  kinds["degrade_filter_resize"] = degrade_filter_resize;
  kinds["degrade_jpeg"] = degrade_jpeg;
}

}  // namespace relume::parity
