#include "models/swinir_layout.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <string_view>
#include <unordered_map>

#include "base/error.h"
#include "base/text.h"

namespace relume {
namespace {

constexpr int64_t feature_channels = 64;  // of the upsampling tail
constexpr size_t max_groups = 256, max_depth = 64, most_listed = 20;
constexpr int max_upsampling_steps = 6;  // a factor of 64, the largest sf

// Collects names and shapes in the order of the module tree.
class Layout {
 public:
  std::vector<ExpectedTensor> tensors;

  void tensor(const std::string& name, const Shape& shape) { tensors.push_back({name, shape}); }
  void buffer(const std::string& name, const Shape& shape) { tensors.push_back({name, shape, true}); }
  void conv(const std::string& name, int64_t in, int64_t out, int64_t side = 3) {
    tensor(name + ".weight", {out, in, side, side});
    tensor(name + ".bias", {out});
  }
  void linear(const std::string& name, int64_t in, int64_t out, bool bias = true) {
    tensor(name + ".weight", {out, in});
    if (bias) tensor(name + ".bias", {out});
  }
  void norm(const std::string& name, int64_t channels) {
    tensor(name + ".weight", {channels});
    tensor(name + ".bias", {channels});
  }
  void body_conv(const std::string& name, int64_t channels, bool three) {
    if (!three) return conv(name, channels, channels);
    conv(name + ".0", channels, channels / 4);
    conv(name + ".2", channels / 4, channels / 4, 1);
    conv(name + ".4", channels / 4, channels);
  }
};

void add_block(Layout& out, const std::string& name, const SwinIRConfig& c, int heads, bool odd) {
  const int64_t channels = c.embed_dim, hidden = int64_t(c.embed_dim * c.mlp_ratio), side = c.img_size / c.patch_size,
                window = std::min<int64_t>(c.window_size, side), pixels = window * window, offsets = 2 * window - 1;
  out.norm(name + "norm1", channels);
  out.tensor(name + "attn.relative_position_bias_table", {offsets * offsets, heads});
  out.buffer(name + "attn.relative_position_index", {pixels, pixels});
  out.linear(name + "attn.qkv", channels, 3 * channels, c.qkv_bias);
  out.linear(name + "attn.proj", channels, channels);
  out.norm(name + "norm2", channels);
  out.linear(name + "mlp.fc1", channels, hidden);
  out.linear(name + "mlp.fc2", hidden, channels);
  const bool shifts = odd && window < side && window > 1;  // a window of one pixel has nothing to shift by
  if (shifts) out.buffer(name + "attn_mask", {side / window * (side / window), pixels, pixels});
}

void add_tail(Layout& out, const SwinIRConfig& c) {
  const int64_t channels = c.embed_dim, pictures = c.in_chans;
  if (c.upsampler == "nearest+conv" || c.upsampler == "pixelshuffle")
    out.conv("conv_before_upsample.0", channels, feature_channels);
  if (c.upsampler == "nearest+conv") {
    for (int i = 1, scale = c.sf; scale > 1; scale /= 2, ++i)
      out.conv("conv_up" + std::to_string(i), feature_channels, feature_channels);
    out.conv("conv_hr", feature_channels, feature_channels);
  } else if (c.upsampler == "pixelshuffledirect") {
    out.conv("upsample.0", channels, pictures * c.sf * c.sf);
  } else if (c.upsampler == "pixelshuffle") {
    if (c.sf == 3) out.conv("upsample.0", feature_channels, 9 * feature_channels);
    for (int i = 0, scale = c.sf == 3 ? 1 : c.sf; scale > 1; scale /= 2, i += 2)
      out.conv("upsample." + std::to_string(i), feature_channels, 4 * feature_channels);
  }
  if (c.upsampler != "pixelshuffledirect") out.conv("conv_last", c.upsampler == "" ? channels : feature_channels, pictures);
}

std::string line_of(const std::string& name, const Shape& shape) { return detail::concat(printable(name), ' ', shape); }

// The tensors of a file by name.
class Names {
 public:
  explicit Names(const std::vector<TensorInfo>& tensors) {
    for (const TensorInfo& t : tensors) shapes_.emplace(t.name, &t.shape);
  }
  bool has(const std::string& name) const { return shapes_.contains(name); }
  // A size of the named tensor; none when there is no such tensor or axis.
  std::optional<int64_t> size(const std::string& name, int axis) const {
    const auto at = shapes_.find(name);
    if (at == shapes_.end() || axis >= at->second->rank()) return {};
    return (*at->second)[axis];
  }

