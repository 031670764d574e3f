#include "infer/diffusers_layout.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/listed_source.h"
#include "data/checkpoint/part_source.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

constexpr int published_blocks = 24;  // of the text encoder; folders mostly hold one less

using Words = std::vector<std::string>;

// Words of a name from `first` on, joined again.
std::string rest(const Words& words, size_t first) {
  return join(std::span(words).subspan(std::min(first, words.size())), ".");
}

int number(const std::string& word) {
  const bool digits = !word.empty() && word.size() <= 4 && word.find_first_not_of("0123456789") == std::string::npos;
  return digits ? std::stoi(word) : -1;
}

// What stands inside a block, by the name of the part in front of "weight" or "bias".
std::string translated(const std::map<std::string, std::string>& parts, const Words& words, size_t first) {
  const std::string leaf = words.back(), part = join(std::span(words).subspan(first, words.size() - 1 - first), ".");
  const auto at = parts.find(part);
  return (at == parts.end() ? part : at->second) + "." + leaf;
}

const std::map<std::string, std::string> unet_resnet{{"norm1", "in_layers.0"},          {"conv1", "in_layers.2"},
                                                     {"norm2", "out_layers.0"},         {"conv2", "out_layers.3"},
                                                     {"time_emb_proj", "emb_layers.1"}, {"conv_shortcut", "skip_connection"}};
const std::map<std::string, std::string> unet_ends{{"conv_in", "input_blocks.0.0"},
                                                   {"time_embedding.linear_1", "time_embed.0"},
                                                   {"time_embedding.linear_2", "time_embed.2"},
                                                   {"conv_norm_out", "out.0"},
                                                   {"conv_out", "out.2"}};
const std::map<std::string, std::string> vae_resnet{{"conv_shortcut", "nin_shortcut"}};
const std::map<std::string, std::string> vae_attention{
    {"group_norm", "norm"},  {"to_q", "q"}, {"to_k", "k"},  {"to_v", "v"},
    {"query", "q"},          {"key", "k"},  {"value", "v"}, {"proj_attn", "proj_out"},
    {"to_out.0", "proj_out"}};
const std::map<std::string, std::string> text_block{{"layer_norm1", "ln_1"},
                                                    {"layer_norm2", "ln_2"},
                                                    {"mlp.fc1", "mlp.c_fc"},
                                                    {"mlp.fc2", "mlp.c_proj"},
                                                    {"self_attn.out_proj", "attn.out_proj"}};

// How many residual blocks each level has, told from the first level's names, and which levels attend on the way up.
struct UNetShape {
  explicit UNetShape(const TensorSource& source) {
    for (const TensorInfo& t : source.tensors()) {
      const Words w = split(t.name, '.');
      if (w.size() > 3 && w[0] == "down_blocks" && w[1] == "0" && w[2] == "resnets")
        blocks = std::max(blocks, number(w[3]) + 1);
      if (w.size() > 2 && w[0] == "up_blocks" && w[2] == "attentions") attending.insert(number(w[1]));
    }
  }
  int blocks = 0;
  std::set<int> attending;
};

std::optional<std::string> unet_name(const std::string& name, const UNetShape& shape) {
  const Words w = split(name, '.');
  if (w.size() < 2) return {};
  if (const auto end = unet_ends.find(join(std::span(w).first(w.size() - 1), ".")); end != unet_ends.end())
    return end->second + "." + w.back();
  if (w[0] == "mid_block" && w.size() > 4) {
    const int at = number(w[2]);
    if (w[1] == "resnets") return detail::concat("middle_block.", 2 * at, ".", translated(unet_resnet, w, 3));
    if (w[1] == "attentions") return "middle_block.1." + rest(w, 3);
    return {};
  }
  if (w.size() < 6 || (w[0] != "down_blocks" && w[0] != "up_blocks")) return {};
  const bool down = w[0] == "down_blocks";
  const int level = number(w[1]), block = number(w[3]), stride = shape.blocks + 1;
  const std::string stage = detail::concat(down ? "input_blocks." : "output_blocks.", stride * level + block + (down ? 1 : 0));
  if (w[2] == "resnets") return stage + ".0." + translated(unet_resnet, w, 4);
  if (w[2] == "attentions") return stage + ".1." + rest(w, 4);
  if (w[2] == "downsamplers") return detail::concat("input_blocks.", stride * (level + 1), ".0.op.", w.back());
  if (w[2] == "upsamplers")
    return detail::concat("output_blocks.", stride * level + shape.blocks, shape.attending.contains(level) ? ".2" : ".1",
                          ".conv.", w.back());
  return {};
}

