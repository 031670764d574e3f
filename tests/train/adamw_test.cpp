#include "train/adamw.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/elementwise.h"
#include "autograd/reduce.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

// AdamW as published with a running average, one number at a time in double.
struct Reference {
  AdamWOptions options;
  double average_decay;
  std::vector<double> p, m, v, average;
  int64_t steps = 0;

  Reference(const AdamWOptions& o, double decay, const Tensor& start) : options(o), average_decay(decay) {
    const Tensor wide = start.to(DType::f64);
    p.assign(wide.data<double>(), wide.data<double>() + wide.numel());
    m.resize(p.size()), v.resize(p.size()), average = p;
  }
  void step(const Tensor& gradient, double lr, double gradient_scale) {
    const Tensor wide = gradient.to(DType::f64);
    ++steps;
    for (size_t i = 0; i < p.size(); ++i) {
      const double g = wide.data<double>()[i] * gradient_scale;
      p[i] *= 1 - lr * options.weight_decay;
      m[i] = options.beta1 * m[i] + (1 - options.beta1) * g;
      v[i] = options.beta2 * v[i] + (1 - options.beta2) * g * g;
      const double m_hat = m[i] / (1 - std::pow(options.beta1, double(steps))),
                   v_hat = v[i] / (1 - std::pow(options.beta2, double(steps)));
      p[i] -= lr * m_hat / (std::sqrt(v_hat) + options.eps);
      average[i] = average_decay * average[i] + (1 - average_decay) * p[i];
    }
  }
};

void give_gradient(const Tensor& leaf, const Tensor& gradient) { backward(sum(mul(leaf, gradient))); }

double error(const Tensor& t, const std::vector<double>& expected) {
  return largest_difference(t, Tensor::of<double>(t.shape(), expected));
}

double norm_of(const Tensor& a, const Tensor& b) {
  double squares = 0;
  for (const Tensor& t : {a.to(DType::f64), b.to(DType::f64)})
    for (int64_t i = 0; i < t.numel(); ++i) squares += t.data<double>()[i] * t.data<double>()[i];
  return std::sqrt(squares);
}

TEST(AdamW, FollowsTheFormula) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const double tolerance = dtype == DType::f32 ? 2e-6 : 1e-13;
    const AdamWOptions options{.lr = 0.02, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.3, .clip_norm = 2};
    const Tensor w = require_grad(uniform({7, 13}, 1, -1, 1, dtype)), b = require_grad(uniform({3}, 2, -1, 1, dtype));
    AdamW optimiser({{"w", w}, {"b", b}}, options);
    const WeightAverage average(optimiser.parameters(), 0.9);
    Reference rw(options, 0.9, w), rb(options, 0.9, b);
    for (uint64_t i = 0; i < 8; ++i) {
      const double lr = i < 4 ? options.lr : 0.005, size = i % 2 ? 0.25 : 1;
      const Tensor gw = uniform({7, 13}, 10 + i, -size, size, dtype), gb = uniform({3}, 30 + i, -1e-3, 1e-3, dtype);
      optimiser.clear_gradients();
      give_gradient(w, gw), give_gradient(b, gb);
      const double norm = norm_of(gw, gb);
      EXPECT_EQ(norm > options.clip_norm, i % 2 == 0) << "steps of both kinds";
      const AdamW::Outcome outcome = optimiser.step(lr, {}, &average);
      EXPECT_TRUE(outcome.done);
      EXPECT_NEAR(outcome.gradient_norm, norm, 1e-12);
      const double scale = std::min(1.0, options.clip_norm / norm);
      rw.step(gw, lr, scale), rb.step(gb, lr, scale);
      EXPECT_LT(error(w, rw.p), tolerance) << "step " << i;
      EXPECT_LT(error(b, rb.p), tolerance) << "step " << i;
    }
    EXPECT_LT(error(optimiser.first_moment(0), rw.m), tolerance);
    EXPECT_LT(error(optimiser.second_moment(1), rb.v), tolerance);
    EXPECT_LT(error(average.averages()[0], rw.average), tolerance);
    EXPECT_EQ(optimiser.steps_done(), 8);
  }
}

