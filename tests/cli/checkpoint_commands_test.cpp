// relume inspect and relume convert as their users meet them.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/text.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/safetensors.h"
#include "data/image.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pickles.h"
#include "tests/support/pictures.h"
#include "tests/support/python.h"
#include "tests/support/small_weights.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class CheckpointCommands : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    if (IsSkipped()) return;
    save_small_network(17, folder_ / "w.safetensors");
  }
  std::string path(const std::string& name) const { return folder_ / name; }
  Ended done(const std::vector<std::string>& arguments) {
    Ended e = run(arguments);
    EXPECT_EQ(e.code, 0) << e.err;
    return e;
  }
  // The tensors of a file without `dropped`, as safetensors without metadata.
  std::string without(const std::string& dropped) {
    const SafetensorsFile file(folder_ / "w.safetensors");
    NamedTensors rest;
    for (const TensorInfo& t : file.tensors())
      if (t.name != dropped) rest.emplace_back(t.name, file.read(t.name));
    write_safetensors(folder_ / "part.safetensors", rest);
    return path("part.safetensors");
  }
  std::string two_dicts() {
    const auto one = [](const char* key) { return pickles::tensor(pickles::storage("FloatStorage", key, 1), 0, {1}, {1}); };
    const float raw = 1, average = 2;
    return pickles::write_archive(
        folder_ / "two.pth",
        pickles::whole(pickles::dict({{"params", pickles::dict({{"x", one("0")}})},
                                      {"params_ema", pickles::dict({{"x", one("1")}})},
                                      {"iter", "K\x09"},
                                      {"name", pickles::text("\x1b[31mred\n")},
                                      {"scheduler", "]"}})),
        {{"0", {reinterpret_cast<const char*>(&raw), 4}}, {"1", {reinterpret_cast<const char*>(&average), 4}}});
  }
};

TEST_F(CheckpointCommands, InspectShowsWhatAFileHoldsAndWhichNetworkItIs) {
  const std::string text = done({"inspect", path("w.safetensors")}).out;
  EXPECT_HAS(text, "format:    safetensors, ");
  EXPECT_HAS(text, "metadata:  relume.step: 17\n");
  EXPECT_HAS(text, "metadata:  relume.swinir: img_size: 8\\x0apatch_size: 1");
  EXPECT_HAS(text, "network:   SwinIR, whole: ");
  EXPECT_HAS(text, "embed_dim 8, depths [2], num_heads [2],\n           window_size 4, mlp_ratio 2, img_size 8, in_chans 12, ");
  EXPECT_HAS(text, "its configuration stands in the file");
  EXPECT_HAS(text, "conv_first.weight ");
  EXPECT_HAS(text, "and 31 more; --tensors lists them\n");
  const std::string all = done({"inspect", path("w.safetensors"), "--tensors"}).out;
  EXPECT_EQ(occurrences(all, "more; --tensors"), 0) << all;
  EXPECT_HAS(all, "layers.0.residual_group.blocks.1.attn_mask");
  EXPECT_HAS(all, "i64    [16, 16]\n");
}

TEST_F(CheckpointCommands, InspectListsWhatIsMissing) {
  const std::string text = done({"inspect", without("norm.bias")}).out;
  EXPECT_HAS(text, "network:   SwinIR, not whole: 40 of 41 tensors fit, 1 is missing\n");
  EXPECT_HAS(
      text,
      "inferred from names and shapes; what they do not show is assumed:\n             outer_unshuffle 1 (its 12 channels");
  EXPECT_HAS(text, "\n  missing: norm.bias [8]\n");
}

TEST_F(CheckpointCommands, InspectObeysNothingInAFile) {
  const std::string text = done({"inspect", two_dicts()}).out;
  EXPECT_HAS(text, "taken:     the dict under 'params_ema', the averaged weights, not 'params'\n");
  EXPECT_HAS(text, "left:      scheduler: a list of 0\n");
  EXPECT_HAS(text, "metadata:  iter: 9\n");
  EXPECT_HAS(text, "metadata:  name: \\x1b[31mred\\x0a\n");
  EXPECT_HAS(text, "network:   none that is known\n");
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  write_file_atomically(folder_ / "evil.pth",
                        pickles::whole(pickles::call(pickles::global("posix", "system"), {pickles::text("echo")})));
  EXPECT_HAS(refused({"inspect", path("evil.pth")}), "evil.pth: byte 2 of its pickle: refuses the global posix.system: ");
}

