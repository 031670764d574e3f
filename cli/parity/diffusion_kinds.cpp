// Kinds schedule, sampler_schedules, cfg_rescale, start_point, guidance: the mathematics around the samplers
// (spec/diffbir.md 4.1, 4.2, 5.3, 5.5, 5.7).
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <regex>

#include "base/files.h"
#include "cli/parity/kinds.h"
#include "models/diffusion/classifier_free.h"
#include "models/diffusion/ddim.h"
#include "models/diffusion/edm.h"
#include "models/diffusion/restoration_guidance.h"
#include "models/diffusion/spaced.h"
#include "models/diffusion/start_point.h"

namespace relume::parity {

ScheduleOptions schedule_options(const Case& c, const Json& diffusion, bool zero_snr) {
  return {.steps = c.option_in<int64_t>(diffusion, "timesteps"),
          .first = c.option_in<double>(diffusion, "linear_start"),
          .last = c.option_in<double>(diffusion, "linear_end"),
          .zero_terminal_snr = zero_snr};
}

namespace {

constexpr int64_t max_lists_file = int64_t(1) << 24;  // bytes

template <class T> Tensor list(const std::vector<T>& values) { return Tensor::of<T>({int64_t(values.size())}, values); }

std::vector<double> mapped(const std::vector<double>& values, double (*f)(double)) {
  std::vector<double> out(values.size());
  std::ranges::transform(values, out.begin(), f);
  return out;
}
double root(double alpha_bar) { return std::sqrt(alpha_bar); }
double root_of_rest(double alpha_bar) { return std::sqrt(1 - alpha_bar); }

// In f32, as the reference registers its tables.
void compare_table(Report& report, const std::string& name, const std::vector<double>& values) {
  report.compare(name, list(values).to(DType::f32));
}

// A loss of the kind: the mean of |a - b| to the power of 1 or 2.
double mean_error(const Tensor& a, const Tensor& b, int power) {
  double sum = 0;
  for (int64_t i = 0; i < a.numel(); ++i) sum += std::pow(std::abs(double(a.data<float>()[i]) - b.data<float>()[i]), power);
  return sum / double(a.numel());
}

void compare_diffusion(const Case& c, Report& report, const std::string& prefix, const NoiseSchedule& schedule) {
  report.compare(prefix + "alphas_cumprod", list(schedule.alpha_bars()));
  compare_table(report, prefix + "sqrt_alphas_cumprod", mapped(schedule.alpha_bars(), root));
  compare_table(report, prefix + "sqrt_one_minus_alphas_cumprod", mapped(schedule.alpha_bars(), root_of_rest));
  const Tensor x0 = c.f32("input.x0"), noise = c.f32("input.noise"), prediction = c.f32("input.pred");
  const Tensor times = c.tensor("input.t");
  const std::vector<int64_t> t(times.data<int64_t>(), times.data<int64_t>() + times.numel());
  const Tensor v = velocity(schedule, x0, noise, t);
  report.compare(prefix + "q_sample", add_noise(schedule, x0, noise, t));
  report.compare(prefix + "v", v);
  const std::map<std::string, Tensor> targets{{"eps", noise}, {"v", v}, {"x0", x0}};
  for (const auto& [name, target] : targets)
    for (const int power : {1, 2})
      report.compare(prefix + "loss_" + name + "_l" + std::to_string(power), mean_error(prediction, target, power));
}

void run_schedule(const Case& c, Report& report) {
  ScheduleOptions options = schedule_options(c, c.config(), false);
  const std::map<std::string, BetaRule> rules{
      {"linear", BetaRule::scaled_linear}, {"sqrt_linear", BetaRule::linear}, {"sqrt", BetaRule::square_root}};
  for (const auto& [name, rule] : rules) {
    options.rule = rule;
    report.compare("output.betas_" + name, list(make_betas(options)));
  }
  options.rule = BetaRule::scaled_linear;
  compare_diffusion(c, report, "output.std.", NoiseSchedule(options));
  options.zero_terminal_snr = true;
  report.compare("output.betas_linear_zero_snr", list(make_betas(options)));
  compare_diffusion(c, report, "output.zsnr.", NoiseSchedule(options));
}

// One field of every row of a table.
template <class Row, class F> auto column(const std::vector<Row>& rows, F field) {
  std::vector<std::decay_t<std::invoke_result_t<F, const Row&>>> values;
  for (const Row& row : rows) values.push_back(std::invoke(field, row));
  return values;
}

void compare_spaced(Report& report, const std::string& prefix, const std::vector<SpacedStep>& steps) {
  const std::vector<double> alpha_bars = column(steps, &SpacedStep::alpha_bar),
                            variances = column(steps, &SpacedStep::variance);
  report.compare(prefix + "timesteps", list(column(steps, &SpacedStep::time)));
  compare_table(report, prefix + "posterior_mean_coef1", column(steps, &SpacedStep::mean_x0));
  compare_table(report, prefix + "posterior_mean_coef2", column(steps, &SpacedStep::mean_x));
  compare_table(report, prefix + "posterior_variance", variances);
  std::vector<double> logarithms = mapped(variances, [](double v) { return std::log(v); });
  logarithms.at(0) = logarithms.at(1);  // of the step without noise
  compare_table(report, prefix + "posterior_log_variance_clipped", logarithms);
  compare_table(report, prefix + "sqrt_alphas_cumprod", mapped(alpha_bars, root));
  compare_table(report, prefix + "sqrt_one_minus_alphas_cumprod", mapped(alpha_bars, root_of_rest));
  compare_table(report, prefix + "sqrt_recip_alphas_cumprod", mapped(alpha_bars, [](double a) { return std::sqrt(1 / a); }));
  compare_table(report, prefix + "sqrt_recipm1_alphas_cumprod",
                mapped(alpha_bars, [](double a) { return std::sqrt(1 / a - 1); }));
}

void compare_ddim(Report& report, const std::string& prefix, const std::vector<DdimStep>& steps) {
  const std::vector<double> alpha_bars = column(steps, &DdimStep::alpha_bar);
  compare_table(report, prefix + "ddim_alphas", alpha_bars);
  compare_table(report, prefix + "ddim_alphas_prev", column(steps, &DdimStep::next_alpha_bar));
  compare_table(report, prefix + "ddim_sigmas", column(steps, &DdimStep::sigma));
  compare_table(report, prefix + "ddim_sqrt_one_minus_alphas", mapped(alpha_bars, root_of_rest));
}

void run_sampler_schedules(const Case& c, Report& report) {
  const NoiseSchedule schedule(schedule_options(c, c.config(), c.option<bool>("zero_snr")));
  static const std::regex one_table("(output\\.(spaced|ddim|edm)(\\d{1,6})(_eta([0-9.]+))?\\.)\\w+");
  std::map<std::string, std::smatch> tables;
  const std::vector<std::string> names = c.names("output.");
  for (const std::string& name : names) {
    std::smatch match;
    RELUME_CHECK(std::regex_match(name, match, one_table), c.name(), ": '", name, "' is the table of no sampler");
    tables[match[1]] = match;
  }
  for (const auto& [prefix, match] : tables) {
    const int64_t steps = std::stoll(match[3]);
    if (match[2] == "spaced") {
      compare_spaced(report, prefix, spaced_schedule(schedule, steps));
    } else if (match[2] == "edm") {
      const EdmGrid grid = edm_grid(schedule, steps, true);
      report.compare(prefix + "timesteps", list(grid.times));
      compare_table(report, prefix + "sigmas", grid.sigmas);
    } else if (match[4].matched) {
      compare_ddim(report, prefix, ddim_schedule(schedule, steps, std::stod(match[5])));
    } else {
      report.compare(prefix + "timesteps", list(column(ddim_schedule(schedule, steps, 0), &DdimStep::time)));
    }
  }
}

// space_timesteps.json: "1000|10,15,20" to the times that are kept.
void compare_spaced_times(const Case& c, Report& report) {
  const Json listed = Json::parse(read_file(c.path("space_timesteps.json"), max_lists_file));
  for (const auto& [key, times] : listed.items()) {
    const size_t bar = key.find('|');
    RELUME_CHECK(bar != std::string::npos && bar > 0 && bar < 7, "space_timesteps.json: '", key, "' is not 'steps|counts'");
    if (Json(spaced_times(std::stoll(key), key.substr(bar + 1))) != times)
      report.complain("space_timesteps.json: the times of '" + key + "' are not ours");
  }
}

void run_cfg_rescale(const Case& c, Report& report) {
  const Tensor scales = c.tensor("input.scale"), times = c.tensor("input.t");
  std::vector<double> ours;
  for (int64_t i = 0; i < scales.numel(); ++i)
    ours.push_back(
        classifier_free_scale({.scale = scales.data<double>()[i], .rescale = true}, double(times.data<int64_t>()[i])));
  report.compare("output.scale", list(ours));
  compare_spaced_times(c, report);
}

void run_start_point(const Case& c, Report& report) {
  const NoiseSchedule schedule({.zero_terminal_snr = c.option<bool>("zero_snr")});
  const Tensor condition = c.f32("input.c_img"), noise = c.f32("input.noise_aug");
  report.compare("output.x_T_cond", start_from_condition(schedule, condition, c.f32("input.noise_start")));
  for (const int64_t t : c.option<std::vector<int64_t>>("noise_aug"))
    report.compare("output.c_img_aug" + std::to_string(t), augment_condition(schedule, condition, noise, t));
}

void run_guidance(const Case& c, Report& report) {
  const Tensor y = to_channels_last(c.f32("input.pred")), target = to_channels_last(c.f32("input.target"));
  const double scale = c.option<double>("effective_scale");
  const Tensor map = region_weights(target), weights = repeat_channel(map, y.shape(3));
  report.compare("output.w_mse.weight_map", to_channels_first(map));
  const std::map<std::string, Tensor> forms{{"mse", {}}, {"w_mse", weights}};
  for (const auto& [name, w] : forms) {
    const GuidanceMove move = guidance_move(y, target, w, scale);
    report.compare("output." + name + ".delta", to_channels_first(move.delta));
    report.compare("output." + name + ".loss", move.loss.item());
  }
}

}  // namespace

void register_diffusion_kinds(Kinds& kinds) {
  kinds["schedule"] = run_schedule;
  kinds["sampler_schedules"] = run_sampler_schedules;
  kinds["cfg_rescale"] = run_cfg_rescale;
  kinds["start_point"] = run_start_point;
  kinds["guidance"] = run_guidance;
}

}  // namespace relume::parity