 private:
  std::unordered_map<std::string_view, const Shape*> shapes_;
};

// The side of a square of `area`; none when it is no square.
std::optional<int> square_root(int64_t area) {
  const auto side = int64_t(std::llround(std::sqrt(double(area))));
  if (area < 1 || area > int64_t(1) << 40 || side * side != area) return {};
  return int(side);
}

int as_int(int64_t size) { return int(std::min<int64_t>(size, INT32_MAX)); }

// "layers.3.residual_group.blocks.1.norm1.weight" belongs to block 1 of group 3.
std::optional<std::pair<int, int>> block_of(std::string_view name) {
  static constexpr std::string_view group_mark = "layers.", block_mark = ".residual_group.blocks.";
  const auto take = [&](std::string_view mark, int& number) {
    if (!name.starts_with(mark)) return false;
    const auto [end, error] = std::from_chars(name.data() + mark.size(), name.data() + name.size(), number);
    if (error != std::errc{} || number < 0) return false;
    name.remove_prefix(size_t(end - name.data()));
    return true;
  };
  int group = 0, block = 0;
  if (!take(group_mark, group) || !take(block_mark, block) || !name.starts_with('.')) return {};
  if (size_t(group) >= max_groups || size_t(block) >= max_depth) return {};
  return std::pair(group, block);
}

// Fills a configuration part by part.
class Inference {
 public:
  explicit Inference(const std::vector<TensorInfo>& tensors) : names_(tensors) {
    std::map<int, int> depths;
    for (const TensorInfo& t : tensors)
      if (const auto at = block_of(t.name)) depths[at->first] = std::max(depths[at->first], at->second + 1);
    if (depths.empty()) return;
    // A group of which nothing is left is taken to be like the first that is there.
    depths_.assign(size_t(depths.rbegin()->first) + 1, depths.begin()->second);
    for (const auto& [group, depth] : depths) depths_[size_t(group)] = depth;
  }
  bool found() const { return !depths_.empty(); }

  InferredSwinIR infer() {
    result_.config.depths = depths_;
    infer_blocks();
    infer_tail();
    infer_map();
    infer_range();
    result_.assumed.insert(result_.assumed.end(), {"qk_scale head_dim^-0.5", "patch_size 1",
                                                   "drop_path_rate 0.1 and zero_last off (they matter to training alone)"});
    try {  // the reader knows ranges and rules
      read_config_text<SwinIRConfig>(to_yaml(result_.config), "");
    } catch (const InputError& error) {
      result_.contradiction = error.what();
      if (result_.contradiction.starts_with(": ")) result_.contradiction.erase(0, 2);
    }
    return result_;
  }

 private:
  // A size of the first block, of all or of one group, that has the tensor.
  std::optional<int64_t> block_size(const std::string& part, int axis, int only_group = -1) const {
    for (size_t g = 0; g < depths_.size(); ++g) {
      if (only_group >= 0 && g != size_t(only_group)) continue;
      for (int b = 0; b < depths_[g]; ++b)
        if (const auto size = names_.size(detail::concat("layers.", g, ".residual_group.blocks.", b, '.', part), axis))
          return size;
    }
    return {};
  }
  void assume(const std::string& line) { result_.assumed.push_back(line); }

