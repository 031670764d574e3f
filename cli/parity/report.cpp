#include "cli/parity/report.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>

namespace relume::parity {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double smallest_norm = 1e-12;       // manifest conventions.tolerance
constexpr double zero_gradient_share = 1e-4;  // manifest tolerance_rules.structurally_zero_gradients
constexpr const char* values_key = "config.values";
constexpr const char* metric_names[] = {
    "rel_l2", "rel_l2_of_change", "rel_l2_of_change_without_middle_third", "max_abs", "max_rel", "abs_quantile", "exact",
    "skip"};
using Values = std::vector<double>;

// The judge reads memory itself: it must not depend on the kernels it judges.
Values values_of(const Tensor& tensor) {
  const Tensor t = tensor.to(Device{});
  Values out;
  out.reserve(size_t(t.numel()));
  const auto rows = [&]<class T>(const T* data) {
    const int64_t count = t.rows(), length = count == 0 ? 0 : t.numel() / count;
    for (int64_t r = 0; r < count; ++r)
      for (int64_t i = 0; i < length; ++i) {
        if constexpr (std::is_arithmetic_v<T>)
          out.push_back(double(data[r * t.pitch() + i]));
        else
          out.push_back(double(float(data[r * t.pitch() + i])));
      }
  };
  switch (t.dtype()) {
    case DType::f32: rows(t.data<float>()); break;
    case DType::f64: rows(t.data<double>()); break;
    case DType::f16: rows(t.data<Float16>()); break;
    case DType::bf16: rows(t.data<BFloat16>()); break;
    case DType::u8: rows(t.data<uint8_t>()); break;
    case DType::i32: rows(t.data<int32_t>()); break;
    case DType::i64: rows(t.data<int64_t>()); break;
    case DType::boolean: rows(t.data<bool>()); break;
  }
  return out;
}

double sum_of_squares(const Values& v) { return std::inner_product(v.begin(), v.end(), v.begin(), 0.0); }
double norm(const Values& v) { return std::sqrt(sum_of_squares(v)); }
double difference(double a, double b) { return a == b ? 0 : std::abs(a - b); }  // equal infinities differ by 0

// Infinities that agree count neither as a difference nor in the size.
double rel_l2(const Values& ours, const Values& theirs) {
  double squares = 0, size = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    squares += difference(ours[i], theirs[i]) * difference(ours[i], theirs[i]);
    if (ours[i] != theirs[i] || std::isfinite(theirs[i])) size += theirs[i] * theirs[i];
  }
  if (squares == 0) return 0;
  size = std::sqrt(size);
  return std::isfinite(size) ? std::sqrt(squares) / std::max(size, smallest_norm) : infinity;
}

Values differences(const Values& ours, const Values& theirs) {
  Values d(ours.size());
  std::transform(ours.begin(), ours.end(), theirs.begin(), d.begin(), difference);
  return d;
}
double largest(const Values& v) {
  double most = 0;
  for (const double x : v) most = std::isnan(x) ? infinity : std::max(most, x);
  return most;
}
double mean(const Values& v) { return v.empty() ? 0 : std::accumulate(v.begin(), v.end(), 0.0) / double(v.size()); }

double quantile(Values v, double q) {  // with linear interpolation between the two nearest ranks
  if (v.empty()) return 0;
  for (double& x : v) x = std::isnan(x) ? infinity : x;
  std::sort(v.begin(), v.end());
  const double rank = q * double(v.size() - 1);
  const size_t low = size_t(rank), high = std::min(low + 1, v.size() - 1);
  return v[low] == v[high] ? v[low] : v[low] + (rank - double(low)) * (v[high] - v[low]);
}

double max_rel(const Values& ours, const Values& theirs) {
  double most = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double d = difference(ours[i], theirs[i]), r = d == 0 ? 0 : d / std::abs(theirs[i]);
    most = std::isnan(r) ? infinity : std::max(most, r);
  }
  return most;
}

