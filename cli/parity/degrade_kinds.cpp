// Kinds of degradation. The reference works in BGR; we work in RGB, so pictures are reversed on the way in and out.
#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "cli/parity/kinds.h"
#include "data/convert.h"
#include "data/crop.h"
#include "data/jpeg.h"
#include "data/resize.h"
#include "degrade/augment.h"
#include "degrade/filter.h"
#include "degrade/jpeg.h"
#include "degrade/pair_pool.h"
#include "degrade/recipe.h"
#include "degrade/sharpen.h"

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

// 2 x - 1.
Tensor from_minus_one(const Tensor& x) {
  Tensor out = empty_like(x);
  std::transform(x.data<float>(), x.data<float>() + x.numel(), out.data<float>(), [](float v) { return 2 * v - 1; });
  return out;
}

// The listed draws of the reference, in order; they have no names. Lists hold one value for each sample of a batch.
class ListedDraws final : public Draws {
 public:
  ListedDraws(const Case& c, const Json& draws) : case_(c) {
    for (const Json& draw : draws) {
      const auto value = draw.find("value");
      if (value == draw.end() || !value->is_array())
        draws_.push_back(draw);
      else
        for (const Json& one : *value) draws_.push_back({{"op", draw.at("op")}, {"value", one}});
    }
  }

  double uniform(double low, double high, std::string_view name) override {
    const Json& draw = take(name);
    const double value = case_.option_in<double>(draw, "value");
    if (draw.at("op") != "torch.rand") return value;
    return float(value) * float(high - low) + float(low);  // a number from [0, 1), scaled in f32
  }

  size_t choice(std::span<const std::string> options, std::span<const double>, std::string_view name) override {
    const Json& draw = take(name);
    const Json value = case_.option_in<Json>(draw, "value");
    const std::string text = value.is_string() ? value.get<std::string>() : value.dump();
    const auto at = std::ranges::find(options, text);
    RELUME_CHECK(at != options.end(), case_.name(), ": the listed draw '", text, "' is no option of '", name, "'");
    return size_t(at - options.begin());
  }

  // Factors of kernel taps as they are; noise as a batch [N, H, W, C].
  NoiseField field(std::string_view name) override {
    const Json& draw = take(name);
    const Tensor values = case_.tensor(case_.option_in<std::string>(draw, "tensor"));
    if (case_.option_in<std::string>(draw, "op") == "np.uniform") return values;
    const Tensor noise = values.to(DType::f32);
    const Shape& s = noise.shape();
    if (s.rank() == 4) return to_channels_last(noise);
    return s.rank() == 3 ? reversed<float>(noise).reshape({1, s[0], s[1], s[2]}) : noise.reshape({s[0], s[1], 1});
  }

  // A complaint when draws are left over.
  void finish(const std::string& what, Report& report) const {
    if (next_ < draws_.size()) report.complain(what + ": " + std::to_string(draws_.size() - next_) + " draws were not used");
  }

 private:
  const Json& take(std::string_view name) {
    RELUME_CHECK(next_ < draws_.size(), case_.name(), ": the listed draws end before '", name, "'");
    return draws_[next_++];
  }

  const Case& case_;
  std::vector<Json> draws_;
  size_t next_ = 0;
};