  void infer_blocks() {
    SwinIRConfig& c = result_.config;
    static constexpr const char* table = "attn.relative_position_bias_table";
    if (const auto width = block_size("norm1.weight", 0)) c.embed_dim = as_int(*width);
    const auto some_heads = block_size(table, 1);
    c.num_heads.clear();
    for (size_t g = 0; g < depths_.size(); ++g)
      c.num_heads.push_back(as_int(block_size(table, 1, int(g)).value_or(some_heads.value_or(1))));
    if (const auto offsets = block_size(table, 0))  // (2w - 1)^2
      if (const auto side = square_root(*offsets); side && *side % 2 == 1) c.window_size = (*side + 1) / 2;
    if (const auto hidden = block_size("mlp.fc1.weight", 0); hidden && c.embed_dim > 0) {
      c.mlp_ratio = double(*hidden) / c.embed_dim;
      if (int64_t(c.embed_dim * c.mlp_ratio) != *hidden) c.mlp_ratio = std::nextafter(c.mlp_ratio, 1e9);
    }
    c.qkv_bias = block_size("attn.qkv.bias", 0) || !block_size("attn.qkv.weight", 0);
    c.patch_norm = names_.has("patch_embed.norm.weight") || names_.has("patch_embed.norm.bias");
    c.ape = names_.has("absolute_pos_embed");
    const auto three = [&](const std::string& conv) {
      return names_.has(conv + ".0.weight") || names_.has(conv + ".4.weight");
    };
    c.resi_connection = three("conv_after_body") || three("layers.0.conv") ? "3conv" : "1conv";
  }

  void infer_tail() {
    SwinIRConfig& c = result_.config;
    c.unshuffle = names_.has("conv_first.1.weight");
    int steps = 0;
    while (steps < max_upsampling_steps && names_.has("conv_up" + std::to_string(steps + 1) + ".weight")) ++steps;
    const auto shuffled = names_.size("upsample.0.weight", 0);
    const auto first = names_.size(c.unshuffle ? "conv_first.1.weight" : "conv_first.weight", 1),
               last = names_.size("conv_last.weight", 0);
    if (steps > 0 || names_.has("conv_hr.weight")) {
      c.upsampler = "nearest+conv";
      c.sf = 1 << std::max(steps, 1);
    } else if (shuffled && (names_.has("conv_before_upsample.0.weight") || last)) {
      c.upsampler = "pixelshuffle";
      while (steps < max_upsampling_steps && names_.has("upsample." + std::to_string(2 * steps) + ".weight")) ++steps;
      c.sf = *shuffled == 9 * feature_channels ? 3 : 1 << steps;
    } else if (shuffled) {
      c.upsampler = "pixelshuffledirect";
      // With an unshuffle the first convolution shows the same product; then pictures have three channels if that works out.
      const int64_t pictures = !c.unshuffle && first ? *first : 3;
      if (pictures > 0 && *shuffled % pictures == 0) c.sf = square_root(*shuffled / pictures).value_or(1);
    } else {
      c.upsampler = "";
      c.sf = 1;
    }
    if (c.unshuffle) c.unshuffle_scale = c.sf;
    if (last)
      c.in_chans = as_int(*last);
    else if (first)
      c.in_chans = as_int(c.unshuffle ? *first / (int64_t(c.sf) * c.sf) : *first);
    infer_outer_unshuffle();
  }

  void infer_outer_unshuffle() {
    const auto factor = result_.config.in_chans % 3 == 0 ? square_root(result_.config.in_chans / 3) : std::nullopt;
    assume(factor && *factor > 1 && result_.config.output_is_input_size()
               ? detail::concat("outer_unshuffle 1 (its ", result_.config.in_chans,
                                " channels could be pictures unshuffled by ", *factor, ')')
               : "outer_unshuffle 1");
  }

  // The map that the masks and the decision about shifts were made for.
  void infer_map() {
    SwinIRConfig& c = result_.config;
    const int window = c.window_size;
    const auto windows = block_size("attn_mask", 0), positions = names_.size("absolute_pos_embed", 1);
    const bool could_shift = std::ranges::any_of(depths_, [](int depth) { return depth > 1; });
    if (windows) {
      c.img_size = as_int(int64_t(square_root(*windows).value_or(1)) * window);
    } else if (positions) {
      c.img_size = square_root(*positions).value_or(window);
    } else if (block_size("attn.relative_position_index", 0) && could_shift && window > 1) {
      c.img_size = window;  // buffers are stored and no mask among them: nothing shifts
    } else {
      c.img_size = c.img_size % window == 0 ? c.img_size : 8 * window;
      assume(detail::concat("img_size ", c.img_size,
                            " (no masks are stored; it decides whether windows shift, not about the size of pictures)"));
    }
  }

