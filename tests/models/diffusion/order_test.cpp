// Every sampler on pictures whose pixels are normal, N(0, 0.25): the exact denoiser is known, and so is where its course ends.
// With more steps the error falls as the solver's order says; that of the multistep solvers of three values is 2 as they are
// published (linear_combination.h).
#include <gtest/gtest.h>

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>
#include <numeric>

#include "base/files.h"
#include "base/text.h"
#include "models/diffusion/ddim.h"
#include "models/diffusion/dpm_solver.h"
#include "models/diffusion/edm.h"
#include "models/diffusion/linear_combination.h"
#include "models/diffusion/spaced.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

constexpr double data_variance = 0.25;

double variance_of(double alpha, double sigma) { return alpha * alpha * data_variance + sigma * sigma; }  // of x
// How the exact course, without noise, scales x on its way.
double exact_scale(double from, double to) { return std::sqrt(to / from); }

// The mean of eps given x.
Tensor exact_noise(const Tensor& x, double alpha, double sigma) {
  return linear_combination({{sigma / variance_of(alpha, sigma), x}});
}

Tensor one() { return Tensor::full({1}, 1, DType::f64); }

// The order that two errors show.
double order_between(double coarse, double fine, double ratio_of_steps) {
  return std::log(coarse / fine) / std::log(ratio_of_steps);
}

// A batch that shows a linear course whole: sample 0 starts at 1 without noise, sample 1 + k starts at 0 and draw k alone is 1.
struct Responses {
  explicit Responses(int64_t draws) : start(Tensor::zeros({1 + draws}, DType::f64)) { start.data<double>()[0] = 1; }
  NoiseSource noise() const {
    return [like = start](int64_t draw) {
      const Tensor n = zeros_like(like);
      n.data<double>()[1 + draw] = 1;
      return n;
    };
  }
  // Of the result, when the start has variance `initial` and the draws have 1.
  static double variance(const Tensor& result, double initial) {
    const double* const r = result.data<double>();
    return r[0] * r[0] * initial + std::inner_product(r + 1, r + result.numel(), r + 1, 0.0);
  }
  Tensor start;
};

// ---- EDM: sigma falls geometrically from nearly pure noise ----

std::vector<double> geometric_sigmas(int64_t steps) {
  constexpr double first = 1000, last = 0.1;
  std::vector<double> sigmas;
  for (int64_t i = 0; i <= steps; ++i) sigmas.push_back(first * std::pow(last / first, double(i) / double(steps)));
  return sigmas;
}
Tensor exact_denoiser(const Tensor& x, double sigma, int64_t) {
  return linear_combination({{data_variance / variance_of(1, sigma), x}});
}
double edm_error(const EdmOptions& options, int64_t steps) {
  const std::vector<double> sigmas = geometric_sigmas(steps);
  const double exact = exact_scale(variance_of(1, sigmas.front()), variance_of(1, sigmas.back()));
  return std::abs(solve_edm(sigmas, options, exact_denoiser, one(), {}).item() / exact - 1);
}
double edm_variance_error(const EdmOptions& options, int64_t steps) {
  const std::vector<double> sigmas = geometric_sigmas(steps);
  const Responses responses(2 * steps);
  const Tensor x = solve_edm(sigmas, options, exact_denoiser, responses.start, {.noise = responses.noise()});
  return std::abs(Responses::variance(x, variance_of(1, sigmas.front())) / variance_of(1, sigmas.back()) - 1);
}

struct EdmCase {
  const char* solver;
  int order;
  int lms_order = 1;
};
const std::vector<EdmCase> edm_cases{EdmCase{"euler", 1}, {"euler_a", 1},     {"heun", 2},      {"dpm_2", 2},
                                     {"dpm_2_a", 2},      {"lms", 1, 1},      {"lms", 2, 2},    {"lms", 3, 3},
                                     {"lms", 4, 4},       {"dpm++_2s_a", 2},  {"dpm++_sde", 2}, {"dpm++_2m", 2},
                                     {"dpm++_2m_sde", 2}, {"dpm++_3m_sde", 2}};
