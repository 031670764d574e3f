#include "infer/load_network.h"

#include <algorithm>

#include "base/files.h"
#include "base/text.h"
#include "data/checkpoint/checkpoint_writer.h"
#include "data/checkpoint/memory_source.h"
#include "data/checkpoint/safetensors.h"
#include "infer/restore.h"
#include "tests/support/errors.h"
#include "tests/support/hdf5_groups.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/small_network.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class LoadNetwork : public testing::Test {
 protected:
  LoadNetwork() {
    network_.initialise(3);
    for (const NamedTensor& t : stored_state(network_)) tensors_.emplace_back(t.name, t.tensor);
  }
  // A file of the network's tensors in the format of its name, with the network's configuration in its metadata or without.
  fs::path weights(const std::string& name, bool with_configuration) {
    MemorySource source;
    for (const auto& [key, tensor] : tensors_) source.add(key, tensor);
    std::map<std::string, std::string> metadata;
    if (with_configuration) metadata["relume.swinir"] = to_yaml(network_.config());
    write_checkpoint(folder_ / name, source, metadata);
    return folder_ / name;
  }
  Tensor& tensor(const std::string& name) {
    return std::ranges::find(tensors_, name, &std::pair<std::string, Tensor>::first)->second;
  }
  fs::path config_file(const SwinIRConfig& config) {
    write_file_atomically(folder_ / "network.yaml", to_yaml(config));
    return folder_ / "network.yaml";
  }
  void expect_same(const SwinIR& loaded) {
    const Tensor picture = natural_picture(16, 16, 1);
    EXPECT_TRUE(same_bits(restore_picture(loaded, picture), restore_picture(network_, picture)));
  }
  // What load_swinir() says on standard error while it loads.
  static std::string said(const fs::path& path, const fs::path& config = {}) {
    testing::internal::CaptureStderr();
    load_swinir(path, config);
    return testing::internal::GetCapturedStderr();
  }

  static SwinIRConfig changing_network() {  // not the identity, as small_network() begins
    SwinIRConfig config = small_network();
    config.zero_last = false;
    return config;
  }
  TemporaryFolder folder_;
  SwinIR network_{changing_network()};
  NamedTensors tensors_;
};

TEST_F(LoadNetwork, FilesThatCarryTheirConfigurationBuildTheNetworkTheyDescribe) {
  for (const char* name : {"w.safetensors", "w.h5"}) {
    const auto loaded = load_swinir(weights(name, true));
    EXPECT_EQ(to_yaml(loaded->config()), to_yaml(network_.config())) << name;
    expect_same(*loaded);
    EXPECT_EQ(said(folder_ / name), "") << name;
  }
}

TEST_F(LoadNetwork, AnyFormatTakesTheConfigurationGiven) {
  for (const char* name : {"w.safetensors", "w.h5", "w.pth"}) {
    expect_same(*load_swinir(weights(name, false), config_file(network_.config())));
    EXPECT_EQ(said(folder_ / name, folder_ / "network.yaml"), "") << name;
  }
}

TEST_F(LoadNetwork, WithoutOneItIsInferredAndWhatWasAssumedIsSaid) {
  for (const char* name : {"w.safetensors", "w.h5", "w.pth"}) {
    SwinIRConfig expected = network_.config();
    expected.outer_unshuffle = 1;
    EXPECT_EQ(to_yaml(load_swinir(weights(name, false))->config()), to_yaml(expected)) << name;
    const std::string line = said(folder_ / name);
    EXPECT_HAS(line, (folder_ / name).string() +
                         ": a SwinIR, its configuration inferred from the tensors; assumed: "
                         "outer_unshuffle 1 (its 12 channels could be pictures unshuffled by 2), img_range 1, ");
    EXPECT_EQ(occurrences(line, "\n"), 1) << line;
  }
}

TEST_F(LoadNetwork, TrainingStatesCarryTheConfigurationOfTheirTraining) {
  GroupedHdf5 file;
  for (const auto& [name, value] : tensors_) {
    if (value.dtype() != DType::f32) continue;  // the buffer of indices
    file.add("weights/" + name, value);
    file.add("ema/" + name, Tensor::zeros(value.shape()));
  }
  std::string config = "output: out\nmodel:\n";
  for (const std::string& line : split(to_yaml(network_.config()), '\n')) config += line.empty() ? "" : "  " + line + "\n";
  file.add("meta/kind", "stage1");
  file.add("meta/config", config + "train:\n  steps: 3\n");
  file.write(folder_ / "state.h5");
  const auto loaded = load_swinir(folder_ / "state.h5");
  EXPECT_EQ(to_yaml(loaded->config()), to_yaml(network_.config()));
  for (const NamedTensor& p : loaded->parameters())
    EXPECT_EQ(p.tensor.data<float>()[0], 0) << "the average, which is zero here";

  GroupedHdf5 broken;
  broken.add("weights/x", Tensor::zeros({1}));
  broken.add("meta/kind", "stage1");
  broken.add("meta/config", "output: out\n");
  broken.write(folder_ / "broken.h5");
  EXPECT_HAS(input_error([&] { load_swinir(folder_ / "broken.h5"); }),
             "broken.h5 (stored configuration): has no section 'model'");
}