std::optional<std::string> vae_name(const std::string& name, int levels) {
  const Words w = split(name, '.');
  if (w.size() < 2 || w[0] == "quant_conv" || w[0] == "post_quant_conv") return name;
  const std::string half = w[0] + ".";
  if (w[1] == "conv_norm_out") return half + "norm_out." + rest(w, 2);
  if (w[1] == "conv_in" || w[1] == "conv_out") return name;
  if (w[1] == "mid_block" && w.size() > 4) {
    if (w[2] == "resnets") return detail::concat(half, "mid.block_", number(w[3]) + 1, ".", translated(vae_resnet, w, 4));
    if (w[2] == "attentions") return half + "mid.attn_1." + translated(vae_attention, w, 4);
    return {};
  }
  if (w.size() < 6) return {};
  const int level = w[1] == "down_blocks" ? number(w[2]) : levels - 1 - number(w[2]);
  const std::string place = detail::concat(half, w[1] == "down_blocks" ? "down." : "up.", level, ".");
  if (w[3] == "resnets") return detail::concat(place, "block.", number(w[4]), ".", translated(vae_resnet, w, 5));
  if (w[3] == "downsamplers") return place + "downsample.conv." + w.back();
  if (w[3] == "upsamplers") return place + "upsample.conv." + w.back();
  return {};
}

// Of what is taken as it is; queries, keys and values are joined apart.
std::optional<std::string> text_name(const std::string& name) {
  const Words w = split(name, '.');
  if (name == "embeddings.token_embedding.weight") return "token_embedding.weight";
  if (name == "embeddings.position_embedding.weight") return "positional_embedding";
  if (w[0] == "final_layer_norm") return "ln_final." + w.back();
  if (w[0] != "encoder" || w.size() < 5) return {};
  return "transformer.resblocks." + w[2] + "." + translated(text_block, w, 3);
}

// Tensors of several sources under other names, some of them made of several, some of none.
class RenamedSource : public ListedSource {
 public:
  explicit RenamedSource(std::string where) : ListedSource(std::move(where)) {}

  struct Part {
    std::shared_ptr<const TensorSource> source;
    std::string name;
  };
  // The parts one behind the other along the first axis, as a tensor of this shape; no part: zeros.
  void add(const std::string& name, const Shape& shape, std::vector<Part> parts) {
    list({name, parts.empty() ? DType::f32 : parts[0].source->find(parts[0].name)->dtype, shape});
    parts_.push_back(std::move(parts));
  }

 protected:
  Tensor read_at(size_t index) const override {
    const std::vector<Part>& parts = parts_[index];
    const TensorInfo& info = tensors()[index];
    if (parts.empty()) return Tensor::zeros(info.shape);
    if (parts.size() == 1) return parts[0].source->read(parts[0].name).reshape(info.shape);
    const Tensor joined = Tensor::empty(info.shape, info.dtype);
    auto* to = static_cast<char*>(joined.raw());
    for (const Part& part : parts) {
      const Tensor t = part.source->read(part.name).to(info.dtype).contiguous();
      const auto bytes = size_t(t.numel() * size_of(info.dtype));
      std::memcpy(to, t.raw(), bytes);
      to += bytes;
    }
    return joined;
  }

 private:
  std::vector<std::vector<Part>> parts_;
};

std::shared_ptr<const TensorSource> weights_in(const fs::path& folder) {
  for (const char* stem : {"diffusion_pytorch_model", "model", "pytorch_model"})
    for (const char* ending : {".safetensors", ".bin", ".fp16.safetensors", ".fp16.bin"})
      if (const fs::path file = folder / (std::string(stem) + ending); fs::exists(file)) return open_checkpoint(file).tensors;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    RELUME_CHECK(!entry.path().string().ends_with(".index.json"), folder.string(),
                 ": holds weights in several parts; save the model again in one (max_shard_size)");
  throw InputError(folder.string() + ": holds no weights (diffusion_pytorch_model or model, as .safetensors or .bin)");
}

[[noreturn]] void refuse(const TensorSource& source, const std::string& name) {
  throw InputError(source.where() + ": '" + printable(name) + "' has no counterpart in Stable Diffusion 2's published files");
}

bool is_attention_of_autoencoder(const std::string& name) {
  return name.find(".mid.attn_1.") != std::string::npos && name.ends_with(".weight") && !name.ends_with("norm.weight");
}

