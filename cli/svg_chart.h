// A line chart as inline SVG for a page that styles it: colours come from the page's CSS (classes chart, grid, tick, axis, raw,
// line, dot), so one picture serves light and dark.
#pragma once

#include <string>
#include <vector>

namespace relume {

struct ChartPoint {
  double x = 0, y = 0;
};

struct SvgChartOptions {
  std::string title, x_label, y_label;  // plain text; escaped here
  bool log_y = false;                   // points with y <= 0 are left out then
  double smoothing = 0;                 // 0 <= s < 1: draws an exponential mean with this memory over the paler raw line
  bool dots = false;                    // marks every point: for curves of few points
};

// Points that are not finite are left out; more than 800 are averaged in runs. Without a point left, the chart says so.
std::string svg_chart(std::vector<ChartPoint> points, const SvgChartOptions& options);

}  // namespace relume
