// What is wrong with a collection of pictures, found before a week of training finds it.
//
// Every picture gets one finding, the first of this list that holds:
// - broken: it cannot be decoded;
// - tiny: its short side is below min_side;
// - graphic: it is no photograph by measure_graphic(): a screenshot, a chart, line art, a flat logo;
// - duplicate: a picture before it has the same size and the same pixels (XXH3-64 of what was decoded);
// - near_duplicate: a picture before it has an aspect ratio within 5 %, a difference hash at most 6 bits away and cells that
//   differ by at most 8 grey levels on average: the same picture compressed again or resized, not cropped. Measured on 71
//   photographs: at most 6 bits after JPEG at quality 30 to 90 or resizing by 0.25 to 0.8, unrelated ones 16 bits and more; but
//   scenes that are bright in the middle agree in their hashes, and only the cells tell them apart.
// And beside it whether its name has the extension of another format.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/image.h"

namespace relume {

enum class Finding { good, broken, tiny, graphic, duplicate, near_duplicate };
inline constexpr Finding all_findings[] = {Finding::good,    Finding::broken,    Finding::tiny,
                                           Finding::graphic, Finding::duplicate, Finding::near_duplicate};
const char* name_of(Finding finding);  // "near_duplicate"

// A picture in 9 x 8 cells. `dhash` is the difference hash (Krawetz 2013) of their mean luma: bit 8 * row + column - 1 is set
// where a cell is brighter than its left neighbour. `cells` holds their mean colours, row by row.
struct PictureSketch {
  uint64_t dhash = 0;
  std::array<uint8_t, 9 * 8 * 3> cells{};
};
PictureSketch sketch_of(const Tensor& picture);  // u8 [H, W, 3]

struct ScannedPicture {
  std::filesystem::path path;
  Finding finding = Finding::good;
  std::string reason;           // for people; empty when good
  std::string wrong_extension;  // the format that it really is, "PNG"; empty when the name is right
  int64_t same_as = -1;         // of a duplicate: the index of the picture it repeats
  int64_t height = 0, width = 0;
  uint64_t xxh3 = 0;
  PictureSketch sketch;
};

struct ScanOptions {
  int64_t min_side = 256;
  int threads = 1;
  ImageLimits limits;
  std::function<void(int64_t done)> progress = {};  // hears of every picture; may throw to end the scan
};

// In the order given, whatever the threads. Holds at most `threads` pictures in memory, and some 500 bytes per path.
std::vector<ScannedPicture> scan_pictures(const std::vector<std::filesystem::path>& paths, const ScanOptions& options);

// How a picture differs from a photograph. Sensors and lossy compression leave few neighbours equal, and spread colours; so
// counted are `equal`, the fraction of neighbours (right and below) that are equal in all channels, and, of up to 2^18 evenly
// spaced pixels, the number of distinct `colours` and `common`, the fraction that the 16 most frequent ones cover. Measured on
// 94 photographs, JPEG and PNG, blurred backgrounds and toned greys among them: equal at most 0.60, common at most 0.53, 209
// colours and more. Screenshots, charts, line art and flat drawings, antialiased or JPEG-compressed: one of the two at least
// 0.69; 11 drawn wallpapers: at least 0.67. A drawing of nothing but smooth gradients is not told from a photograph.
struct GraphicMeasure {
  double equal = 0, common = 0;
  int64_t colours = 0;
};
GraphicMeasure measure_graphic(const Tensor& picture);  // u8 [H, W, 3]
// Why a picture with these figures is no photograph: equal or common above 0.65, or at most 32 colours on at least 128 pixels.
// Empty when it may be one.
std::string graphic_reason(const GraphicMeasure& measure, int64_t pixels);

}  // namespace relume