// Every element of `shape` whose last two indices (all of [N, C, H, W]), or whose index on axis 1 (tokens), is a multiple of
// stride.
Values subsample(const Values& all, const Shape& shape, bool rows, int64_t stride) {
  Values out;
  const int64_t inner =
      rows ? std::accumulate(shape.sizes().begin() + 2, shape.sizes().end(), int64_t{1}, std::multiplies<>()) : shape[3];
  const int64_t middle = rows ? shape[1] : shape[2], outer = rows ? shape[0] : shape[0] * shape[1], step = rows ? 1 : stride;
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t m = 0; m < middle; m += stride)
      for (int64_t i = 0; i < inner; i += step) out.push_back(all[size_t((o * middle + m) * inner + i)]);
  return out;
}
Shape subsampled_shape(const Shape& shape, bool rows, int64_t stride) {
  const auto taken = [&](int axis) { return (shape[axis] + stride - 1) / stride; };
  return rows ? shape.with(1, taken(1)) : shape.with(2, taken(2)).with(3, taken(3));
}

Tolerance read_tolerance(const Json& rule, const std::string& what) {
  const auto number = [&](const Json& object, const char* key) {
    const auto at = object.find(key);
    RELUME_CHECK(at != object.end() && at->is_number() && at->get<double>() >= 0, what, ": '", key,
                 "' is not a number from 0 up");
    return at->get<double>();
  };
  if (rule.is_number()) return {.value = number(Json{{"value", rule}}, "value")};
  RELUME_CHECK(rule.is_object() && rule.contains("metric") && rule["metric"].is_string(), what,
               ": neither a number nor an object with a metric");
  Tolerance t{.metric = rule["metric"].get<std::string>()};
  RELUME_CHECK(std::find(std::begin(metric_names), std::end(metric_names), t.metric) != std::end(metric_names), what,
               ": unknown metric '", t.metric, "'");
  if (t.metric == "skip" || t.metric == "exact") return t;
  t.value = number(rule, "value");
  if (rule.contains("mean_abs")) t.mean_abs = number(rule, "mean_abs");
  if (t.metric == "abs_quantile") t.quantile = number(rule, "quantile");
  RELUME_CHECK(t.quantile <= 1, what, ": the quantile is above 1");
  return t;
}

void collect_values(const Json& node, const std::string& path, std::map<std::string, double>& out) {
  if (node.is_number()) out[path] = node.get<double>();
  if (node == "inf") out[path] = infinity;  // JSON has no other way to say so
  if (node.is_object())
    for (const auto& [key, child] : node.items()) collect_values(child, path.empty() ? key : path + "." + key, out);
}

}  // namespace

Report::Report(const Case& reference) : case_(reference) {
  const std::string what = "case " + case_.name();
  const Json& entry = case_.entry();
  RELUME_CHECK(entry.contains("tolerance") && entry["tolerance"].is_object(), what,
               ": 'tolerance' is missing or not an object");
  const Json& rules = entry["tolerance"];
  const bool exact = rules.value("metric", Json()) == "exact";
  RELUME_CHECK(exact || rules.contains("fp32"), what, ": tolerance.fp32 is missing");
  default_ = exact ? Tolerance{.metric = "exact"} : read_tolerance(rules["fp32"], what + ": tolerance.fp32");
  if (rules.contains("per_tensor")) {
    RELUME_CHECK(rules["per_tensor"].is_object(), what, ": tolerance.per_tensor is not an object");
    for (const auto& [glob, rule] : rules["per_tensor"].items())
      rules_.emplace_back(glob, read_tolerance(rule, what + ": tolerance of '" + glob + "'"));
  }
  if (entry.contains("structurally_zero_gradients"))
    for (const auto& name : case_.option_in<std::vector<std::string>>(entry, "structurally_zero_gradients"))
      zero_gradients_.insert(name);
  if (case_.config().contains("values")) collect_values(case_.config()["values"], "", values_);

  for (const char* prefix : {"output.", "grad.", "final."})
    for (const std::string& name : case_.names(prefix)) pending_.insert(name);
  for (const auto& value : values_) pending_.insert(values_key + ("." + value.first));
  std::erase_if(pending_, [&](const std::string& name) { return tolerance_of(name).metric == "skip"; });
}

Tolerance Report::tolerance_of(const std::string& name) const {
  // Numbers of the manifest answer to rules of their own, by their innermost key.
  const bool value = name.starts_with(values_key);
  const std::string asked = value ? values_key + name.substr(name.rfind('.')) : name;
  const Tolerance* best = nullptr;
  int64_t best_rank = -1;
  for (const auto& [glob, rule] : rules_) {
    if (value != glob.starts_with(values_key)) continue;
    if (!glob_match(glob, asked) && !(value && glob == values_key)) continue;
    const int64_t rank = glob == asked ? INT64_MAX : int64_t(glob.size()) - std::count(glob.begin(), glob.end(), '*');
    if (rank > best_rank) best_rank = rank, best = &rule;
  }
  return best ? *best : default_;
}