TEST_F(CheckpointCommands, InspectGoesOnWhereAStoredConfigurationIsDamaged) {
  write_safetensors(folder_ / "x.safetensors", {{"x", Tensor::of<float>({1}, {1})}},
                    {{"relume.swinir", "embed_dim: 8\nno: 1\n"}});
  EXPECT_HAS(done({"inspect", path("x.safetensors")}).out,
             "damaged:   " + path("x.safetensors") + " (stored configuration):2: unknown key 'no'");
  const auto json = nlohmann::json::parse(done({"inspect", path("x.safetensors"), "--json"}).out);
  EXPECT_HAS(json["network"]["stored_config_problem"].get<std::string>(), "unknown key 'no'");
}

TEST_F(CheckpointCommands, InspectAsJson) {
  auto json = nlohmann::json::parse(done({"inspect", without("norm.bias"), "--json"}).out);
  EXPECT_EQ(json["format"], "safetensors");
  EXPECT_EQ(json["bytes"], fs::file_size(folder_ / "part.safetensors"));
  EXPECT_EQ(json["types"]["i64"]["tensors"], 2);
  EXPECT_EQ(json["network"]["name"], "SwinIR");
  EXPECT_EQ(json["network"]["config_is_stored"], false);
  EXPECT_EQ(json["network"]["fit"]["missing"], nlohmann::json::array({"norm.bias [8]"}));
  EXPECT_EQ(json["network"]["fit"]["whole"], false);
  EXPECT_FALSE(json.contains("tensors"));
  json = nlohmann::json::parse(done({"inspect", two_dicts(), "--json", "--tensors"}).out);
  EXPECT_TRUE(json["network"]["name"].is_null());
  EXPECT_EQ(json["tensors"], nlohmann::json::parse(R"([{"name":"x","type":"f32","shape":[1]}])"));
  EXPECT_EQ(json["metadata"]["iter"], "9");
}

TEST_F(CheckpointCommands, ConvertedWeightsRestoreTheSamePicture) {
  write_png(folder_ / "in.png", natural_picture(20, 30, 1));
  const auto restored = [&](const std::string& weights, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"restore",      path("in.png"), path("out.png"),
                                       "--checkpoint", path(weights),  "--overwrite"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    done(arguments);
    return read_image(folder_ / "out.png");
  };
  const Tensor expected = restored("w.safetensors");
  EXPECT_HAS(done({"convert", path("w.safetensors"), path("w.h5")}).out, "41 tensors written to " + path("w.h5") + " (HDF5, ");
  EXPECT_TRUE(same_bits(restored("w.h5"), expected)) << "its configuration came along";
  done({"convert", path("w.h5"), path("again.safetensors")});
  EXPECT_TRUE(same_bits(restored("again.safetensors"), expected));
  EXPECT_EQ(SafetensorsFile(folder_ / "again.safetensors").metadata(), SafetensorsFile(folder_ / "w.safetensors").metadata());

  const Ended torch = done({"convert", path("w.safetensors"), path("w.pth")});
  EXPECT_HAS(torch.err,
             "note: metadata is left out, for which a dict of tensors has no place: format, relume.step, relume.swinir");
  const Checkpoint c = open_checkpoint(folder_ / "w.safetensors");
  write_file_atomically(folder_ / "w.yaml", c.metadata.at("relume.swinir"));
  EXPECT_TRUE(same_bits(restored("w.pth", {"--config", path("w.yaml")}), expected));
}

