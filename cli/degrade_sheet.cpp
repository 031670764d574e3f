#include "cli/degrade_sheet.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "cli/html.h"
#include "data/convert.h"
#include "data/crop.h"
#include "data/resize.h"
#include "degrade/sharpen.h"

namespace relume {
namespace {

constexpr int64_t side = 144;                         // of a cell's picture
constexpr int gap = 10, lines = 3, line_height = 11;  // of a cell's caption
constexpr int cell = int(side) + gap, row_height = int(side) + gap + lines * line_height + 6, top = 52, left = 14;
constexpr double shown = 0.3;  // of each side of the picture, about its middle

// The middle of a picture of any size, pixels kept visible where it is enlarged.
Tensor detail(const Tensor& picture) {
  const int64_t height = picture.shape(0), width = picture.shape(1);
  const auto part = [](int64_t whole) { return std::clamp<int64_t>(int64_t(double(whole) * shown + 0.5), 1, whole); };
  const int64_t h = part(height), w = part(width);
  return to_u8_rounded(resize_torch(cut(picture, (height - h) / 2, (width - w) / 2, h, w), side, side, TorchResize::nearest));
}

// Words broken into lines of about the width of a cell; what does not fit is left out with an ellipsis.
std::vector<std::string> broken(const std::string& text) {
  constexpr size_t width = 27;
  std::vector<std::string> out{""};
  for (const std::string& word : split(text, ' ')) {
    if (!out.back().empty() && out.back().size() + 1 + word.size() > width) out.emplace_back();
    out.back() += (out.back().empty() ? "" : " ") + word;
  }
  if (out.size() > lines) {
    out.resize(lines);
    out.back() += " ...";
  }
  return out;
}

std::string cell_at(int column, int row, const Tensor& picture, const std::string& caption, bool last) {
  const int x = left + column * cell, y = top + row * row_height;
  std::string out = fmt::format("<image x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" href=\"{}\"/>\n", x, y, side, side,
                                jpeg_data_url(detail(picture), 88));
  if (last)
    out +=
        fmt::format("<rect class=\"last\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n", x - 2, y - 2, side + 4, side + 4);
  int baseline = y + int(side) + line_height + 1;
  for (const std::string& line : broken(caption)) {
    out += fmt::format("<text x=\"{}\" y=\"{}\">{}</text>\n", x, baseline, escape_html(line));
    baseline += line_height;
  }
  return out;
}

}  // namespace

std::string contact_sheet(const Tensor& picture, const Recipe& recipe, const SheetOptions& options) {
  const int64_t height = std::min<int64_t>(picture.shape(0), 512), width = std::min<int64_t>(picture.shape(1), 512);
  const Tensor middle = to_float(cut(picture, (picture.shape(0) - height) / 2, (picture.shape(1) - width) / 2, height, width));
  std::string cells;
  int columns = 1;
  for (int row = 0; row < options.rows; ++row) {
    SeededDraws draws({.seed = options.seed, .purpose = "sheet", .sample = uint32_t(row)});
    const Degradation degradation = draw_degradation(recipe, 1, height, width, draws);
    struct Cell {
      Tensor picture;
      std::string caption;
    };
    std::vector<Cell> shown_cells{{middle, fmt::format("clean, {} x {}", width, height)}};
    if (degradation.sharpen_target) shown_cells.push_back({sharpen(middle), "sharpened: the target"});
    for (const Step& step : degradation.steps) {
      const Tensor x = apply_step(step, shown_cells.back().picture);
      if (std::holds_alternative<ClampStep>(step) || std::holds_alternative<LevelsStep>(step))
        shown_cells.back().picture = x;  // nothing to see
      else
        shown_cells.push_back({x, label(step)});
    }
    for (size_t c = 0; c < shown_cells.size(); ++c)
      cells += cell_at(int(c), row, shown_cells[c].picture, shown_cells[c].caption, c + 1 == shown_cells.size());
    columns = std::max(columns, int(shown_cells.size()));
  }
  const int sheet_width = 2 * left + columns * cell - gap, sheet_height = top + options.rows * row_height;
  return fmt::format(
             "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0} {1}\" width=\"{0}\" height=\"{1}\">\n"
             "<style>text{{font:9.5px sans-serif;fill:#333}} .title{{font:bold 15px sans-serif}} "
             "image{{image-rendering:pixelated}} "
             ".last{{fill:none;stroke:#c60;stroke-width:2}}</style>\n"
             "<rect width=\"{0}\" height=\"{1}\" fill=\"#fff\"/>\n<text class=\"title\" x=\"{2}\" y=\"22\">{3}</text>\n"
             "<text x=\"{2}\" y=\"38\">{4}: the middle {5:.0f} % of each side, after every step; a row is one draw (seed "
             "{6})</text>\n",
             sheet_width, sheet_height, left, escape_html(options.title), escape_html(options.picture_name), shown * 100,
             options.seed) +
         cells + "</svg>\n";
}

}  // namespace relume
