// Kinds of single degrading operations: simulated JPEG, noise, batch filter and sharpening.
#include <algorithm>
#include <string>
#include <vector>

#include "cli/parity/kinds.h"
#include "degrade/filter.h"
#include "degrade/noise.h"
#include "degrade/sharpen.h"
#include "degrade/simulated_jpeg.h"

namespace relume::parity {
namespace {

std::vector<double> numbers_of(const Tensor& t) {
  const Tensor values = t.to(DType::f64).contiguous();
  return {values.data<double>(), values.data<double>() + values.numel()};
}

// The quality of diffjpeg_scalar stands in the case's notes alone ("diffjpeg_scalar uses quality 35").
double scalar_quality(const Case& c, double otherwise) {
  static constexpr std::string_view words = "diffjpeg_scalar uses quality ";
  const std::string notes = c.entry().value("notes", std::string());
  const size_t at = notes.find(words);
  return at == std::string::npos ? otherwise : std::strtod(notes.c_str() + at + words.size(), nullptr);
}

void degrade_diffjpeg(const Case& c, Report& report) {
  const Tensor x = to_channels_last(c.f32("input.x"));
  const std::vector<double> quality = numbers_of(c.tensor("input.quality"));
  const SimulatedJpegOptions differentiable{.differentiable = true};
  RELUME_CHECK(!quality.empty(), c.name(), ": input.quality is empty");
  const auto compare = [&](const char* name, const std::vector<double>& qualities, const SimulatedJpegOptions& options) {
    if (c.has(name)) report.compare(name, to_channels_first(simulate_jpeg(x, qualities, options)));
  };
  compare("output.diffjpeg_batch", quality, {});
  compare("output.diffjpeg_scalar", std::vector<double>(quality.size(), scalar_quality(c, quality[0])), {});
  compare("output.diffjpeg_differentiable", quality, differentiable);
  if (report.stores_gradient("input.x")) {
    const Tensor gradient = to_channels_last(c.f32("input.grad_out"));
    report.compare_gradient("input.x", to_channels_first(simulate_jpeg_gradient(gradient, x, quality, differentiable)));
  }
  const JpegCoefficients coefficients = jpeg_coefficients(x, quality);
  for (const auto& [name, ours] : {std::pair{"output.coef_y", &coefficients.luma},
                                   {"output.coef_cb", &coefficients.cb},
                                   {"output.coef_cr", &coefficients.cr},
                                   {"output.factor", &coefficients.factor}})
    if (c.has(name)) report.compare(name, *ours);
}

// Given numbers of a noise as [N, H, W, C] or [H, W, C]; the reference has them as [N, C, H, W], [H, W, C] and [H, W].
Tensor field_of(const Tensor& draw) {
  if (draw.rank() == 4) return to_channels_last(draw);
  return draw.rank() == 3 ? draw : draw.contiguous().reshape({draw.shape(0), draw.shape(1), 1});
}

NoiseOptions noise_options(const std::string& name, bool numpy) {
  const auto says = [&](const char* word) { return name.find(word) != std::string::npos; };
  NoiseOptions options{.range = says("_noclip") ? NoiseRange::open : says("_round") ? NoiseRange::levels : NoiseRange::clipped};
  if (numpy) options.luma_weights = {0.114f, 0.587f, 0.299f};  // of BGR
  return options;
}

// One case holds several runs, told apart by name: gauss or poisson, pt (a batch, NCHW) or np (one picture, BGR HWC), and
// options.
void degrade_noise(const Case& c, Report& report) {
  const Json draws = c.option<Json>("draws");
  for (const auto& [run, list] : draws.items()) {
    const bool gaussian = run.starts_with("gauss"), numpy = run.find("_np") != std::string::npos;
    RELUME_CHECK((gaussian || run.starts_with("poisson")) && list.is_array() && !list.empty() && list.size() <= 2, c.name(),
                 ": draws of '", run, "', expected one or two of gauss or poisson noise");
    std::vector<Tensor> given;
    for (const Json& draw : list) given.push_back(c.f32(c.option_in<std::string>(draw, "tensor")));
    const Tensor x = numpy ? c.f32("input.x_np_bgr_hwc") : to_channels_last(c.f32("input.x"));
    std::vector<double> strength;
    std::vector<bool> grey;
    NoiseFields fields;
    if (numpy) {
      strength = {c.option_in<double>(c.option_in<Json>(c.option<Json>("numpy"), run), gaussian ? "sigma" : "scale")};
      grey = {given[0].rank() == 2};
      (grey[0] ? fields.plane : fields.colour) = field_of(given[0]);
    } else {
      strength = numbers_of(c.tensor(gaussian ? "input.sigma" : "input.poisson_scale"));
      grey.assign(strength.size(), false);
      if (list.size() == 2) {  // the plane is drawn when some picture is grey
        const std::vector<double> flags = numbers_of(c.tensor("input.gray"));
        std::transform(flags.begin(), flags.end(), grey.begin(), [](double flag) { return flag != 0; });
        fields.plane = field_of(given[0]);
        fields.shared_plane = given[0].rank() == 2;
      }
      fields.colour = field_of(given.back());
    }
    const auto add = gaussian ? add_gaussian_noise : add_poisson_noise;
    const Tensor noisy = add(x, strength, grey, fields, noise_options(run, numpy));
    if (numpy)
      report.compare("output." + run + "_hwc", noisy);
    else
      report.compare("output." + run, to_channels_first(noisy));
  }
}

void degrade_usm(const Case& c, Report& report) {
  const Tensor x = to_channels_last(c.f32("input.x"));
  const Json usm = c.option<Json>("usm");
  const SharpenOptions options{.size = c.option_in<int64_t>(usm, "radius") | 1,  // as the reference makes it odd
                               .sigma = c.option_in<double>(usm, "sigma"),
                               .weight = c.option_in<double>(usm, "weight"),
                               .threshold = c.option_in<double>(usm, "threshold")};
  const auto compare = [&](const char* name, auto&& ours) {
    if (c.has(name)) report.compare(name, to_channels_first(ours()));
  };
  compare("output.filter_per_sample", [&] { return filter2d(x, c.tensor("input.kernels")); });
  compare("output.filter_shared", [&] { return filter2d(x, c.tensor("input.kernels").slice(0, 1)); });
  const Sharpened sharpened = sharpen_stages(x, options);
  compare("output.usm_blur", [&] { return sharpened.blurred; });
  compare("output.usm_soft_mask", [&] { return sharpened.soft_mask; });
  compare("output.usm", [&] { return sharpened.pictures; });
}

}  // namespace

void register_degrade_op_kinds(Kinds& kinds) {
  kinds["degrade_diffjpeg"] = degrade_diffjpeg;
  kinds["degrade_noise"] = degrade_noise;
  kinds["degrade_usm"] = degrade_usm;
}

}  // namespace relume::parity
