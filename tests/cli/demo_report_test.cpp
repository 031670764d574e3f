#include "cli/demo_report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <regex>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

Tensor picture(int64_t height, int64_t width, uint8_t value) {
  return Tensor::of(Shape{height, width, 3}, std::vector<uint8_t>(size_t(height * width * 3), value));
}

ReportPicture row(const std::string& name, double filter, double restored) {
  return {.name = name,
          .licence = "CC0",
          .truth = picture(24, 32, 100),
          .degraded = picture(24, 32, 90),
          .filtered = picture(24, 32, 95),
          .restored = picture(24, 32, 99),
          .filter_sigma = 1.25,
          .degraded_scores = {23, 0.5},
          .filter_scores = {filter, 0.75},
          .restored_scores = {restored, 0.875}};
}

DemoReport small_report() {
  DemoReport report{.facts = {{"Machine", "2 cores"}}, .pictures = {row("Dune", 30, 31.5), row("Pier", 32, 31.5)}};
  for (int step = 0; step < 1000; ++step) report.loss.push_back({double(step), 100.0 / (step + 1)});
  for (int step = 0; step <= 1000; step += 250) report.validation_psnr.push_back({double(step), 23 + step / 200.0});
  return report;
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(DemoReport, HasEveryPictureRowAndTheMeansLast) {
  const std::string html = demo_report_html(small_report());
  EXPECT_EQ(count(html, "<figure"), 2u);
  EXPECT_EQ(count(html, "src=\"data:image/jpeg;base64,/9j/"), 8u);  // JPEG's first bytes in base 64
  EXPECT_NE(html.find("<tr><td>Dune</td>"), std::string::npos);
  EXPECT_NE(html.find("<tr><td>Pier</td>"), std::string::npos);
  EXPECT_NE(html.find("1.25"), std::string::npos);
  EXPECT_LT(html.rfind("<tr><td>"), html.find("<tr><th>Mean</th>"));
  EXPECT_EQ(html.find("<tr>", html.find("<tr><th>Mean</th>") + 1), std::string::npos);
  EXPECT_NE(html.find(">31.50<"), std::string::npos);
  EXPECT_NE(html.find("2 cores"), std::string::npos);
}

TEST(DemoReport, LoadsNothing) {
  const std::string html = demo_report_html(small_report());
  EXPECT_EQ(html.find("http"), std::string::npos);
  EXPECT_EQ(html.find("@import"), std::string::npos);
  EXPECT_EQ(html.find("<link"), std::string::npos);
  const std::regex load("(src|href)=\"(?!data:)|url\\(");
  EXPECT_FALSE(std::regex_search(std::regex_replace(html, std::regex("base64,[^\"]*"), ""), load));
}

TEST(DemoReport, EscapesWhatItWasGiven) {
  DemoReport report = small_report();
  report.pictures[0].name = "<script>alert('x')</script>\"&.jpg";
  report.facts = {{"<b>", "a & b"}};
  const std::string html = demo_report_html(report);
  EXPECT_EQ(html.find("<script>alert"), std::string::npos);
  EXPECT_EQ(html.find("<b>\""), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;.jpg"), std::string::npos);
  EXPECT_NE(html.find("<dt>&lt;b&gt;</dt><dd>a &amp; b</dd>"), std::string::npos);
}

TEST(DemoReport, SaysPlainlyWhoIsAhead) {
  EXPECT_NE(verdict({row("a", 30, 31.5), row("b", 32, 31.5)})
                .find("the network is ahead of the best single Gaussian filter by 0.50 dB"),
            std::string::npos);
  EXPECT_NE(verdict({row("a", 30, 31.5), row("b", 32, 31.5)}).find("ahead on 1 of 2, and 8.50 dB above the degraded input"),
            std::string::npos);
  EXPECT_NE(verdict({row("a", 33, 31)}).find("the best single Gaussian filter is ahead of the network by 2.00 dB"),
            std::string::npos);
  EXPECT_NE(verdict({row("a", 31, 31)}).find("are level"), std::string::npos);
  EXPECT_NE(verdict({row("a", 31, 20)}).find("3.00 dB below the degraded input"), std::string::npos);
}

TEST(DemoReport, Means) {
  const MeanScores mean = mean_scores({row("a", 30, 31), row("b", 32, 34)});
  EXPECT_DOUBLE_EQ(mean.filter.psnr, 31);
  EXPECT_DOUBLE_EQ(mean.restored.psnr, 32.5);
  EXPECT_DOUBLE_EQ(mean.degraded.ssim, 0.5);
}

TEST(DemoReport, StaysSmallWithManyLargePictures) {
  DemoReport report = small_report();
  ReportPicture large = row("large", 30, 31);
  for (Tensor* t : {&large.truth, &large.degraded, &large.filtered, &large.restored}) {
    *t = picture(512, 512, 0);
    uint8_t* data = t->data<uint8_t>();
    for (int64_t i = 0; i < t->numel(); ++i) data[i] = uint8_t(i * 2654435761u >> 13);  // noise: JPEG cannot shrink it
  }
  report.pictures.assign(12, large);
  const std::string html = demo_report_html(report);
  EXPECT_LT(html.size(), 8'000'000u);
  EXPECT_LT(count(html, "<figure"), 12u);
  EXPECT_NE(html.find("of 12 pictures are shown"), std::string::npos);
  EXPECT_EQ(count(html, "<tr><td>large</td>"), 12u);
}

TEST(DemoReport, RefusesPicturesOfDifferentSizesAndNone) {
  DemoReport report = small_report();
  report.pictures[1].restored = picture(24, 31, 1);
  try {
    demo_report_html(report);
    FAIL() << "accepted";
  } catch (const InputError& e) {
    EXPECT_NE(std::string(e.what()).find("Pier"), std::string::npos);
  }
  report.pictures.clear();
  EXPECT_THROW(demo_report_html(report), InputError);
}

TEST(DemoReport, WritesTheFileAndItsFolder) {
  const test::TemporaryFolder temporary;
  const auto folder = temporary.path();
  write_demo_report(folder / "demo" / "report.html", small_report());
  EXPECT_EQ(read_file(folder / "demo" / "report.html"), demo_report_html(small_report()));
}

TEST(SvgChart, LeavesOutWhatCannotBeDrawn) {
  const std::string svg = svg_chart({{0, 1}, {1, -1}, {2, NAN}, {3, 10}},
                                    {.title = "<t>", .x_label = "x", .y_label = "y", .log_y = true, .dots = true});
  EXPECT_EQ(count(svg, "<circle"), 2u);
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_NE(svg.find("&lt;t&gt;"), std::string::npos);
  EXPECT_NE(svg_chart({{0, -1}}, {.title = "Loss", .log_y = true}).find("nothing was recorded"), std::string::npos);
}

TEST(SvgChart, TicksAreRoundNumbers) {
  const std::string log = svg_chart({{0, 0.01}, {100, 10}}, {.log_y = true});
  for (const char* tick : {">0.01<", ">0.1<", ">1<", ">10<", ">100<"}) EXPECT_NE(log.find(tick), std::string::npos) << tick;
  const std::string linear = svg_chart({{0, 23}, {100, 31}}, {});
  for (const char* tick : {">24<", ">26<", ">30<", ">0<", ">20<", ">100<"})
    EXPECT_NE(linear.find(tick), std::string::npos) << tick;
  EXPECT_EQ(svg_chart({{5, 5}}, {}).find("nan"), std::string::npos);  // one point spans no range
  EXPECT_EQ(svg_chart({{5, 5}}, {.log_y = true}).find("nan"), std::string::npos);
}

}  // namespace
}  // namespace relume
