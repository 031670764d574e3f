#include "models/clip_text.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

ClipTextConfig tiny(int layers = 2, const std::string& layer = "last") {
  return {.vocab_size = 11, .context_length = 5, .width = 8, .heads = 2, .layers = layers, .embed_dim = 6, .layer = layer};
}

Tensor run(const ClipText& encoder, const std::vector<int64_t>& ids) {
  const NoGrad no_grad;
  const int64_t length = encoder.config().context_length;
  return encoder(Tensor::of<int64_t>({int64_t(ids.size()) / length, length}, ids));
}

TEST(ClipTextContract, NamesAndShapesEqualThePublishedTower) {
  std::vector<std::pair<std::string, Shape>> published{
      {"positional_embedding", {77, 1024}}, {"text_projection", {1024, 1024}}, {"logit_scale", {}}};
  for (int i = 0; i < 24; ++i) {
    const std::string block = "transformer.resblocks." + std::to_string(i) + ".";
    for (const auto& [name, shape] : std::vector<std::pair<std::string, Shape>>{{"ln_1.weight", {1024}},
                                                                                {"ln_1.bias", {1024}},
                                                                                {"attn.in_proj_weight", {3072, 1024}},
                                                                                {"attn.in_proj_bias", {3072}},
                                                                                {"attn.out_proj.weight", {1024, 1024}},
                                                                                {"attn.out_proj.bias", {1024}},
                                                                                {"ln_2.weight", {1024}},
                                                                                {"ln_2.bias", {1024}},
                                                                                {"mlp.c_fc.weight", {4096, 1024}},
                                                                                {"mlp.c_fc.bias", {4096}},
                                                                                {"mlp.c_proj.weight", {1024, 4096}},
                                                                                {"mlp.c_proj.bias", {1024}}})
      published.emplace_back(block + name, shape);
  }
  published.insert(published.end(),
                   {{"token_embedding.weight", {49408, 1024}}, {"ln_final.weight", {1024}}, {"ln_final.bias", {1024}}});
  ASSERT_EQ(published.size(), 294u);

  const ClipText encoder(nullptr, "", {});
  EXPECT_EQ(encoder.parameter_count(), 354032641);
  EXPECT_TRUE(encoder.buffers().empty());
  const std::vector<NamedTensor> ours = encoder.parameters();
  ASSERT_EQ(ours.size(), published.size());
  for (size_t i = 0; i < ours.size(); ++i) {
    EXPECT_EQ(ours[i].name, published[i].first);
    EXPECT_EQ(ours[i].tensor.shape(), published[i].second) << ours[i].name;
  }
}

TEST(ClipText, ATokenSeesThoseBeforeItAlone) {
  const ClipText encoder(nullptr, "", tiny());
  encoder.initialise(1);
  const Tensor a = run(encoder, {1, 2, 3, 4, 5}), b = run(encoder, {1, 2, 9, 4, 5});
  EXPECT_EQ(a.shape(), (Shape{1, 5, 8}));
  const auto token = [](const Tensor& states, int64_t at) { return states.reshape({5, 8}).slice(at, at + 1); };
  for (int64_t at = 0; at < 5; ++at) EXPECT_EQ(relative_l2(token(a, at), token(b, at)) > 1e-3, at >= 2) << at;
}

TEST(ClipText, PlacesAreToldApart) {
  const ClipText encoder(nullptr, "", tiny());
  encoder.initialise(1);
  const Tensor states = run(encoder, {3, 3, 3, 3, 3}).reshape({5, 8});
  EXPECT_GT(relative_l2(states.slice(1, 2), states.slice(2, 3)), 1e-3);
}

TEST(ClipText, SamplesOfABatchAreIndependent) {
  const ClipText encoder(nullptr, "", tiny());
  encoder.initialise(1);
  const Tensor both = run(encoder, {1, 2, 3, 4, 5, 9, 8, 7, 6, 0});
  EXPECT_TRUE(same_bits(both.slice(0, 1), run(encoder, {1, 2, 3, 4, 5, 9, 9, 9, 9, 9}).slice(0, 1))) << "whatever the other is";
  EXPECT_LE(relative_l2(both.slice(0, 1), run(encoder, {1, 2, 3, 4, 5})), 1e-6);
  EXPECT_LE(relative_l2(both.slice(1, 2), run(encoder, {9, 8, 7, 6, 0})), 1e-6);
}

// With the weights of the higher tower, one that is a block lower gives at its end what that one gives in front of its last.
TEST(ClipText, PenultimateLeavesOutTheLastBlockAndKeepsTheNorm) {
  const ClipText higher(nullptr, "", tiny(3, "penultimate")), lower(nullptr, "", tiny(2, "last"));
  higher.initialise(1);
  const std::vector<NamedTensor> from = higher.parameters();
  for (const NamedTensor& p : lower.parameters())
    for (const NamedTensor& q : from)
      if (q.name == p.name) p.tensor.copy_from(q.tensor);
  EXPECT_TRUE(same_bits(run(higher, {1, 2, 3, 4, 5}), run(lower, {1, 2, 3, 4, 5})));

  const Tensor states = run(higher, {1, 2, 3, 4, 5});  // normalised: a mean of 0 and a variance of 1
  double sum = 0, squares = 0;
  for (int64_t c = 0; c < 8; ++c) sum += states.data<float>()[c], squares += std::pow(states.data<float>()[c], 2);
  EXPECT_NEAR(sum / 8, 0, 1e-5);
  EXPECT_NEAR(squares / 8, 1, 0.1);
}

TEST(ClipText, NothingReachesWhatTheStatesDoNotDependOn) {
  const ClipText encoder(nullptr, "", tiny(2, "penultimate"));
  encoder.initialise(1);
  backward(encoder(Tensor::of<int64_t>({1, 5}, {1, 2, 3, 4, 5})), uniform({1, 5, 8}, 1));
  for (const NamedTensor& p : encoder.parameters()) {
    const bool unused =
        p.name == "text_projection" || p.name == "logit_scale" || p.name.starts_with("transformer.resblocks.1.");
    EXPECT_EQ(bool(grad(p.tensor)), !unused) << p.name;
  }
}

TEST(ClipTextRefusal, ConfigurationsAndIds) {
  const auto refusal = [](const ClipTextConfig& config) { return input_error([&] { ClipText(nullptr, "", config); }); };
  ClipTextConfig uneven = tiny();
  uneven.heads = 3;
  EXPECT_HAS(refusal(uneven), "width 8 is no multiple of 3 heads");
  EXPECT_HAS(refusal(tiny(1, "penultimate")), "layer penultimate needs two blocks; layers is 1");
  const ClipText encoder(nullptr, "", tiny());
  encoder.initialise(1);
  EXPECT_HAS(input_error([&] { encoder(Tensor::of<int64_t>({1, 4}, {1, 2, 3, 4})); }), "expected i64 [N, 5]");
  EXPECT_HAS(input_error([&] { run(encoder, {1, 2, 3, 4, 11}); }), "id 11 at place 4 is no row of the table");
  EXPECT_HAS(input_error([&] { run(encoder, {1, 2, 3, 4, 11}); }), "in token_embedding");
}

}  // namespace
}  // namespace relume::test