void add_unet(RenamedSource& all, const std::shared_ptr<const TensorSource>& source) {
  const UNetShape shape(*source);
  for (const TensorInfo& t : source->tensors()) {
    const auto name = unet_name(t.name, shape);
    if (!name) refuse(*source, t.name);
    all.add("model.diffusion_model." + *name, t.shape, {{source, t.name}});
  }
}

void add_autoencoder(RenamedSource& all, const std::shared_ptr<const TensorSource>& source) {
  int levels = 0;
  for (const TensorInfo& t : source->tensors())
    if (const Words w = split(t.name, '.'); w.size() > 2 && w[1] == "up_blocks") levels = std::max(levels, number(w[2]) + 1);
  for (const TensorInfo& t : source->tensors()) {
    const auto name = vae_name(t.name, levels);
    if (!name) refuse(*source, t.name);
    const bool linear = is_attention_of_autoencoder(*name) && t.shape.rank() == 2;
    all.add("first_stage_model." + *name, linear ? Shape{t.shape[0], t.shape[1], 1, 1} : t.shape, {{source, t.name}});
  }
}

// The tensors without the "text_model." that older releases of transformers put before all of them.
std::shared_ptr<const TensorSource> text_tower(const std::shared_ptr<const TensorSource>& source) {
  const std::string before = "text_model.";
  const auto has_it = [&](const TensorInfo& t) { return t.name.starts_with(before); };
  if (std::ranges::none_of(source->tensors(), has_it)) return source;
  for (const TensorInfo& t : source->tensors())
    if (!has_it(t)) refuse(*source, t.name);
  return std::make_shared<PartSource>(source, before);
}

void add_text_encoder(RenamedSource& all, const std::shared_ptr<const TensorSource>& source) {
  const std::string prefix = "cond_stage_model.model.", layers = "encoder.layers.";
  std::map<std::string, Shape> last_block;  // shapes of the last one, which the one that is left out has too
  int64_t width = 0;
  int highest = -1;
  for (const TensorInfo& t : source->tensors())
    if (t.name.starts_with(layers)) highest = std::max(highest, number(split(t.name, '.')[2]));
  const std::string last = detail::concat("transformer.resblocks.", highest, ".");
  const auto add = [&](const std::string& name, const Shape& shape, std::vector<RenamedSource::Part> parts) {
    if (name.starts_with(last)) last_block.emplace(name.substr(last.size()), shape);
    all.add(prefix + name, shape, std::move(parts));
  };
  for (const TensorInfo& t : source->tensors()) {
    if (t.name.ends_with("position_ids")) continue;
    const Words w = split(t.name, '.');
    const bool joined = w.size() == 6 && w[3] == "self_attn" && w[4] != "out_proj";
    if (joined && w[4] != "q_proj") continue;  // with the queries
    if (joined) {
      const std::string before = join(std::span(w).first(4), ".") + ".", leaf = w.back();
      std::vector<RenamedSource::Part> parts;
      for (const char* one : {"q_proj.", "k_proj.", "v_proj."}) {
        RELUME_CHECK(source->find(before + one + leaf), source->where(), ": '", before, one, leaf, "' is missing");
        parts.push_back({source, before + one + leaf});
      }
      add("transformer.resblocks." + w[2] + ".attn.in_proj_" + leaf, t.shape.with(0, 3 * t.shape[0]), std::move(parts));
      continue;
    }
    const auto name = text_name(t.name);
    if (!name) refuse(*source, t.name);
    if (*name == "token_embedding.weight") width = t.shape[1];
    add(*name, t.shape, {{source, t.name}});
  }
  if (highest + 1 != published_blocks)
    for (const auto& [name, shape] : last_block)
      all.add(prefix + detail::concat("transformer.resblocks.", highest + 1, ".") + name, shape, {});
  all.add(prefix + "text_projection", {width, width}, {});
  all.add(prefix + "logit_scale", {}, {});
}

}  // namespace

bool is_diffusers_folder(const fs::path& folder) {
  return fs::is_directory(folder / "unet") && fs::is_directory(folder / "vae") && fs::is_directory(folder / "text_encoder");
}

std::shared_ptr<const TensorSource> open_diffusers_folder(const fs::path& folder) {
  RELUME_CHECK(is_diffusers_folder(folder), folder.string(), ": is no folder of diffusers: it lacks unet, vae or text_encoder");
  const auto all = std::make_shared<RenamedSource>(folder.string());
  add_unet(*all, weights_in(folder / "unet"));
  add_autoencoder(*all, weights_in(folder / "vae"));
  add_text_encoder(*all, text_tower(weights_in(folder / "text_encoder")));
  return all;
}

}  // namespace relume
