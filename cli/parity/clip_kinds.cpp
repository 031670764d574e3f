// Kinds clip_text, clip_full, tokenizer, asset: the text encoder of Stable Diffusion 2 and what turns prompts into its ids
// (spec/diffbir.md 3.4).
#include <algorithm>
#include <string>
#include <vector>

#include "base/files.h"
#include "cli/parity/kinds.h"
#include "data/tokenizer.h"

namespace relume::parity {
namespace {

constexpr const char* merges_file = "clip_bpe_merges.txt.gz";

// Where the case says which texts its ids were made of, they are made again.
void check_ids(const Case& c, const Tensor& ids, Report& report) {
  const auto texts = c.option<std::vector<std::string>>("texts", {});
  if (texts.empty()) return;
  const Tokenizer tokenizer(c.path(merges_file));
  std::vector<int64_t> ours;
  for (const std::string& text : texts) {
    const std::vector<int64_t> prompt = tokenizer.prompt(text).ids;
    ours.insert(ours.end(), prompt.begin(), prompt.end());
  }
  report.check("input.tokens", std::ranges::equal(ours, std::span(ids.data<int64_t>(), size_t(ids.numel()))),
               "the tokenizer gives other ids for the texts of the case");
}

void run_clip_text(const Case& c, Report& report) {
  const ClipText encoder(nullptr, "", clip_text_config_of(c, c.config()), c.device());
  const auto weights = c.weights("model.");
  load_strict(encoder, *weights);
  const Tensor ids = c.tensor("input.tokens").contiguous();
  check_ids(c, ids, report);
  if (c.loss().empty()) {
    const NoGrad no_grad;
    return report.compare_output("z", encoder(ids.to(c.device())));
  }
  RELUME_CHECK(c.loss() == "sum(output.z * input.grad_out)", c.name(), ": unknown loss '", c.loss(), "'");
  const Tensor z = encoder(ids.to(c.device()));
  backward(z, c.f32("input.grad_out").to(c.device()));
  report.compare_output("z", z.detach());
  for (const NamedTensor& p : encoder.parameters()) {  // none for what the states do not depend on
    const std::string name = "param.model." + p.name;
    const Tensor g = grad(p.tensor);
    RELUME_CHECK(bool(g) == report.stores_gradient(name), name, g ? ": a gradient reached it" : ": no gradient reached it",
                 ", unlike in the reference");
    if (g) report.compare_gradient(name, g);
  }
}

std::string listed(const std::vector<int64_t>& ids) {
  std::string text;
  for (const int64_t id : ids) text += " " + std::to_string(id);
  return text;
}

// Prompts, what is left of each when it is cleaned, its ids and the 77 that the encoder takes.
void run_tokenizer(const Case& c, Report& report) {
  const Tokenizer tokenizer(c.path(merges_file));
  const Json file = Json::parse(read_file(c.path(), int64_t(64) << 20));
  const auto rows = c.option_in<std::vector<Json>>(file, "cases");
  RELUME_CHECK(!rows.empty(), c.name(), ": no prompts in its file");
  for (const Json& row : rows) {
    const auto text = c.option_in<std::string>(row, "text");
    const auto same = [&](const char* what, const std::vector<int64_t>& ours) {
      const auto theirs = c.option_in<std::vector<int64_t>>(row, what);
      report.check(Json(text).dump() + ", " + what, ours == theirs, "ids" + listed(ours) + ", expected" + listed(theirs));
    };
    same("ids", tokenizer.ids(text));
    same("tokens77", tokenizer.prompt(text).ids);
  }
}

// The merges are read, and are as many as the case says.
void run_asset(const Case& c, Report& report) {
  const Tokenizer tokenizer(c.path());
  report.check("num_merges", c.option<int64_t>("num_merges") == Tokenizer::merge_count, "another number of merges than CLIP's");
  report.check("vocab_size", c.option<int64_t>("vocab_size") == Tokenizer::vocabulary, "another vocabulary than CLIP's");
  // The last merge gives the last id in front of the specials.
  report.check("order", tokenizer.ids("jekyll") == std::vector<int64_t>{Tokenizer::start_of_text - 1},
               "the last merge does not have the last id");
}

}  // namespace

ClipTextConfig clip_text_config_of(const Case& c, const Json& call) {
  const auto text = c.option_in<Json>(call, "text_cfg");
  return {.vocab_size = c.option_in<int>(text, "vocab_size"),
          .context_length = c.option_in<int>(text, "context_length"),
          .width = c.option_in<int>(text, "width"),
          .heads = c.option_in<int>(text, "heads"),
          .layers = c.option_in<int>(text, "layers"),
          .embed_dim = c.option_in<int>(call, "embed_dim"),
          .layer = c.option_in<std::string>(call, "layer")};
}

void register_clip_kinds(Kinds& kinds) {
  kinds["clip_text"] = run_clip_text;
  kinds["clip_full"] = run_clip_text;
  kinds["tokenizer"] = run_tokenizer;
  kinds["asset"] = run_asset;
}

}  // namespace relume::parity