WideRecipe recipe_of(const Case& c) {
  WideRecipe r;
  r.blur_kernel_size = c.option("blur_kernel_size", r.blur_kernel_size);
  r.kernel_list = c.option("kernel_list", r.kernel_list);
  r.kernel_prob = c.option("kernel_prob", r.kernel_prob);
  r.blur_sigma = c.option("blur_sigma", r.blur_sigma);
  r.betag_range = c.option("betag_range", r.betag_range);
  r.betap_range = c.option("betap_range", r.betap_range);
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
    Tensor x = to_float(cropped(c, "input." + sample + "image_hwc"));
    report.compare("output." + sample + "gt_hwc", from_minus_one(x));

    ListedDraws draws(c, c.option_in<Json>(samples[i], "draws"));
    if (draws.uniform(0, 1, "caption") < c.option("p_empty_prompt", 0.5) &&
        !c.option_in<std::string>(samples[i], "prompt").empty())
      report.complain("sample " + std::to_string(i) + ": the caption coin empties the prompt, the case keeps it");
    const std::vector<Step> steps = draw_wide(recipe, x.shape(0), x.shape(1), draws);
    draws.finish("sample " + std::to_string(i), report);
    for (size_t stage = 0; stage < steps.size(); ++stage) {
      const std::string name = "output." + sample + stage_names[stage] + "_bgr_hwc";
      x = apply_step(steps[stage], x);
      report.compare(name, reversed<float>(x));
      if (stage + 1 == steps.size()) report.compare("output." + sample + "lq_hwc", x);
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

std::string numbered(const std::string& prefix, size_t i) { return prefix + (i < 10 ? "0" : "") + std::to_string(i); }

Tensor tensor_of(const BlurKernel& kernel) {
  Tensor out = Tensor::empty({kernel.size, kernel.size}, DType::f64);
  std::ranges::copy(kernel.weights, out.data<double>());
  return out;
}

void degrade_blur_kernels(const Case& c, Report& report) {
  const auto listed = c.option<std::vector<Json>>("kernels");
  for (size_t i = 0; i < listed.size(); ++i) {
    const Json& k = listed[i];
    const auto kind = c.option_in<std::string>(k, "kind");
    const auto size = c.option_in<int64_t>(k, "kernel_size");
    BlurKernel kernel;
    if (kind == "sinc") {
      kernel = sinc_kernel(size, c.option_in<double>(k, "cutoff"));
    } else {
      const std::map<std::string, BlurProfile> profiles{
          {"gaussian", BlurProfile::gaussian}, {"generalized", BlurProfile::generalized}, {"plateau", BlurProfile::plateau}};
      RELUME_CHECK(profiles.contains(kind), c.name(), ": unknown kind of kernel '", kind, "'");
      const BlurSpread spread{c.option_in<double>(k, "sig_x"), c.option_in<double>(k, "sig_y"), c.option_in<double>(k, "theta"),
                              c.option_in<bool>(k, "isotropic")};
      kernel = bivariate_kernel(profiles.at(kind), size, spread, k.contains("beta") ? c.option_in<double>(k, "beta") : 1);
    }
    // The reference pads what is smaller and leaves the others.
    const bool pads = k.contains("pad_to") && k.at("pad_to").is_number() && c.option_in<int64_t>(k, "pad_to") > size;
    if (pads) kernel = padded(kernel, c.option_in<int64_t>(k, "pad_to"));
    report.compare(numbered("output.k", i), tensor_of(kernel));
  }
}

void degrade_random_kernels(const Case& c, Report& report) {
  BlurKernelOptions options{.size = c.option<int64_t>("kernel_size"),
                            .kinds = c.option<std::vector<std::string>>("kernel_list"),
                            .weights = c.option<std::vector<double>>("kernel_prob"),
                            .sigma = c.option<DrawRange>("sigma"),
                            .beta_generalized = c.option<DrawRange>("betag"),
                            .beta_plateau = c.option<DrawRange>("betap")};
  const auto kernels = c.option<std::vector<Json>>("draws");
  for (size_t i = 0; i < kernels.size(); ++i) {
    ListedDraws draws(c, kernels[i]);
    // Some of the kernels have noise; its range has no bearing on listed factors.
    if (kernels[i].back().contains("tensor")) options.noise = DrawRange{0.75, 1.25};
    report.compare(numbered("output.k", i), tensor_of(draw_blur_kernel(options, draws, "kernel")));
    draws.finish("kernel " + std::to_string(i), report);
    options.noise.reset();
  }
}

void degrade_realesrgan_item(const Case& c, Report& report) {
  SecondOrderRecipe recipe;
  const auto read_blur = [&c](SecondOrderBlur& blur, const std::string& suffix) {
    blur.kernel_list = c.option("kernel_list" + suffix, blur.kernel_list);
    blur.kernel_prob = c.option("kernel_prob" + suffix, blur.kernel_prob);
    blur.sinc_prob = c.option("sinc_prob" + suffix, blur.sinc_prob);
    blur.sigma = c.option("blur_sigma" + suffix, blur.sigma);
    blur.betag_range = c.option("betag_range" + suffix, blur.betag_range);
    blur.betap_range = c.option("betap_range" + suffix, blur.betap_range);
  };
  read_blur(recipe.blur, "");
  read_blur(recipe.blur2, "2");
  recipe.final_sinc_prob = c.option("final_sinc_prob", recipe.final_sinc_prob);
  AugmentOptions augment;
  augment.long_caption_prob = c.option("p_long_prompt", augment.long_caption_prob);
  augment.empty_caption_prob = c.option("p_empty_prompt", augment.empty_caption_prob);
  augment.flip = c.option("use_hflip", augment.flip);
  augment.rotate = c.option("use_rot", augment.rotate);

  const auto samples = c.option<std::vector<Json>>("samples");
  for (size_t i = 0; i < samples.size(); ++i) {
    const std::string sample = "s" + std::to_string(i) + ".";
    ListedDraws draws(c, c.option_in<Json>(samples[i], "draws"));
    const Augmentation augmentation = draw_augmentation(augment, draws);
    const SecondOrderKernels kernels = draw_second_order_kernels(recipe, draws);
    draws.finish("sample " + std::to_string(i), report);
    const auto text = c.option_in<std::string>(samples[i], "txt");
    if (text.empty() != augmentation.empty_caption ||
        (!text.empty() && (text.find("long") != std::string::npos) != augmentation.long_caption))
      report.complain("sample " + std::to_string(i) + ": the caption coins do not lead to '" + text + "'");
    const Tensor hq = to_float(oriented(c.tensor("input." + sample + "image_hwc"), augmentation));
    const Shape& s = hq.shape();
    report.compare("output." + sample + "hq", to_channels_first(hq.reshape({1, s[0], s[1], s[2]})).reshape({s[2], s[0], s[1]}));
    report.compare("output." + sample + "kernel1", tensor_of(kernels.first));
    report.compare("output." + sample + "kernel2", tensor_of(kernels.second));
    report.compare("output." + sample + "sinc_kernel", tensor_of(kernels.last));
  }
}

SecondOrderRecipe batch_recipe_of(const Case& c) {
  SecondOrderRecipe r;
  const auto read_round = [&c](SecondOrderRound& round, const std::string& suffix) {
    round.resize_prob = c.option("resize_prob" + suffix, round.resize_prob);
    round.resize_range = c.option("resize_range" + suffix, round.resize_range);
    round.gaussian_noise_prob = c.option("gaussian_noise_prob" + suffix, round.gaussian_noise_prob);
    round.gray_noise_prob = c.option("gray_noise_prob" + suffix, round.gray_noise_prob);
    round.noise_range = c.option("noise_range" + suffix, round.noise_range);
    round.poisson_scale_range = c.option("poisson_scale_range" + suffix, round.poisson_scale_range);
    round.jpeg_range = c.option("jpeg_range" + suffix, round.jpeg_range);
  };
  read_round(r.round, "");
  read_round(r.round2, "2");
  r.sharpen_target = c.option("use_sharpener", r.sharpen_target);
  r.second_blur_prob = c.option("second_blur_prob", r.second_blur_prob);
  const Json scale = c.option<Json>("stage2_scale", Json(r.stage2_scale));
  r.stage2_scale = scale.is_array() ? scale.get<std::vector<double>>() : std::vector<double>{scale.get<double>()};
  r.validate();
  return r;
}

std::vector<SecondOrderKernels> kernels_of(const Case& c) {
  const auto kernel = [&c](const char* name, int64_t sample) {
    const Tensor all = c.tensor(name).to(DType::f64).contiguous();
    const int64_t size = all.shape(1), taps = size * size;
    const double* from = all.data<double>() + sample * taps;
    return BlurKernel{.size = size, .weights = std::vector<double>(from, from + taps), .line = {}, .label = {}};
  };
  std::vector<SecondOrderKernels> kernels;
  for (int64_t i = 0; i < c.info("input.kernel1").shape[0]; ++i)
    kernels.push_back({kernel("input.kernel1", i), kernel("input.kernel2", i), kernel("input.sinc_kernel", i)});
  return kernels;
}

// Each stage is fed with the recorded result of the one before it, so that one flipped rounding of a JPEG is judged once.
void degrade_realesrgan_batch(const Case& c, Report& report) {
  const SecondOrderRecipe recipe = batch_recipe_of(c);
  Tensor x = to_channels_last(c.f32("input.hq"));
  if (recipe.sharpen_target) x = sharpen(x);
  report.compare("output.hq_nhwc", from_minus_one(x));
  ListedDraws draws(c, c.option<Json>("draws"));
  const std::vector<Step> steps = draw_second_order(recipe, kernels_of(c), x.shape(1), x.shape(2), draws);
  draws.finish("the batch", report);
  const std::vector<std::string> stages = c.names("output.stage");
  if (stages.size() + 1 != steps.size())
    return report.complain("the recipe has " + std::to_string(steps.size() - 1) + " stages, the case " +
                           std::to_string(stages.size()));
  for (size_t i = 0; i < stages.size(); ++i) {
    report.compare(stages[i], to_channels_first(apply_step(steps[i], x)));
    x = to_channels_last(c.f32(stages[i]));
  }
  report.compare("output.lq_nhwc", apply_step(steps.back(), x));
}

// Samples are pictures of one pixel that hold their number.
void degrade_pair_pool(const Case& c, Report& report) {
  const auto permutations = c.option<std::vector<std::vector<uint32_t>>>("permutations");
  const auto batch = c.option<int64_t>("batch"), calls = c.option<int64_t>("calls");
  RELUME_CHECK(int64_t(permutations.size()) == calls, c.name(), ": ", calls, " calls and ", permutations.size(),
               " permutations");
  PairPool pool(c.option<int64_t>("queue_size"));
  const Tensor ids = Tensor::empty({calls, batch});
  for (int64_t call = 0; call < calls; ++call) {
    const Tensor numbers = Tensor::empty({batch, 1, 1, 1});
    for (int64_t i = 0; i < batch; ++i) numbers.data<float>()[i] = float(call * batch + i);
    const Degraded out = pool.exchange({numbers, numbers}, permutations[size_t(call)]);
    std::copy_n(out.lq.data<float>(), batch, ids.data<float>() + call * batch);
  }
  report.compare("output.ids", ids);
}

}  // namespace

void register_degrade_kinds(Kinds& kinds) {
  kinds["degrade_codeformer"] = degrade_codeformer;
  kinds["degrade_filter_resize"] = degrade_filter_resize;
  kinds["degrade_jpeg"] = degrade_jpeg;
  kinds["degrade_blur_kernels"] = degrade_blur_kernels;
  kinds["degrade_random_kernels"] = degrade_random_kernels;
  kinds["degrade_realesrgan_item"] = degrade_realesrgan_item;
  kinds["degrade_realesrgan_batch"] = degrade_realesrgan_batch;
  kinds["degrade_pair_pool"] = degrade_pair_pool;
}

}  // namespace relume::parity
