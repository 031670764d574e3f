// The demo's report: one HTML file that loads nothing from anywhere, with the training curves, each held-out picture before,
// after and in truth under a slider, and a table of scores that says who is ahead.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "cli/svg_chart.h"
#include "tensor/core/tensor.h"

namespace relume {

struct Scores {
  double psnr = 0;  // dB
  double ssim = 0;
};

// One held-out picture; the four tensors are u8 [H, W, 3] of one size.
struct ReportPicture {
  std::string name, licence;
  Tensor truth, degraded, filtered, restored;
  double filter_sigma = 0;  // of the best single Gaussian filter, in pixels
  Scores degraded_scores, filter_scores, restored_scores;
};

struct DemoReport {
  std::vector<std::pair<std::string, std::string>> facts;  // "Machine" -> "2 cores, ...": shown in this order
  std::vector<ChartPoint> loss, validation_psnr;           // x: training step
  std::vector<ReportPicture> pictures;                     // at least one
};

struct MeanScores {
  Scores degraded, filter, restored;
};
MeanScores mean_scores(const std::vector<ReportPicture>& pictures);

// "On the mean over 7 held-out pictures the network is ahead of the best single Gaussian filter by 0.62 dB (...)": who is ahead
// in PSNR, by how much, and on how many pictures. Used by the report and by the command.
std::string verdict(const std::vector<ReportPicture>& pictures);

// Every picture is in the table; pictures are embedded (JPEG 90) in order while they fit into 7 MB, and the page says when some
// did not. InputError without pictures, or when a picture's tensors are not of one shape.
std::string demo_report_html(const DemoReport& report);
void write_demo_report(const std::filesystem::path& path, const DemoReport& report);  // whole or not at all

}  // namespace relume