// The snippet of docs/checkpoints.md as it stands there, on weights of ours; then its network on our picture.
TEST_F(CheckpointCommands, TheSnippetOfTheDocumentationRuns) {
  if (!python_has("spandrel, torch, safetensors.torch"))
    GTEST_SKIP() << python() << " has no spandrel, torch and safetensors (RELUME_TEST_PYTHON names another)";
  const SwinIRConfig config{
      .img_size = 8, .embed_dim = 12, .depths = {2, 2}, .num_heads = {2, 2}, .window_size = 4, .sf = 2, .unshuffle_scale = 2};
  const SwinIR network(config);
  network.initialise(5);
  save_swinir(network, 0, folder_ / "mine.safetensors");
  done({"convert", path("mine.safetensors"), path("mine.pth")});

  const std::string page = read_file(source_folder() / "docs/checkpoints.md");
  const size_t begin = page.find("```python\n") + 10, end = page.find("```", begin);
  ASSERT_LT(begin, end);
  const Tensor picture = uniform({1, 16, 24, 3}, 4, 0, 1);
  const NoGrad no_grad;
  write_safetensors(folder_ / "expected.safetensors", {{"picture", picture}, {"restored", network(picture)}});
  write_file_atomically(folder_ / "snippet.py", page.substr(begin, end - begin) + R"(
assert network.architecture.id == "SwinIR" and tuple(restored.shape) == (1, 3, 64, 64)
expected = load_file("expected.safetensors")
with torch.no_grad():
    theirs = network(expected["picture"].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
assert (theirs - expected["restored"].clamp(0, 1)).abs().max() < 1e-5, (theirs - expected["restored"]).abs().max()
)");
  EXPECT_EQ(std::system(("cd '" + folder_.path().string() + "' && " + python() + " snippet.py").c_str()), 0);
}

TEST_F(CheckpointCommands, ConvertTakesTheAverageOrTheRawWeights) {
  const auto value = [&](const std::string& name) {
    return open_checkpoint(folder_ / name).tensors->read("x").to(DType::f32).data<float>()[0];
  };
  const Ended e = done({"convert", two_dicts(), path("ema.safetensors")});
  EXPECT_HAS(e.err, "taken: the dict under 'params_ema', the averaged weights, not 'params'\nleft: scheduler: a list of 0\n");
  EXPECT_EQ(value("ema.safetensors"), 2);
  EXPECT_EQ(SafetensorsFile(folder_ / "ema.safetensors").metadata().at("iter"), "9");
  done({"convert", two_dicts(), path("raw.safetensors"), "--weights", "raw", "--dtype", "bf16"});
  EXPECT_EQ(value("raw.safetensors"), 1);
  EXPECT_EQ(SafetensorsFile(folder_ / "raw.safetensors").find("x")->dtype, DType::bf16);
}

TEST_F(CheckpointCommands, ConvertRefusesAndLeavesNothing) {
  const std::string before = read_file(folder_ / "w.safetensors");
  EXPECT_HAS(refused({"convert", path("w.safetensors"), path("w.safetensors")}),
             "exists already; give --overwrite to replace it");
  EXPECT_HAS(refused({"convert", path("w.safetensors"), path("w.bin")}), "cannot write weights under this name");
  EXPECT_HAS(refused({"convert", path("absent.pth"), path("x.h5")}), "absent.pth: cannot open");
  EXPECT_HAS(refused({"convert", path("w.safetensors"), path("x.h5"), "--dtype", "f8"}), "--dtype: f8 not in");
  EXPECT_HAS(refused({"convert", path("w.safetensors"), path("x.h5"), "--weights", "best"}), "--weights: best not in");
  std::string damaged = before;
  damaged.resize(damaged.size() - 4);
  write_file_atomically(folder_ / "cut.safetensors", damaged);
  EXPECT_HAS(refused({"convert", path("cut.safetensors"), path("x.pth")}), "cut.safetensors: truncated");
  EXPECT_FALSE(fs::exists(folder_ / "x.h5") || fs::exists(folder_ / "x.pth"));
  EXPECT_EQ(read_file(folder_ / "w.safetensors"), before);

  done({"convert", path("w.safetensors"), path("w.pth")});
  std::string torch = read_file(folder_ / "w.pth");
  torch[torch.size() / 2] ^= 1;
  write_file_atomically(folder_ / "w.pth", torch);
  const Ended e = run({"convert", path("w.pth"), path("x.safetensors")});
  EXPECT_EQ(e.code, 2);
  EXPECT_HAS(e.err, "its CRC-32 does not match");
  EXPECT_FALSE(fs::exists(folder_ / "x.safetensors")) << "found while half of it was written";

  done({"convert", path("w.safetensors"), path("w.safetensors"), "--dtype", "f16", "--overwrite"});
  EXPECT_EQ(SafetensorsFile(folder_ / "w.safetensors").find("conv_last.bias")->dtype, DType::f16) << "onto itself";
}

}  // namespace
}  // namespace relume::test