TEST(EdmOrder, IsReachedWithoutNoise) {
  for (const EdmCase& c : edm_cases) {
    const EdmOptions options{.solver = edm_solver_named(c.solver), .eta = 0, .order = c.lms_order};
    const double coarse = edm_error(options, 80), fine = edm_error(options, 160);
    EXPECT_NEAR(order_between(coarse, fine, 2), c.order, 0.3)
        << c.solver << " " << c.lms_order << ": " << coarse << ", " << fine;
  }
}

TEST(EdmNoise, LeavesTheRightVariance) {
  std::vector<EdmOptions> all;
  for (const char* solver : {"euler_a", "dpm_2_a", "dpm++_2s_a", "dpm++_sde", "dpm++_2m_sde", "dpm++_3m_sde"})
    for (const double eta : {1.0, 0.5}) all.push_back({.solver = edm_solver_named(solver), .eta = eta});
  for (const char* solver : {"euler", "heun", "dpm_2"})
    all.push_back({.solver = edm_solver_named(solver), .s_churn = 20, .s_tmax = 2000});
  for (const EdmOptions& options : all) {
    const double coarse = edm_variance_error(options, 80), fine = edm_variance_error(options, 160);
    EXPECT_LT(fine, 0.1) << int(options.solver);
    EXPECT_GT(order_between(coarse, fine, 2), 0.75) << int(options.solver) << ": " << coarse << ", " << fine;
  }
}

// ---- DPM-Solver: a constant beta, for which log alpha is linear in time ----

double dpm_error(const DpmOptions& options, int64_t steps) {
  const NoiseSchedule schedule({.rule = BetaRule::linear, .steps = 40, .first = 0.7, .last = 0.7});
  const DpmTime time(schedule);
  const auto alpha_at = [&](double t) { return std::exp(time.log_alpha(t)); };
  const auto variance_at = [&](double t) { return variance_of(alpha_at(t), std::sqrt(1 - alpha_at(t) * alpha_at(t))); };
  const DiffusionModel model{.schedule = schedule, .denoiser = [&](const Tensor& x, double network_time) {
                               const double alpha = alpha_at(network_time / 1000 + time.last());
                               return exact_noise(x, alpha, std::sqrt(1 - alpha * alpha));
                             }};
  return std::abs(sample_dpm(model, steps, options, one(), {}).item() / exact_scale(variance_at(1), variance_at(time.last())) -
                  1);
}

struct DpmCase {
  const char* solver;
  int order;
};
const std::vector<DpmCase> dpm_cases{DpmCase{"dpm++_m1", 1}, {"dpm++_m2", 2}, {"dpm++_m3", 2}, {"dpm++_s1", 1},
                                     {"dpm++_s2", 2},        {"dpm++_s3", 3}, {"dpm_m1", 1},   {"dpm_m2", 2},
                                     {"dpm_m3", 2},          {"dpm_s1", 1},   {"dpm_s2", 2},   {"dpm_s3", 3}};
TEST(DpmOrder, IsReached) {
  for (const DpmCase& c : dpm_cases) {
    // These numbers of calls end courses of single steps of order 3 with one of order 2, which keeps the order of the whole.
    const double coarse = dpm_error(dpm_options(c.solver), 191), fine = dpm_error(dpm_options(c.solver), 383);
    EXPECT_NEAR(order_between(coarse, fine, 383.0 / 191), c.order, 0.25) << c.solver << ": " << coarse << ", " << fine;
  }
}

// ---- Samplers of the schedule's own times ----

DiffusionModel exact_model() {
  const NoiseSchedule schedule;
  return {.schedule = schedule, .denoiser = [schedule](const Tensor& x, double t) {
            return exact_noise(x, schedule.alpha(int64_t(t)), schedule.sigma(int64_t(t)));
          }};
}
double variance_at(const NoiseSchedule& schedule, int64_t t) { return variance_of(schedule.alpha(t), schedule.sigma(t)); }

double ddim_error(int64_t steps) {
  const DiffusionModel model = exact_model();
  const int64_t start = ddim_schedule(model.schedule, steps, 0).back().time;
  const double exact = exact_scale(variance_at(model.schedule, start), variance_at(model.schedule, 0));
  return std::abs(sample_ddim(model, steps, 0, one(), {}).item() / exact - 1);
}
TEST(DdimOrder, IsOne) { EXPECT_NEAR(order_between(ddim_error(100), ddim_error(200), 2), 1, 0.25); }

