// Kind colour_fix: the colours of a restored picture taken from the cleaned one.
#include <string>

#include "autograd/elementwise.h"
#include "cli/parity/kinds.h"
#include "infer/colour_fix.h"

namespace relume::parity {
namespace {

void colour_fix(const Case& c, Report& report) {
  const int levels = c.option<int>("levels");
  const Tensor content = to_channels_last(c.f32("input.content")), style = to_channels_last(c.f32("input.style"));
  const auto compare = [&](const std::string& name, const Tensor& ours) {
    if (c.has(name)) report.compare(name, to_channels_first(ours));
  };
  const std::string blurs = "output.blur_r";
  for (const std::string& name : c.names(blurs)) {  // of the first samples
    const int64_t radius = std::atoll(name.c_str() + blurs.size());
    compare(name, wavelet_blur(content.slice(0, c.info(name).shape[0]), radius));
  }
  const Tensor low = wavelet_low(content, levels);
  compare("output.low", low);
  compare("output.high", sub(content, low));
  compare("output.reconstruction", wavelet_colour_fix(content, style, levels));
  compare("output.adain", adain_colour_fix(content, style, c.option("adain_eps", 1e-5)));
}

}  // namespace

void register_colour_kinds(Kinds& kinds) { kinds["colour_fix"] = colour_fix; }

}  // namespace relume::parity
