// Judges what a case computed against what it stores, by the manifest's tolerance_rules: which bound (exact name, then the glob
// with the most characters other than '*', then tolerance.fp32), which metric, structurally zero gradients, subsampled forms.
// A case passes when everything it stores under output., grad. and final., and every number under config.values, was compared
// and kept its bound. NaN keeps no bound.
#pragma once

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/parity/case.h"

namespace relume::parity {

// A bound: `metric` is one of rel_l2, rel_l2_of_change, rel_l2_of_change_without_middle_third, max_abs, max_rel, abs_quantile,
// exact, skip.
struct Tolerance {
  std::string metric = "rel_l2";
  double value = 0;
  double mean_abs = -1;  // max_abs only: also bounds the mean; negative: no such bound
  double quantile = 1;   // abs_quantile only
};

struct Verdict {
  bool passed = false;
  std::string worst;                    // name of the tensor with the largest error / tolerance; empty when none was compared
  double error = 0, tolerance = 0;      // of that tensor
  std::vector<std::string> complaints;  // one line each; empty exactly when passed
};

class Report {
 public:
  explicit Report(const Case& reference);

  // Compares with the stored tensor of this full name ("output.pred", "final.exp_avg.norm.weight"): `ours` has the stored
  // shape, any dtype, and lies on any device, as below. A wrong shape or a name the case does not store is a complaint.
  void compare(const std::string& name, const Tensor& ours);
  void compare(const std::string& name, double ours) { compare(name, Tensor::of<double>({}, {ours})); }

  // The same of an 8-bit picture whose levels were truncated: one is another where the number in front of it lies next to a
  // whole one, in a hundredth of the places at most.
  void compare_truncated(const std::string& name, const Tensor& ours);

  // Compares the whole tensor `ours` with every stored form of output.<name>: itself, _stepK, _rows_stepK, _sumsq. A complaint
  // when the case stores none of them.
  void compare_output(const std::string& name, const Tensor& ours);
  void compare_output(const std::string& name, double ours) { compare_output(name, Tensor::of<double>({}, {ours})); }

  // Compares a gradient with every stored form of it. `name` is "param.<name>" or "input.<name>": grad.<name> and its _stepK
  // and _rows_stepK forms; for parameters grad.norm.<name> and grad.sample257.<name>; for inputs output.grad_<name>_sumsq. A
  // complaint when the case stores none of them: ask stores_gradient() where a case may store only some.
  void compare_gradient(const std::string& name, const Tensor& ours);
  bool stores_gradient(const std::string& name) const { return !forms_of_gradient(name).empty(); }

  // Compares with the number at config.values.<path>, where path joins the keys with dots ("0.psnr_np_y_crop4").
  void compare_value(const std::string& path, double ours);

  // A check of the kind's own that has no number: counts as compared; unless it `holds`, fails the case with "name: why".
  void check(const std::string& name, bool holds, const std::string& why);

  // A check of the kind's own: fails the case with this line.
  void complain(const std::string& line) { complaints_.push_back(line); }

  // The bound for a tensor name, or for "config.values.<path>".
  Tolerance tolerance_of(const std::string& name) const;

  // To be asked once, at the end: adds a complaint for everything that was stored and not compared.
  Verdict finish();

 private:
  struct Form {
    std::string stored;  // full name
    enum Kind { whole, step, rows_step, sum_of_squares, norm, sample257 } kind;
    int64_t stride = 1;
  };
  Tensor stored_like(const std::string& name, const Tensor& ours);
  std::vector<Form> forms_of(const std::string& full_name) const;
  std::vector<Form> forms_of_gradient(const std::string& name) const;
  void compare_forms(const std::string& what, const std::vector<Form>& forms, const Tensor& ours);
  void judge(const std::string& name, const std::vector<double>& ours, const std::vector<double>& theirs, bool integers);
  void judge_change(const std::string& name, const Tolerance& tolerance, const std::vector<double>& ours,
                    const std::vector<double>& theirs);
  void record(const std::string& name, double error, double tolerance);
  double largest_gradient_norm() const;

  const Case& case_;
  Tolerance default_;
  std::vector<std::pair<std::string, Tolerance>> rules_;  // tolerance.per_tensor in file order
  std::set<std::string> zero_gradients_;
  std::set<std::string> pending_;         // stored, to be compared, not compared yet
  std::map<std::string, double> values_;  // config.values by joined path
  std::vector<std::string> complaints_;
  Verdict verdict_;
  double worst_ratio_ = -1;
};

}  // namespace relume::parity