double Report::largest_gradient_norm() const {
  double most = 0;
  for (const std::string& name : case_.names("grad.")) most = std::max(most, norm(values_of(case_.tensor(name))));
  return most;
}

void Report::record(const std::string& name, double error, double tolerance) {
  if (std::isnan(error)) error = infinity;
  const double ratio = error == 0 ? 0 : error / tolerance;
  if (!(error <= tolerance)) complain(fmt::format("{}: error {:.3g}, tolerance {:.3g}", name, error, tolerance));
  if (ratio > worst_ratio_) {
    worst_ratio_ = ratio;
    verdict_.worst = name, verdict_.error = error, verdict_.tolerance = tolerance;
  }
}

void Report::judge(const std::string& name, const Values& ours, const Values& theirs, bool integers) {
  pending_.erase(name);
  Tolerance t = tolerance_of(name);
  if (t.metric == "skip") return;
  if (zero_gradients_.contains(name)) return record(name, norm(ours), zero_gradient_share * largest_gradient_norm());
  if (t.metric == "exact" || (integers && t.metric == "rel_l2")) return record(name, largest(differences(ours, theirs)), 0);
  if (t.metric == "rel_l2") return record(name, rel_l2(ours, theirs), t.value);
  if (t.metric == "max_rel") return record(name, max_rel(ours, theirs), t.value);
  if (t.metric == "abs_quantile") return record(name, quantile(differences(ours, theirs), t.quantile), t.value);
  if (t.metric == "max_abs") {
    const Values d = differences(ours, theirs);
    record(name, largest(d), t.value);
    if (t.mean_abs >= 0) record(name + " (mean)", mean(d), t.mean_abs);
    return;
  }
  judge_change(name, t, ours, theirs);
}

void Report::judge_change(const std::string& name, const Tolerance& t, const Values& ours, const Values& theirs) {
  static constexpr std::string_view prefix = "final.";
  RELUME_CHECK(name.starts_with(prefix), "case ", case_.name(), ": ", t.metric, " applies to final.param.*, not to '", name,
               "'");
  const Values initial = values_of(case_.tensor(name.substr(prefix.size())));
  if (initial.size() != theirs.size()) return complain(name + ": its initial parameter has another shape");
  const size_t n = theirs.size();
  Values our_change, their_change;
  for (size_t i = 0; i < n; ++i) {
    if (t.metric == "rel_l2_of_change_without_middle_third" && i >= n / 3 && i < 2 * n / 3) continue;
    our_change.push_back(ours[i] - initial[i]);
    their_change.push_back(theirs[i] - initial[i]);
  }
  record(name, rel_l2(our_change, their_change), t.value);
}

// What is stored under the name, of the shape of ours; undefined after a complaint.
Tensor Report::stored_like(const std::string& name, const Tensor& ours) {
  if (!case_.has(name)) return complain(name + ": compared, but the case does not store it"), Tensor();
  pending_.erase(name);
  const Tensor theirs = case_.tensor(name);
  if (ours.shape() == theirs.shape()) return theirs;
  return complain(detail::concat(name, ": ours is ", ours.shape(), ", stored is ", theirs.shape())), Tensor();
}

void Report::compare(const std::string& name, const Tensor& ours) {
  if (const Tensor theirs = stored_like(name, ours)) judge(name, values_of(ours), values_of(theirs), !is_float(theirs.dtype()));
}

void Report::compare_truncated(const std::string& name, const Tensor& ours) {
  constexpr double most_differing = 0.01;
  const Tensor theirs = stored_like(name, ours);
  if (!theirs) return;
  const Values d = differences(values_of(ours), values_of(theirs));
  record(name, largest(d), 1);
  record(name + " (mean)", mean(d), most_differing);
}

void Report::compare_value(const std::string& path, double ours) {
  const auto at = values_.find(path);
  if (at == values_.end()) return complain("config.values." + path + ": compared, but the manifest does not hold it");
  judge(values_key + ("." + path), {ours}, {at->second}, false);
}

