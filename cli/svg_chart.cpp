#include "cli/svg_chart.h"

#include "cli/html.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace relume {
namespace {

constexpr double width = 520, height = 300, left = 58, right = 20, top = 14, bottom = 44;

// A linear or logarithmic map from [low, high] to [from, to], with its ticks.
struct Axis {
  double low = 0, high = 1, from = 0, to = 1;
  bool log = false;

  double operator()(double v) const {
    const double t = log ? std::log(v / low) / std::log(high / low) : (v - low) / (high - low);
    return from + t * (to - from);
  }
  // Multiples of 1, 2 or 5 times a power of ten: about five of them, or on a logarithmic axis those three per decade
  // (only the powers when there are many decades).
  std::vector<double> ticks() const {
    std::vector<double> values;
    if (log && high / low >= 8) {
      const bool sparse = high / low > 1e4;
      for (int e = int(std::floor(std::log10(low))); e <= int(std::ceil(std::log10(high))); ++e)
        for (const double m : {1.0, 2.0, 5.0}) {
          const double v = m * std::pow(10.0, e);
          if ((m == 1 || !sparse) && v >= low * 0.999 && v <= high * 1.001) values.push_back(v);
        }
      return values;
    }
    const double raw = (high - low) / 5, power = std::pow(10.0, std::floor(std::log10(raw))), m = raw / power;
    const double step = power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
    for (double i = std::ceil(low / step - 1e-9) + 0.0; i * step <= high + step * 1e-9; ++i) values.push_back(i * step);
    return values;
  }
};

// The vertical axis: some room above and below the curve.
Axis fit_vertical(double low, double high, bool log) {
  constexpr double from = height - bottom, to = top;
  if (log) {
    const double pad = std::max(high / low, 1.2);
    return {low / std::pow(pad, 0.06), high * std::pow(pad, 0.06), from, to, true};
  }
  const double pad = std::max((high - low) * 0.06, std::abs(high) * 1e-3 + 1e-9);
  return {low - pad, high + pad, from, to, false};
}

std::vector<ChartPoint> thinned(const std::vector<ChartPoint>& points, size_t most) {
  if (points.size() <= most) return points;
  std::vector<ChartPoint> out;
  for (size_t i = 0; i < most; ++i) {
    const size_t begin = i * points.size() / most, end = (i + 1) * points.size() / most;
    ChartPoint sum;
    for (size_t k = begin; k < end; ++k) sum = {sum.x + points[k].x, sum.y + points[k].y};
    out.push_back({sum.x / double(end - begin), sum.y / double(end - begin)});
  }
  return out;
}

// The mean's weights are renormalised at the start, so that the first point does not linger.
std::vector<ChartPoint> smoothed(std::vector<ChartPoint> points, double memory, bool log) {
  double mean = 0, weight = 0;
  for (ChartPoint& p : points) {
    mean = memory * mean + (1 - memory) * (log ? std::log(p.y) : p.y);
    weight = memory * weight + (1 - memory);
    p.y = log ? std::exp(mean / weight) : mean / weight;
  }
  return points;
}

std::string polyline(const std::vector<ChartPoint>& points, const Axis& x, const Axis& y, const char* css) {
  std::string out = fmt::format("<polyline class=\"{}\" points=\"", css);
  for (const ChartPoint& p : points) out += fmt::format("{:.1f},{:.1f} ", x(p.x), y(p.y));
  return out + "\"/>";
}

std::string axes(const Axis& x, const Axis& y, const SvgChartOptions& options) {
  std::string out;
  for (const double v : y.ticks())
    out += fmt::format(
        "<line class=\"grid\" x1=\"{0}\" x2=\"{1}\" y1=\"{2:.1f}\" y2=\"{2:.1f}\"/>"
        "<text class=\"tick\" x=\"{3}\" y=\"{4:.1f}\" text-anchor=\"end\">{5:.4g}</text>",
        left, width - right, y(v), left - 8, y(v) + 4, v);
  for (const double v : x.ticks())
    out += fmt::format(
        "<line class=\"axis\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>"
        "<text class=\"tick\" x=\"{0:.1f}\" y=\"{3}\" text-anchor=\"middle\">{4:.6g}</text>",
        x(v), height - bottom, height - bottom + 5, height - bottom + 18, v);
  out += fmt::format("<line class=\"axis\" x1=\"{}\" x2=\"{}\" y1=\"{}\" y2=\"{}\"/>", left, width - right, height - bottom,
                     height - bottom);
  out += fmt::format("<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>", (left + width - right) / 2,
                     height - 6, escape_html(options.x_label));
  out += fmt::format("<text class=\"tick\" transform=\"translate(13 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
                     (top + height - bottom) / 2, escape_html(options.y_label));
  return out;
}

}  // namespace

std::string svg_chart(std::vector<ChartPoint> points, const SvgChartOptions& options) {
  std::erase_if(points,
                [&](const ChartPoint& p) { return !std::isfinite(p.x) || !std::isfinite(p.y) || (options.log_y && p.y <= 0); });
  const std::string title = escape_html(options.title);
  if (points.empty()) return "<p class=\"empty\">" + title + ": nothing was recorded.</p>";
  const std::vector<ChartPoint> shown = thinned(points, 800);
  const auto [x0, x1] = std::ranges::minmax(shown, {}, &ChartPoint::x);
  const auto [y0, y1] = std::ranges::minmax(shown, {}, &ChartPoint::y);
  const Axis x{x0.x, std::max(x1.x, x0.x + 1e-9 + std::abs(x0.x) * 1e-9), left, width - right, false};
  const Axis y = fit_vertical(y0.y, y1.y, options.log_y);

  std::string out =
      fmt::format("<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-label=\"{}\">", width, height, title);
  out += axes(x, y, options);
  if (options.smoothing > 0) out += polyline(shown, x, y, "raw");
  out +=
      polyline(options.smoothing > 0 ? thinned(smoothed(points, options.smoothing, options.log_y), 800) : shown, x, y, "line");
  if (options.dots)
    for (const ChartPoint& p : shown)
      out += fmt::format("<circle class=\"dot\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3.5\"><title>{:.6g}: {:.4g}</title></circle>",
                         x(p.x), y(p.y), p.x, p.y);
  return out + "</svg>";
}

}  // namespace relume
