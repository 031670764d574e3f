// Kinds of plain picture operations: PyTorch's and Pillow's resizing, padding. Not every case stores every mode and option;
// what is stored is found by its name.
#include <fmt/format.h>

#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cli/parity/kinds.h"
#include "data/crop.h"
#include "data/pil_resize.h"
#include "data/resize.h"

namespace relume::parity {
namespace {

// As Python writes it, which named the outputs: the shortest text that reads back, "1.0" for a float without fraction.
std::string python_text(const Json& number) {
  if (!number.is_number_float()) return number.dump();
  const std::string text = fmt::format("{}", number.get<double>());
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

bool stores(const Case& c, const std::string& output) { return !c.names("output." + output).empty(); }

// Compares resize(mode, antialias) with each stored output.<mode><amount>, _aa0 or _aa1.
template <class Resize> void compare_modes(const Case& c, Report& report, const std::string& amount, const Resize& resize) {
  static const std::pair<const char*, TorchResize> modes[]{{"nearest", TorchResize::nearest},
                                                           {"nearest_exact", TorchResize::nearest_exact},
                                                           {"area", TorchResize::area},
                                                           {"bilinear", TorchResize::bilinear},
                                                           {"bicubic", TorchResize::bicubic}};
  for (const auto& [mode_name, mode] : modes) {
    const std::string name = mode_name + amount;
    if (stores(c, name + "_aa1")) report.compare_output(name + "_aa1", to_channels_first(resize(mode, true)));
    if (stores(c, name + "_aa0"))
      report.compare_output(name + "_aa0", to_channels_first(resize(mode, false)));
    else if (stores(c, name) && !stores(c, name + "_aa1"))
      report.compare_output(name, to_channels_first(resize(mode, false)));
  }
}

void torch_resize(const Case& c, Report& report) {
  RELUME_CHECK(!c.option("align_corners", false), c.name(), ": align_corners is not offered");
  const Tensor x = to_channels_last(c.f32("input.x"));
  for (const auto& size : c.option<std::vector<std::array<int64_t, 2>>>("sizes")) {
    const int64_t height = size[0], width = size[1];
    compare_modes(c, report, "_" + std::to_string(height) + "x" + std::to_string(width), [&](TorchResize mode, bool antialias) {
      return resize_torch(x, height, width, mode, {.antialias = antialias});
    });
  }
  for (const int64_t side : c.option<std::vector<int64_t>>("short_edges", {}))
    report.compare_output("short_edge_" + std::to_string(side), to_channels_first(resize_short_side(x, side)));
  std::set<int64_t> multiples;
  const std::string pad = "output.pad_";
  for (const std::string& name : c.names(pad))
    if (const int64_t multiple = std::atoll(name.c_str() + pad.size()); multiple > 0 && multiples.insert(multiple).second)
      report.compare_output("pad_" + std::to_string(multiple), to_channels_first(pad_to_multiple(x, multiple)));
}

void torch_resize_scale_factor(const Case& c, Report& report) {
  const Tensor x = to_channels_last(c.f32("input.x"));
  for (const Json& scale : c.option<std::vector<Json>>("scales"))
    compare_modes(c, report, "_sf" + python_text(scale),
                  [&](TorchResize mode, bool antialias) { return resize_torch_by(x, scale.get<double>(), mode, antialias); });
}

void pil_resize_case(const Case& c, Report& report) {
  const Tensor x = c.tensor("input.image_hwc");
  const int64_t height = x.shape(0), width = x.shape(1);
  for (const Json& scale : c.option<std::vector<Json>>("upscales")) {
    const auto side = [&](int64_t length) { return int64_t(double(length) * scale.get<double>()); };
    report.compare_output("bicubic_up" + python_text(scale) + "_hwc",
                          pil_resize(x, side(height), side(width), PilFilter::bicubic));
  }
  for (const int64_t size : c.option<std::vector<int64_t>>("crops", {})) {
    RandomStream unused({});  // a centre crop draws nothing
    const CropPlan plan = plan_crop(height, width, {.kind = CropKind::center, .size = size}, unused, c.name());
    report.compare_output("center_crop" + std::to_string(size) + "_hwc", apply_crop(x, size, plan));
  }
}

}  // namespace

void register_image_kinds(Kinds& kinds) {
  kinds["torch_resize"] = torch_resize;
  kinds["torch_resize_scale_factor"] = torch_resize_scale_factor;
  kinds["pil_resize"] = pil_resize_case;
}

}  // namespace relume::parity