void Report::check(const std::string& name, bool holds, const std::string& why) {
  if (holds)
    record(name, 0, 0);
  else
    complain(name + ": " + why);
}

// `full_name` itself and its subsampled forms, as the case stores them.
std::vector<Report::Form> Report::forms_of(const std::string& full_name) const {
  std::vector<Form> forms;
  for (const std::string& stored : case_.names(full_name)) {
    std::string_view suffix = std::string_view(stored).substr(full_name.size());
    if (suffix.empty()) forms.push_back({stored, Form::whole});
    if (suffix == "_sumsq") forms.push_back({stored, Form::sum_of_squares});
    const bool rows = suffix.starts_with("_rows");
    if (rows) suffix.remove_prefix(5);
    static constexpr std::string_view step = "_step";
    if (!suffix.starts_with(step)) continue;
    suffix.remove_prefix(step.size());
    const bool digits =
        !suffix.empty() && suffix.size() <= 6 && suffix.find_first_not_of("0123456789") == std::string_view::npos;
    if (digits && suffix[0] != '0')
      forms.push_back({stored, rows ? Form::rows_step : Form::step, std::stoll(std::string(suffix))});
  }
  return forms;
}

std::vector<Report::Form> Report::forms_of_gradient(const std::string& name) const {
  std::vector<Form> forms = forms_of("grad." + name);
  const std::string bare = name.substr(name.find('.') + 1);
  const auto add = [&](const std::string& stored, auto kind) {
    if (case_.has(stored)) forms.push_back({stored, kind});
  };
  if (name.starts_with("param.")) {
    add("grad.norm." + bare, Form::norm);
    add("grad.sample257." + bare, Form::sample257);
  } else {
    add("output.grad_" + bare + "_sumsq", Form::sum_of_squares);
  }
  return forms;
}

void Report::compare_forms(const std::string& what, const std::vector<Form>& forms, const Tensor& ours) {
  if (forms.empty()) return complain(what + ": computed, but the case stores it in no form");
  const Values all = values_of(ours);
  for (const Form& form : forms) {
    const TensorInfo& stored = case_.info(form.stored);
    const bool step = form.kind == Form::step, rows = form.kind == Form::rows_step;
    Shape shape;
    Values mine;
    if ((step && ours.rank() != 4) || (rows && ours.rank() < 2)) {
      pending_.erase(form.stored);
      complain(detail::concat(form.stored, ": ours is ", ours.shape(), ", which has no such axes"));
      continue;
    }
    switch (form.kind) {
      case Form::whole: shape = ours.shape(), mine = all; break;
      case Form::step:
      case Form::rows_step:
        shape = subsampled_shape(ours.shape(), rows, form.stride);
        mine = subsample(all, ours.shape(), rows, form.stride);
        break;
      case Form::sum_of_squares: mine = {sum_of_squares(all)}; break;
      case Form::norm: mine = {norm(all)}; break;
      case Form::sample257:
        for (size_t i = 0; i < all.size(); i += 257) mine.push_back(all[i]);
        shape = {int64_t(mine.size())};
        break;
    }
    if (!(shape == stored.shape)) {
      pending_.erase(form.stored);
      complain(detail::concat(form.stored, ": ours gives ", shape, " (from ", ours.shape(), "), stored is ", stored.shape));
      continue;
    }
    judge(form.stored, mine, values_of(case_.tensor(form.stored)), !is_float(stored.dtype));
  }
}

void Report::compare_output(const std::string& name, const Tensor& ours) {
  compare_forms("output." + name, forms_of("output." + name), ours);
}

void Report::compare_gradient(const std::string& name, const Tensor& ours) {
  compare_forms("grad." + name, forms_of_gradient(name), ours);
}

Verdict Report::finish() {
  static constexpr size_t shown = 5;
  if (!pending_.empty()) {
    std::vector<std::string> names(pending_.begin(), std::next(pending_.begin(), std::min(shown, pending_.size())));
    if (pending_.size() > shown) names.push_back(fmt::format("and {} more", pending_.size() - shown));
    complain("not compared: " + join(names, ", "));
  }
  if (verdict_.worst.empty() && complaints_.empty()) complain("nothing was compared");
  verdict_.complaints = complaints_;
  verdict_.passed = complaints_.empty();
  return verdict_;
}

}  // namespace relume::parity
