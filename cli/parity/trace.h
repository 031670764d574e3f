// Courses of samplers as the cases record them: every call of the network, and every step of restoration guidance.
#pragma once

#include <string>
#include <vector>

#include "cli/parity/case.h"
#include "cli/parity/report.h"
#include "models/diffusion/classifier_free.h"
#include "models/diffusion/restoration_guidance.h"

namespace relume::parity {

// How the reference batches the two texts of a step.
enum class CallPattern {
  apart,           // all positive calls, then all negative ones
  positive_first,  // one call of twice the samples
  negative_first,
};
// Of a sampler, or of the family of samplers, of this name.
CallPattern pattern_of(const std::string& sampler);

// The calls of a course, in the reference's order and batches.
class Trace {
 public:
  explicit Trace(CallPattern pattern) : pattern_(pattern) {}
  // Opens `tiles` calls, for one text or for both at once.
  void begin(int64_t tiles, Texts texts, double t);
  // Batch [positive, negative] of tile `tile` into its calls.
  void put(std::vector<Tensor>& calls, int64_t tile, const Tensor& batch) const;
  // And back.
  Tensor get(const Tensor& recorded, int64_t tile) const;

  // Compares output.model_x, model_out and model_t.
  void compare(const Case& c, Report& report) const;

  std::vector<double> times;  // of each call
  std::vector<Tensor> xs, outs;

 private:
  CallPattern pattern_;
  int64_t tiles_ = 1;
  bool apart_ = false, swapped_ = false;
  size_t base_ = 0;
};

// What restoration guidance does to each estimate of x_0.
class GuidanceRecord {
 public:
  // Both must live as long; `guidance` computes on the device.
  X0Hook hook(RestorationGuidance& guidance, Device device);
  // Compares pred_x0_before, pred_x0_after, t, applied and loss behind the prefix.
  void compare(const std::string& prefix, Report& report) const;

 private:
  std::vector<Tensor> before_, after_;
  std::vector<int64_t> times_, applied_;
  std::vector<double> losses_;
};

Tensor stacked(const Tensor& a, const Tensor& b);     // rows a, then rows b, along the first axis
Tensor calls_of(const std::vector<Tensor>& batches);  // [calls, N, C, H, W] from batches [N, H, W, C] of one size
Tensor row_of(const Tensor& recorded, int64_t row);   // [N, H, W, C], number `row` of [rows, N, C, H, W]

}  // namespace relume::parity