TEST(AdamW, AParameterWithoutGradientStaysAsItIs) {
  const Tensor used = require_grad(uniform({4}, 1)), unused = require_grad(uniform({4}, 2));
  const Tensor before = unused.clone();
  AdamW optimiser({{"used", used}, {"unused", unused}}, {.lr = 0.1, .weight_decay = 0.5});
  const uint64_t used_version = used.storage()->version(), unused_version = unused.storage()->version();
  give_gradient(used, uniform({4}, 3));
  optimiser.step();
  EXPECT_TRUE(same_bits(unused, before)) << "no weight decay either";
  EXPECT_EQ(unused.storage()->version(), unused_version);
  EXPECT_GT(used.storage()->version(), used_version) << "packed copies of the weight must not be used again";
}

TEST(AdamW, GradientsAreClearedAndMeasured) {
  const Tensor a = require_grad(Tensor::zeros({2, 2})), b = require_grad(Tensor::zeros({1})),
               c = require_grad(Tensor::zeros({5}));
  AdamW optimiser({{"a", a}, {"b", b}, {"c", c}}, {});
  EXPECT_EQ(optimiser.step().gradient_norm, 0);
  give_gradient(a, Tensor::full({2, 2}, 1.5));
  give_gradient(b, Tensor::full({1}, -4));
  EXPECT_NEAR(optimiser.step().gradient_norm, 5, 1e-6);
  EXPECT_NEAR(optimiser.step().gradient_norm, 5, 1e-6) << "they stay until they are cleared";
  optimiser.clear_gradients();
  EXPECT_FALSE(grad(a));
  EXPECT_EQ(optimiser.step().gradient_norm, 0);
}

TEST(AdamW, NothingChangesUnlessEveryNumberIsFinite) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  const Tensor w = require_grad(uniform({5}, 1)), before = w.clone();
  AdamW optimiser({{"w", w}}, {.lr = 0.1, .weight_decay = 0.5, .clip_norm = 1});
  const WeightAverage average(optimiser.parameters(), 0.5);
  for (const auto& [gradient, loss] : {std::pair{1.0, inf}, {1.0, std::nan("")}, {inf, 1.0}, {std::nan(""), 1.0}}) {
    optimiser.clear_gradients();
    give_gradient(w, Tensor::of<float>({5}, {1, 2, float(gradient), 4, 5}));
    const uint64_t version = w.storage()->version();
    const AdamW::Outcome outcome = optimiser.step(0.1, std::vector{Tensor::full({}, 2), Tensor::full({}, loss)}, &average);
    EXPECT_FALSE(outcome.done);
    EXPECT_EQ(std::isfinite(outcome.gradient_norm), std::isfinite(gradient));
    EXPECT_EQ(outcome.losses.at(0), 2);
    EXPECT_EQ(std::isfinite(outcome.losses.at(1)), std::isfinite(loss));
    EXPECT_TRUE(same_bits(w, before) && same_bits(average.averages()[0], before));
    EXPECT_TRUE(same_bits(optimiser.first_moment(0), Tensor::zeros({5})));
    EXPECT_TRUE(same_bits(optimiser.second_moment(0), Tensor::zeros({5})));
    EXPECT_EQ(w.storage()->version(), version);
    EXPECT_EQ(optimiser.steps_done(), 0);
  }
  optimiser.clear_gradients();
  give_gradient(w, Tensor::full({5}, 1));
  EXPECT_TRUE(optimiser.step(0.1, std::vector{Tensor::full({}, 2)}, &average).done);
  EXPECT_EQ(optimiser.steps_done(), 1);
  EXPECT_FALSE(same_bits(w, before));
}

}  // namespace
}  // namespace relume::test