double ddim_variance_error(int64_t steps) {
  const DiffusionModel model = exact_model();
  const int64_t start = ddim_schedule(model.schedule, steps, 1).back().time;
  const Responses responses(steps);
  const Tensor x = sample_ddim(model, steps, 1, responses.start, {.noise = responses.noise()});
  return std::abs(Responses::variance(x, variance_at(model.schedule, start)) / variance_at(model.schedule, 0) - 1);
}
TEST(DdimNoise, LeavesTheRightVariance) {
  EXPECT_GT(order_between(ddim_variance_error(100), ddim_variance_error(200), 2), 0.75);
}

double spaced_variance_error(int64_t steps) {
  const DiffusionModel model = exact_model();
  const Responses responses(steps);
  const Tensor x = sample_spaced(model, steps, responses.start, {.noise = responses.noise()});
  // The last step gives the mean of x_0 given x at time 0.
  const double shrink = data_variance * model.schedule.alpha(0) / variance_at(model.schedule, 0);
  const double exact = shrink * shrink * variance_at(model.schedule, 0);
  return std::abs(Responses::variance(x, variance_at(model.schedule, 999)) / exact - 1);
}
TEST(SpacedNoise, LeavesTheRightVariance) {
  EXPECT_GT(order_between(spaced_variance_error(100), spaced_variance_error(200), 2), 0.75);
}

// ---- The table behind the plot of the documentation ----

constexpr int64_t table_steps[] = {11, 23, 47, 95, 191, 383};

struct TableRow {
  std::string sampler;
  int order;
  std::vector<double> errors;  // after table_steps
};
std::vector<TableRow> order_table() {
  std::vector<TableRow> rows;
  const auto add = [&](const std::string& sampler, int order, auto&& error) {
    rows.push_back({sampler, order, {}});
    for (const int64_t steps : table_steps) rows.back().errors.push_back(error(steps));
  };
  for (const EdmCase& c : edm_cases) {
    const EdmOptions options{.solver = edm_solver_named(c.solver), .eta = 0, .order = c.lms_order};
    const bool has_orders = std::string(c.solver) == "lms";
    const std::string name = has_orders ? fmt::format("edm_{} {}", c.solver, c.lms_order) : fmt::format("edm_{}", c.solver);
    add(name, c.order, [&](int64_t steps) { return edm_error(options, steps); });
  }
  for (const DpmCase& c : dpm_cases)
    add(c.solver, c.order, [&](int64_t steps) { return dpm_error(dpm_options(c.solver), steps); });
  add("ddim", 1, ddim_error);
  return rows;
}

std::string as_csv(const std::vector<TableRow>& rows) {
  std::string csv = "sampler,order";
  for (const int64_t steps : table_steps) csv += fmt::format(",{}", steps);
  for (const TableRow& row : rows) {
    csv += fmt::format("\n{},{}", row.sampler, row.order);
    for (const double error : row.errors) csv += fmt::format(",{:.4e}", error);
  }
  return csv + "\n";
}

// docs/sampler_orders.csv holds what the samplers do now. RELUME_WRITE_ORDERS=1 writes it; bench/plot_sampler_orders.py draws
// it.
TEST(SamplerOrders, TheDocumentationShowsThem) {
  const std::filesystem::path file = source_folder() / "docs/sampler_orders.csv";
  const std::vector<TableRow> rows = order_table();
  if (std::getenv("RELUME_WRITE_ORDERS")) write_file_atomically(file, as_csv(rows));
  const std::vector<std::string> lines = split(read_file(file), '\n');
  ASSERT_GE(lines.size(), rows.size() + 1);
  EXPECT_EQ(lines[0], split(as_csv({}), '\n')[0]);
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::vector<std::string> fields = split(lines[r + 1], ',');
    ASSERT_EQ(fields.size(), 2 + rows[r].errors.size());
    EXPECT_EQ(fields[0], rows[r].sampler);
    EXPECT_EQ(fields[1], std::to_string(rows[r].order));
    for (size_t i = 0; i < rows[r].errors.size(); ++i)
      EXPECT_NEAR(std::stod(fields[i + 2]) / rows[r].errors[i], 1, 0.01) << rows[r].sampler << " " << table_steps[i];
  }
}

}  // namespace
}  // namespace relume::test