TEST_F(LoadNetwork, SixteenBitWeightsAreWidened) {
  for (auto& [name, value] : tensors_)
    if (is_float(value.dtype())) value = value.to(DType::bf16);
  const auto loaded = load_swinir(weights("w.pth", false), config_file(network_.config()));
  const NamedTensor theirs = network_.parameters()[4], ours = loaded->parameters()[4];
  EXPECT_EQ(ours.tensor.dtype(), DType::f32);
  EXPECT_TRUE(same_bits(ours.tensor.detach(), theirs.tensor.detach().to(DType::bf16).to(DType::f32)));
}

TEST_F(LoadNetwork, WeightsOfAnotherConfigurationAreListed) {
  SwinIRConfig other = network_.config();
  other.embed_dim = 10, other.resi_connection = "3conv";
  const fs::path path = weights("w.safetensors", true);
  const std::string message = input_error([&] { load_swinir(path, config_file(other)); });
  EXPECT_TRUE(
      message.starts_with(path.string() + ": does not fit this network; is it the checkpoint of another configuration? "))
      << message;
  EXPECT_EQ(occurrences(message, "\n  shape of conv_first.weight: [8, 12, 3, 3], expected [10, 12, 3, 3]"), 1) << message;
  EXPECT_EQ(occurrences(message, "\n  missing: conv_after_body.0.weight [2, 10, 3, 3]"), 1) << message;
  EXPECT_EQ(occurrences(message, "\n  unexpected: conv_after_body.weight [8, 8, 3, 3]"), 1) << message;
}

TEST_F(LoadNetwork, AnIncompleteNetworkIsListed) {
  std::erase_if(tensors_, [](const auto& t) { return t.first == "norm.bias"; });
  tensors_.emplace_back("discriminator.weight", Tensor::zeros({2}));
  tensor("conv_last.bias") = Tensor::zeros({11});
  const fs::path path = weights("w.pth", false);
  const std::string message = input_error([&] { load_swinir(path); });
  EXPECT_TRUE(message.starts_with(path.string() + ": a SwinIR that is not whole; fetch or save it again; ")) << message;
  EXPECT_HAS(message, "1 is missing, 1 is unexpected, 1 has another shape or type");
  EXPECT_HAS(message, "\n  missing: norm.bias [8]");
  EXPECT_HAS(message, "\n  unexpected: discriminator.weight [2]");
  EXPECT_HAS(message, "\n  shape of conv_last.bias: [11], expected [12]");
}

TEST_F(LoadNetwork, OtherNetworksAreNamed) {
  const auto refused = [&](const NamedTensors& tensors) {
    write_safetensors(folder_ / "other.safetensors", tensors);
    return input_error([&] { load_swinir(folder_ / "other.safetensors"); });
  };
  const Tensor x = Tensor::zeros({1});
  EXPECT_EQ(refused({{"RRDB_trunk.0.RDB1.conv1.weight", x}}),
            (folder_ / "other.safetensors").string() + ": holds RRDBNet (BSRNet), and a SwinIR is needed here");
  EXPECT_HAS(refused({{"x", x}}), ": holds no network that is known; 'relume inspect ");
  EXPECT_HAS(refused({{"layers.0.residual_group.blocks.0.norm1.weight", Tensor::zeros({0})}}),
             ": a SwinIR whose shapes contradict each other: ");
}

// A small file must not make the program ask for the memory of a network that its tensors do not justify.
TEST_F(LoadNetwork, AHostileConfigurationAsksForNoMemory) {
  SwinIRConfig huge;
  huge.embed_dim = 4096, huge.depths.assign(256, 64), huge.num_heads.assign(256, 1), huge.mlp_ratio = 64;
  write_safetensors(folder_ / "w.safetensors", {{"norm.weight", Tensor::zeros({1})}}, {{"relume.swinir", to_yaml(huge)}});
  const std::string message = input_error([&] { load_swinir(folder_ / "w.safetensors"); });
  EXPECT_HAS(message, "does not fit this network");
  EXPECT_EQ(occurrences(message, "\n"), 22) << "twenty names, how many more, and the one of another shape";
  write_safetensors(folder_ / "w.safetensors", NamedTensors{}, {{"relume.swinir", "# " + std::string(1 << 20, 'x')}});
  EXPECT_HAS(input_error([&] { load_swinir(folder_ / "w.safetensors"); }),
             "its metadata 'relume.swinir' of 1048578 bytes is over");
}

TEST_F(LoadNetwork, ADamagedConfigurationInTheWeightsIsAnErrorWithItsPlace) {
  write_safetensors(folder_ / "weights.safetensors", tensors_, {{"relume.swinir", "embed_dim: 8\nwindow_sise: 4\n"}});
  EXPECT_HAS(input_error([&] { load_swinir(folder_ / "weights.safetensors"); }),
             "weights.safetensors (stored configuration):2: unknown key 'window_sise'");
}

}  // namespace
}  // namespace relume::test
