#include "cli/demo_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "cli/demo_report_page.h"
#include "cli/html.h"

namespace relume {
namespace {

constexpr size_t picture_budget = 7'000'000;  // bytes of embedded pictures: the page stays below 8 MB

std::string decibels(double psnr) { return std::isinf(psnr) ? "∞" : fmt::format("{:.2f}", psnr); }

// The figure of one picture: its four versions, which the page's script turns into a slider.
std::string figure(const ReportPicture& p) {
  const struct {
    const char *view, *label;
    const Tensor& image;
    const Scores* scores;
  } versions[] = {{"degraded", "Degraded", p.degraded, &p.degraded_scores},
                  {"filtered", "Filter", p.filtered, &p.filter_scores},
                  {"restored", "Ours", p.restored, &p.restored_scores},
                  {"truth", "Truth", p.truth, nullptr}};
  const std::string name = escape_html(p.name);
  std::string out = "<figure class=\"card\"><div class=\"views\">";
  for (const auto& v : versions)
    out += fmt::format(
        "<div data-view=\"{}\" data-label=\"{}\"><img width=\"{}\" height=\"{}\" alt=\"{}: {}\" "
        "draggable=\"false\" src=\"{}\"></div>",
        v.view, v.label, v.image.shape(1), v.image.shape(0), v.label, name, jpeg_data_url(v.image, 90));
  out += fmt::format("</div><figcaption><b>{}</b><span>{}</span><span>", name, escape_html(p.licence));
  for (const auto& v : versions)
    if (v.scores)
      out +=
          fmt::format("{}{}&nbsp;{}&nbsp;dB", v.scores == &p.degraded_scores ? "" : " · ", v.label, decibels(v.scores->psnr));
  return out + "</span></figcaption></figure>\n";
}

std::string figures(const std::vector<ReportPicture>& pictures) {
  std::string out;
  size_t shown = 0;
  for (; shown < pictures.size(); ++shown) {
    const std::string next = figure(pictures[shown]);
    if (out.size() + next.size() > picture_budget) break;
    out += next;
  }
  out = "<div class=\"pictures\">\n" + out + "</div>\n";
  if (shown < pictures.size())
    out += fmt::format("<p class=\"soft\">{} of {} pictures are shown, to keep this page small; the table has them all.</p>\n",
                       shown, pictures.size());
  return out;
}

// One row of the table; a best value per score is marked.
std::string cells(const Scores& degraded, const std::string& sigma, const Scores& filter, const Scores& restored) {
  const double psnr = std::max({degraded.psnr, filter.psnr, restored.psnr});
  const double ssim = std::max({degraded.ssim, filter.ssim, restored.ssim});
  const auto pair = [&](const Scores& s, const char* css) {
    return fmt::format("<td class=\"{}{}\">{}</td><td{}>{:.4f}</td>", css, s.psnr == psnr ? " best" : "", decibels(s.psnr),
                       s.ssim == ssim ? " class=\"best\"" : "", s.ssim);
  };
  return pair(degraded, "first") + "<td class=\"first\">" + sigma + "</td>" + pair(filter, "") + pair(restored, "first");
}

std::string table(const std::vector<ReportPicture>& pictures) {
  std::string out =
      "<div class=\"card scroll\"><table>\n<thead><tr><th></th><th class=\"first\" colspan=\"2\">Degraded</th>"
      "<th class=\"first\" colspan=\"3\">Best Gaussian filter</th><th class=\"first\" colspan=\"2\">Ours</th></tr>\n"
      "<tr><th>Picture</th><th class=\"first\">PSNR, dB</th><th>SSIM</th><th class=\"first\">sigma</th><th>PSNR, dB</th>"
      "<th>SSIM</th><th class=\"first\">PSNR, dB</th><th>SSIM</th></tr></thead>\n<tbody>\n";
  for (const ReportPicture& p : pictures)
    out += fmt::format("<tr><td>{}</td>{}</tr>\n", escape_html(p.name),
                       cells(p.degraded_scores, fmt::format("{:.2f}", p.filter_sigma), p.filter_scores, p.restored_scores));
  const MeanScores mean = mean_scores(pictures);
  return out + fmt::format("</tbody>\n<tfoot><tr><th>Mean</th>{}</tr></tfoot></table></div>\n",
                           cells(mean.degraded, "", mean.filter, mean.restored));
}

std::string tile(const char* css, const char* label, const Scores& s) {
  return fmt::format("<div class=\"card tile{}\"><span>{}</span><b>{} <small>dB</small></b><span>SSIM {:.3f}</span></div>\n",
                     css, label, decibels(s.psnr), s.ssim);
}

void check(const DemoReport& report) {
  RELUME_CHECK(!report.pictures.empty(), "demo report: no picture was restored");
  for (const ReportPicture& p : report.pictures)
    for (const Tensor* t : {&p.degraded, &p.filtered, &p.restored})
      RELUME_CHECK(t->shape() == p.truth.shape(), "demo report: ", p.name, ": ", *t, " does not have the size of the truth, ",
                   p.truth);
}

}  // namespace

MeanScores mean_scores(const std::vector<ReportPicture>& pictures) {
  MeanScores mean;
  const double n = double(pictures.size());
  const auto add = [n](Scores& sum, const Scores& s) { sum = {sum.psnr + s.psnr / n, sum.ssim + s.ssim / n}; };
  for (const ReportPicture& p : pictures) {
    add(mean.degraded, p.degraded_scores);
    add(mean.filter, p.filter_scores);
    add(mean.restored, p.restored_scores);
  }
  return mean;
}

std::string verdict(const std::vector<ReportPicture>& pictures) {
  const MeanScores mean = mean_scores(pictures);
  const double lead = mean.restored.psnr - mean.filter.psnr, gain = mean.restored.psnr - mean.degraded.psnr;
  const auto better =
      std::ranges::count_if(pictures, [](const auto& p) { return p.restored_scores.psnr > p.filter_scores.psnr; });
  std::string who = "the network and the best single Gaussian filter are level";
  if (lead >= 0.005) who = fmt::format("the network is ahead of the best single Gaussian filter by {:.2f} dB", lead);
  if (lead <= -0.005) who = fmt::format("the best single Gaussian filter is ahead of the network by {:.2f} dB", -lead);
  return fmt::format(
      "On the mean over {} held-out picture{} {} ({} against {} dB); the network is ahead on {} of {}, and {:.2f} dB {} the "
      "degraded input on the mean.",
      pictures.size(), pictures.size() == 1 ? "" : "s", who, decibels(mean.restored.psnr), decibels(mean.filter.psnr), better,
      pictures.size(), std::abs(gain), gain >= 0 ? "above" : "below");
}

std::string demo_report_html(const DemoReport& report) {
  check(report);
  const MeanScores mean = mean_scores(report.pictures);
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Relume: demo report</title>\n<style>";
  out += report_style;
  out +=
      "</style></head>\n<body><main>\n<header><h1>A restoration network, trained just now on this machine</h1>\n<p>" +
      verdict(report.pictures) +
      "</p>\n<p class=\"soft\">The filter is a hard line: its width is chosen for each picture by looking at the truth, which "
      "the network never sees. All figures are on pictures that were kept out of training.</p></header>\n<div "
      "class=\"tiles\">\n";
  out += tile("", "Degraded input, mean PSNR", mean.degraded) + tile("", "Best Gaussian filter", mean.filter) +
         tile(" ours", "Ours", mean.restored);
  out += "</div>\n<section><h2>Before, after, truth</h2>\n" + figures(report.pictures);
  out += "</section>\n<section><h2>Scores</h2>\n" + table(report.pictures);
  out +=
      "<p class=\"soft\">PSNR and SSIM are measured on the whole 8-bit pictures, RGB; above they are shown as JPEG. "
      "The best of each row is marked.</p></section>\n<section><h2>Training</h2>\n<div class=\"charts\">"
      "<div class=\"card\"><h3>Loss</h3>";
  out += svg_chart(report.loss, {.title = "Training loss against step",
                                 .x_label = "step",
                                 .y_label = "loss (log scale)",
                                 .log_y = true,
                                 .smoothing = 0.95});
  out += "</div>\n<div class=\"card\"><h3>Validation PSNR</h3>";
  out += svg_chart(report.validation_psnr, {.title = "Validation PSNR against step",
                                            .x_label = "step",
                                            .y_label = "PSNR, dB",
                                            .dots = report.validation_psnr.size() <= 60});
  out += "</div></div></section>\n<section><h2>This run</h2>\n<dl class=\"card\">";
  for (const auto& [name, value] : report.facts)
    out += "<dt>" + escape_html(name) + "</dt><dd>" + escape_html(value) + "</dd>\n";
  return out + "</dl></section>\n</main>\n<script>" + report_script + "</script></body></html>\n";
}

void write_demo_report(const std::filesystem::path& path, const DemoReport& report) {
  if (path.has_parent_path()) make_folder(path.parent_path());
  write_file_atomically(path, demo_report_html(report));
}

}  // namespace relume