  void infer_range() {
    SwinIRConfig& c = result_.config;
    const bool jpeg = c.window_size == 7 && c.upsampler == "";
    if (jpeg) c.img_range = 255;
    assume(jpeg ? "img_range 255 (as in the published networks against JPEG artefacts, whose window is 7)" : "img_range 1");
  }

  Names names_;
  std::vector<int> depths_;
  InferredSwinIR result_;
};

}  // namespace

std::vector<ExpectedTensor> swinir_layout(const SwinIRConfig& c) {
  RELUME_CHECK(c.depths.size() <= max_groups, "depths has ", c.depths.size(), " entries, at most ", max_groups,
               " are supported");
  Layout out;
  const int64_t channels = c.embed_dim, side = c.img_size / c.patch_size;
  if (c.unshuffle)
    out.conv("conv_first.1", int64_t(c.in_chans) * c.sf * c.sf, channels);
  else
    out.conv("conv_first", c.in_chans, channels);
  if (c.patch_norm) out.norm("patch_embed.norm", channels);
  if (c.ape) out.tensor("absolute_pos_embed", {1, side * side, channels});
  for (size_t g = 0; g < c.depths.size(); ++g) {
    const std::string group = "layers." + std::to_string(g) + ".";
    for (int b = 0; b < c.depths[g]; ++b)
      add_block(out, group + "residual_group.blocks." + std::to_string(b) + ".", c, c.num_heads[g], b % 2 == 1);
    out.body_conv(group + "conv", channels, c.resi_connection == "3conv");
  }
  out.norm("norm", channels);
  out.body_conv("conv_after_body", channels, c.resi_connection == "3conv");
  add_tail(out, c);
  return std::move(out.tensors);
}

LayoutFit fit_layout(const std::vector<ExpectedTensor>& expected, const std::vector<TensorInfo>& found) {
  std::unordered_map<std::string_view, const TensorInfo*> by_name;
  for (const TensorInfo& t : found) by_name.emplace(t.name, &t);
  LayoutFit fit;
  for (const ExpectedTensor& e : expected) {
    const auto at = by_name.find(e.name);
    if (at == by_name.end()) {
      if (e.buffer) continue;
      fit.missing.push_back(line_of(e.name, e.shape));
    } else if (const TensorInfo& t = *at->second; !(t.shape == e.shape)) {
      fit.misshaped.push_back(detail::concat("shape of ", e.name, ": ", t.shape, ", expected ", e.shape));
    } else if (!e.buffer && !is_float(t.dtype)) {
      fit.misshaped.push_back(detail::concat("type of ", e.name, ": ", t.dtype, ", expected a float"));
    } else {
      ++fit.fitting;
    }
    ++fit.expected;
    if (at != by_name.end()) by_name.erase(at);
  }
  for (const TensorInfo& t : found)
    if (by_name.contains(t.name)) fit.unexpected.push_back(line_of(t.name, t.shape));
  return fit;
}

std::string summary(const LayoutFit& fit) {
  std::string text = detail::concat(fit.fitting, " of ", fit.expected, " tensors fit");
  const auto add = [&](size_t count, const char* one, const char* more) {
    if (count > 0) text += detail::concat(", ", count, ' ', count == 1 ? one : more);
  };
  add(fit.missing.size(), "is missing", "are missing");
  add(fit.unexpected.size(), "is unexpected", "are unexpected");
  add(fit.misshaped.size(), "has another shape or type", "have another shape or type");
  return text;
}

std::string listing(const LayoutFit& fit) {
  std::string text;
  const auto add = [&](const std::vector<std::string>& lines, const char* before, const char* sort) {
    for (size_t i = 0; i < std::min(lines.size(), most_listed); ++i) text += detail::concat("\n  ", before, lines[i]);
    if (lines.size() > most_listed) text += detail::concat("\n  and ", lines.size() - most_listed, " more ", sort);
  };
  add(fit.missing, "missing: ", "missing");
  add(fit.unexpected, "unexpected: ", "unexpected");
  add(fit.misshaped, "", "of another shape or type");
  return text;
}

std::optional<InferredSwinIR> infer_swinir(const std::vector<TensorInfo>& tensors) {
  Inference inference(tensors);
  if (!inference.found()) return {};
  return inference.infer();
}

}  // namespace relume
