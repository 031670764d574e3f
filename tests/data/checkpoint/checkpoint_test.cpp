#include "data/checkpoint/checkpoint.h"

#include <cstring>

#include "base/files.h"
#include "data/checkpoint/checkpoint_writer.h"
#include "data/checkpoint/hdf5_tensors.h"
#include "data/checkpoint/memory_source.h"
#include "data/checkpoint/safetensors.h"
#include "data/checkpoint/torch_writer.h"
#include "data/hdf5_writer.h"
#include "tests/support/errors.h"
#include "tests/support/hdf5_groups.h"
#include "tests/support/numbers.h"
#include "tests/support/pickles.h"
#include "tests/support/python.h"

namespace relume::test {
namespace {

using namespace pickles;
using namespace std::string_literals;
namespace fs = std::filesystem;

class Checkpoints : public testing::Test {
 protected:
  fs::path file(const std::string& name, std::string_view bytes) {
    write_file_atomically(folder_ / name, bytes);
    return folder_ / name;
  }
  std::string refusal(const fs::path& path) {
    const std::string message = input_error([&] { open_checkpoint(path); });
    EXPECT_TRUE(message.starts_with(path.string() + ": ")) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message.substr(std::min(message.size(), path.string().size() + 2));
  }
  // A torch file of these values, all tensors being [value].
  fs::path torch(const std::string& values) {
    const float one = 1, two = 2;
    return write_archive(folder_ / "x.pth", whole(values),
                         {{"1", {reinterpret_cast<const char*>(&one), 4}}, {"2", {reinterpret_cast<const char*>(&two), 4}}});
  }
  static std::string one() { return tensor(storage("FloatStorage", "1", 1), 0, {1}, {1}); }
  static std::string two() { return tensor(storage("FloatStorage", "2", 1), 0, {1}, {1}); }
  static float value(const Checkpoint& c, const std::string& name) { return c.tensors->read(name).data<float>()[0]; }
  static std::string names(const Checkpoint& c) {
    std::string all;
    for (const TensorInfo& t : c.tensors->tensors()) all += t.name + " ";
    return all;
  }

  TemporaryFolder folder_;
};

// One tensor of every type and awkward shape.
MemorySource every_kind() {
  Tensor half = Tensor::empty({2}, DType::f16), brain = Tensor::empty({1, 1}, DType::bf16);
  half.data<Float16>()[0] = Float16(1.5f), half.data<Float16>()[1] = Float16(-65504.f);
  brain.data<BFloat16>()[0] = BFloat16(3.f);
  return {{"u8", Tensor::of<uint8_t>({3}, {1, 2, 255})},
          {"f32", Tensor::of<float>({2, 3, 1}, {1, -0.f, 1e-40f, 4, 5, 6})},
          {"half", half},
          {"brain", brain},
          {"scalar", Tensor::of<double>({}, {0.1})},
          {"empty", Tensor::empty({0, 4})},
          {"i32", Tensor::of<int32_t>({1}, {-7})},
          {"flags", Tensor::of<bool>({3}, {true, false, true})},
          {"flag", Tensor::of<bool>({}, {true})},
          {"i64 \xC3\xA9\xE4\xB8\xAD", Tensor::of<int64_t>({1, 2, 1}, {INT64_MIN, 9})},
          {"columns", Tensor::of<float>({2, 3}, {1, 2, 3, 4, 5, 6}).columns(1, 3)}};
}

TEST_F(Checkpoints, EveryFormatKeepsNamesOrderShapesAndBits) {
  const MemorySource source = every_kind();
  const std::map<std::string, std::string> metadata{{"relume.step", "17"}, {"note", "\"quoted\"\n\xC3\xA9"}};
  for (const auto& [name, format] : {std::pair{"x.safetensors", "safetensors"}, {"x.h5", "HDF5"}, {"x.pth", "PyTorch"}}) {
    write_checkpoint(folder_ / name, source, metadata);
    const Checkpoint c = open_checkpoint(folder_ / name);
    EXPECT_EQ(c.format, format);
    EXPECT_EQ(c.file_bytes, int64_t(fs::file_size(folder_ / name)));
    EXPECT_EQ(c.metadata, format == "PyTorch"s ? decltype(metadata){} : metadata) << name;
    EXPECT_TRUE(c.taken.empty() && c.beside.empty());
    ASSERT_EQ(c.tensors->tensors().size(), source.tensors().size()) << name;
    for (size_t i = 0; i < source.tensors().size(); ++i) {
      const TensorInfo &expected = source.tensors()[i], &got = c.tensors->tensors()[i];
      EXPECT_TRUE(got.name == expected.name || format == "HDF5"s) << "HDF5 has an order of its own";
      EXPECT_TRUE(same_bits(c.tensors->read(expected.name), source.read(expected.name))) << name << ": " << expected.name;
    }
  }
}

TEST_F(Checkpoints, TheNameDecidesAboutTheFormatWrittenAndTheContentAboutTheOneRead) {
  const MemorySource source{{"x", Tensor::of<float>({1}, {4})}};
  for (const char* name : {"a.pth", "a.pt", "a.ckpt", "a.CKPT", "a.h5", "a.hdf5", "a.safetensors"})
    write_checkpoint(folder_ / name, source, {});
  EXPECT_EQ(input_error([&] { write_checkpoint(folder_ / "a.bin", source, {}); }),
            (folder_ / "a.bin").string() +
                ": cannot write weights under this name; end it with .safetensors, .pth, .pt, .ckpt, .h5 or .hdf5");
  fs::rename(folder_ / "a.h5", folder_ / "b.safetensors");
  EXPECT_EQ(open_checkpoint(folder_ / "b.safetensors").format, "HDF5");
  fs::rename(folder_ / "a.safetensors", folder_ / "b");
  EXPECT_EQ(open_checkpoint(folder_ / "b").format, "safetensors");
  fs::rename(folder_ / "a.CKPT", folder_ / "b.h5");
  EXPECT_EQ(open_checkpoint(folder_ / "b.h5").format, "PyTorch");
}

// The eight bytes of the header's length may be what other formats begin with.
TEST_F(Checkpoints, ASafetensorsFileIsOneWhateverTheLengthOfItsHeader) {
  for (const size_t length : {0x80, 0x180, 0x280, 0x580, 0x8B1F, 0x4B50}) {
    std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    header.resize(length, ' ');
    const Checkpoint c = open_checkpoint(file("x.safetensors", joined({raw(length, 8), header, "\0\0\x80?"s})));
    EXPECT_EQ(c.format, "safetensors") << length;
    EXPECT_EQ(value(c, "x"), 1);
  }
}

TEST_F(Checkpoints, FloatsAreConvertedAndOthersAreNot) {
  const MemorySource source{{"w", Tensor::of<float>({4}, {1.f, 1e6f, -1e30f, 0.1f})},
                            {"d", Tensor::of<double>({1}, {1e300})},
                            {"index", Tensor::of<int64_t>({1}, {1 << 20})}};
  const auto notes = write_checkpoint(folder_ / "x.safetensors", source, {}, {.floats = DType::f16});
  EXPECT_EQ(notes, (std::vector<std::string>{"2 of 4 values of 'w' are too large for f16 and became infinite",
                                             "1 of 1 values of 'd' are too large for f16 and became infinite"}));
  const SafetensorsFile file(folder_ / "x.safetensors");
  EXPECT_EQ(file.find("w")->dtype, DType::f16);
  EXPECT_EQ(file.find("index")->dtype, DType::i64);
  EXPECT_EQ(float(file.read("w").data<Float16>()[3]), float(Float16(0.1f)));
  EXPECT_TRUE(write_checkpoint(folder_ / "x.h5", source, {}, {.floats = DType::bf16}).size() == 1u) << "1e300";
  EXPECT_EQ(open_checkpoint(folder_ / "x.h5").tensors->find("w")->dtype, DType::bf16);
}

TEST_F(Checkpoints, MetadataThatPyTorchHasNoPlaceForIsNamed) {
  const MemorySource source{{"x", Tensor::of<float>({1}, {4})}};
  EXPECT_EQ(write_checkpoint(folder_ / "x.pth", source, {{"format", "pt"}, {"relume.swinir", "embed_dim: 8"}}),
            std::vector<std::string>{"metadata is left out, for which a dict of tensors has no place: format, relume.swinir"});
  EXPECT_TRUE(write_checkpoint(folder_ / "x.pth", source, {}).empty());
}

TEST_F(Checkpoints, WritersRefuseWhatTheirFormatCannotHoldAndLeaveNothing) {
  const Tensor x = Tensor::of<float>({1}, {1});
  EXPECT_HAS(input_error([&] { write_checkpoint(folder_ / "x.h5", MemorySource{{"a/b", x}}, {}); }), "named 'a/b' as HDF5");
  EXPECT_HAS(input_error([&] { write_checkpoint(folder_ / "x.h5", MemorySource{{"__metadata__", x}}, {}); }), "'__metadata__'");
  EXPECT_HAS(input_error([&] {
               write_checkpoint(folder_ / "x.h5", MemorySource{{"a", x}}, {{"k", "\xFF"}});
             }),
             "not valid UTF-8");
  EXPECT_HAS(input_error([&] { write_checkpoint(folder_ / "x.pth", MemorySource{{"\xFF", x}}, {}); }), "not valid UTF-8");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator{}), 0);
}

TEST_F(Checkpoints, WhatIsNoCheckpointIsNamedForWhatItIs) {
  EXPECT_EQ(refusal(folder_.path()), "is a folder, expected a file");
  EXPECT_HAS(refusal(folder_ / "absent.pth"), "cannot open: No such file");
  EXPECT_EQ(refusal(file("empty", "")), "an empty file");
  EXPECT_EQ(refusal(file("tiny", "\1\2\3")), "shorter than 8 bytes (3), so no checkpoint of any format");
  EXPECT_HAS(refusal(file("lfs", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")),
             "a Git LFS pointer, not the file it stands for; fetch that with 'git lfs pull'");
  EXPECT_HAS(refusal(file("page", "\n  <!DOCTYPE HTML><html><body>404</body></html>")), "a web page, not a checkpoint");
  EXPECT_HAS(refusal(file("page2", "\xEF\xBB\xBF<html lang=\"en\">Sign in</html>")), "a web page, not a checkpoint");
  EXPECT_HAS(refusal(file("page3", "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>")), "a web page");
  EXPECT_HAS(refusal(file("gz", "\x1f\x8b\x08\0\0\0\0\0\0\3more"s)), "a gzip file");
  EXPECT_HAS(refusal(file("gguf", "GGUF\3\0\0\0\0\0\0\0"s)), "a GGUF file, which is not read");
  EXPECT_HAS(refusal(file("tar", joined({"sys_info", std::string(249, '\0'), "ustar", std::string(301, '\0')}))),
             "a tar archive");
  EXPECT_HAS(refusal(file("text", "embed_dim: 180\nwindow_size: 8\n")), "an unknown file format");
  EXPECT_HAS(refusal(file("protocol0", "cposix\nsystem\n(S'echo'\ntR.")), "an unknown file format");
  Hdf5Writer pack(folder_ / "pack.h5");
  const int64_t version = 1;
  pack.add("pack_version", hdf5_i64, {1}, &version);
  pack.close();
  EXPECT_EQ(refusal(folder_ / "pack.h5"), "a pack of pictures, not a checkpoint");
}

TEST_F(Checkpoints, TheUsualWrappersAreTaken) {
  const auto opened = [&](const std::string& values, bool raw = false) {
    return open_checkpoint(torch(values), {.raw_weights = raw});
  };
  const std::string first = dict({{"x", one()}}), second = dict({{"x", two()}});

  Checkpoint c = opened(dict({{"x", one()}, {"y", two()}, {"step", "K\x05"}}));
  EXPECT_EQ(names(c), "x y ");
  EXPECT_TRUE(c.taken.empty());
  EXPECT_EQ(c.metadata, (std::map<std::string, std::string>{{"step", "5"}}));

  c = opened(dict({{"epoch", "K\x03"},
                   {"name", text("a\xC3\xA9")},
                   {"lr", "F0.5\n"},
                   {"none", "N"},
                   {"on", "\x88"},
                   {"state_dict", first},
                   {"optimizer", dict({{"state", "}"}})},
                   {"losses", "]"}}));
  EXPECT_EQ(value(c, "x"), 1);
  EXPECT_EQ(c.taken, std::vector<std::string>{"the dict under 'state_dict'"});
  EXPECT_EQ(c.metadata,
            (std::map<std::string, std::string>{{"epoch", "3"}, {"name", "a\xC3\xA9"}, {"lr", "0.5"}, {"on", "true"}}));
  EXPECT_EQ(c.beside, (std::vector<std::string>{"optimizer: a dict of 1", "losses: a list of 0"}));

  const std::string both = dict({{"params", first}, {"params_ema", second}});
  c = opened(both);
  EXPECT_EQ(value(c, "x"), 2);
  EXPECT_EQ(c.taken, std::vector<std::string>{"the dict under 'params_ema', the averaged weights, not 'params'"});
  EXPECT_TRUE(c.beside.empty());
  c = opened(both, true);
  EXPECT_EQ(value(c, "x"), 1);
  EXPECT_EQ(c.taken, std::vector<std::string>{"the dict under 'params'"});
  EXPECT_EQ(c.beside, std::vector<std::string>{"params_ema: a dict of 1"});

  EXPECT_EQ(value(opened(dict({{"params", second}})), "x"), 2);
  EXPECT_EQ(value(opened(dict({{"model", second}, {"ema_model", first}})), "x"), 2);
  c = opened(dict({{"generator", second}, {"discriminator_name", text("d")}}));
  EXPECT_EQ(c.taken, std::vector<std::string>{"the dict under 'generator'"});
  EXPECT_HAS(refusal(torch(dict({{"a", first}, {"b", second}}))),
             "holds several dicts of tensors, a (a dict of 1), b (a dict of 1); save the one that is meant on its own");
  EXPECT_HAS(refusal(torch(dict({{"a", "N"}, {"b", dict({{"c", first}})}}))),
             "holds no dict of tensors, only a (None), b (a dict of 1)");
  EXPECT_HAS(refusal(torch("}")), "holds no dict of tensors, only an empty dict");
  EXPECT_HAS(refusal(torch(one())), "holds a tensor, a dict of tensors expected");
  EXPECT_HAS(refusal(torch(joined({"(", one(), "l"}))), "holds a list of 1, a dict of tensors expected");
  EXPECT_HAS(refusal(torch(joined({"}(K\x01", one(), "u"}))), "a tensor under the key 1, which is no text");
  EXPECT_EQ(value(opened(joined({"}(", text("x"), one(), text("x"), two(), "u"})), "x"), 2) << "as in Python, the later wins";
}

TEST_F(Checkpoints, PrefixesOfPyTorchsWrappersAreTakenOffWhenAllHaveThem) {
  Checkpoint c = open_checkpoint(torch(dict({{"module.x", one()}, {"module.y", two()}})));
  EXPECT_EQ(names(c), "x y ");
  EXPECT_EQ(value(c, "y"), 2);
  EXPECT_EQ(c.taken, std::vector<std::string>{"names without their prefix 'module.'"});
  c = open_checkpoint(torch(dict({{"state_dict", dict({{"module._orig_mod.x", one()}})}})));
  EXPECT_EQ(names(c), "x ");
  EXPECT_EQ(c.taken.size(), 3u);
  EXPECT_EQ(names(open_checkpoint(torch(dict({{"module.x", one()}, {"y", two()}})))), "module.x y ");
  EXPECT_EQ(names(open_checkpoint(torch(dict({{"module.", one()}})))), "module. ");
  std::string endless;
  for (int i = 0; i < 500; ++i) endless += "module.";
  c = open_checkpoint(torch(dict({{endless + "x", one()}})));
  EXPECT_EQ(c.taken.size(), 4u) << "each layer costs time and memory";
  EXPECT_EQ(value(c, endless.substr(4 * 7) + "x"), 1);
  write_safetensors(folder_ / "m.safetensors", {{"module.x", Tensor::of<float>({1}, {4})}});
  EXPECT_EQ(names(open_checkpoint(folder_ / "m.safetensors")), "x ");
}

TEST_F(Checkpoints, ManyKeysForOneTextTakeNoMemory) {
  std::string values = joined({text(std::string(1'000'000, 'a')),
                               "q\1"
                               "0}(",
                               text("x"), one()});
  for (int i = 0; i < 100'000; ++i) values += joined({text(std::to_string(i)), "h\1"});
  const Checkpoint c = open_checkpoint(torch(values + "u"));
  EXPECT_EQ(c.metadata.size(), 4u);
  EXPECT_EQ(c.beside.size(), 99'996u);
}

TEST_F(Checkpoints, DatasetsThatShareTheirDataTakeNoDisk) {
  const auto opened = [&](int copies) {
    GroupedHdf5 shared;
    shared.add("a", Tensor::zeros({1 << 20}));
    for (int i = 0; i < copies; ++i) shared.link("copy" + std::to_string(i), "a");
    shared.write(folder_ / "shared.h5");
    return folder_ / "shared.h5";
  };
  EXPECT_EQ(open_checkpoint(opened(8)).tensors->tensors().size(), 9u) << "tied weights are";
  EXPECT_HAS(refusal(opened(40)), "share their data, and take ");
}

TEST_F(Checkpoints, ManyEntriesUnderOneLongKeyTakeNoLongTime) {
  std::string values = joined({text(std::string(1'000'000, 'a')),
                               "q\1"
                               "0}("});
  for (int i = 0; i < 500'000; ++i) values += "h\1N";
  EXPECT_HAS(refusal(torch(values + "u")), "a key of 1000000 bytes, at most 4096 are read");
  EXPECT_HAS(refusal(torch(tensor(storage("FloatStorage", std::string(300, 'k'), 1), 0, {1}, {1}))),
             "a storage with a key of 300 bytes");
}

TEST_F(Checkpoints, ManyKeysForOneDictTakeNoLongTime) {
  std::string values = "}q\1](";  // a dict of a hundred thousand entries, none a tensor, under a hundred thousand keys
  std::string large = "}(";
  for (int i = 0; i < 100'000; ++i) large += text(std::to_string(i)) + "N";
  values = large + "uq\2" + "0}(";
  for (int i = 0; i < 100'000; ++i) values += joined({text(joined({"k", std::to_string(i)})), "h\2"});
  EXPECT_HAS(refusal(torch(values + "u")), "holds no dict of tensors");
}

TEST_F(Checkpoints, TrainingStatesGiveTheAverageOrTheWeights) {
  const auto state = [&](bool average) {
    GroupedHdf5 file;
    file.add("weights/conv.weight", Tensor::of<float>({1, 2}, {1, 2}));
    if (average) file.add("ema/conv.weight", Tensor::of<float>({1, 2}, {3, 4}));
    file.add("adam_m/conv.weight", Tensor::of<float>({1, 2}, {5, 6}));
    file.add("adam_v/conv.weight", Tensor::of<float>({1, 2}, {7, 8}));
    file.add("meta/kind", "stage1");
    file.add("meta/config", "model:\n  embed_dim: 8\n");
    file.add("meta/counter", Tensor::of<float>({}, {8}));
    file.write(folder_ / "state.h5");
    return folder_ / "state.h5";
  };
  Checkpoint c = open_checkpoint(state(true));
  EXPECT_EQ(c.format, "training state (HDF5)");
  EXPECT_EQ(names(c), "conv.weight ");
  EXPECT_EQ(value(c, "conv.weight"), 3);
  EXPECT_EQ(c.tensors->find("conv.weight")->shape, (Shape{1, 2}));
  EXPECT_EQ(c.taken, std::vector<std::string>{"the averaged weights (ema)"});
  EXPECT_EQ(c.beside, (std::vector<std::string>{"adam_m: 1 tensors", "adam_v: 1 tensors", "weights: 1 tensors"}));
  EXPECT_EQ(c.metadata,
            (std::map<std::string, std::string>{{"relume.kind", "stage1"}, {"relume.config", "model:\n  embed_dim: 8\n"}}));
  c = open_checkpoint(state(true), {.raw_weights = true});
  EXPECT_EQ(value(c, "conv.weight"), 1);
  EXPECT_EQ(c.taken, std::vector<std::string>{"the raw weights, not the averaged ones"});
  c = open_checkpoint(state(false));
  EXPECT_EQ(value(c, "conv.weight"), 1);
  EXPECT_EQ(c.taken, std::vector<std::string>{"the weights; the state holds no average"});

  GroupedHdf5 without;
  without.add("meta/kind", "stage1");
  without.write(folder_ / "without.h5");
  EXPECT_HAS(refusal(folder_ / "without.h5"), "a training state without weights");
  GroupedHdf5 binary;
  binary.add("weights/x", Tensor::of<float>({1}, {1}));
  binary.add("meta/kind", "\xFF\xFE");
  binary.write(folder_ / "binary.h5");
  EXPECT_HAS(refusal(folder_ / "binary.h5"), "'meta/kind' is not a text in UTF-8");
}

TEST_F(Checkpoints, OtherHdf5FilesKeepTheirGroupsInTheNames) {
  GroupedHdf5 file;
  file.add("encoder/weight", Tensor::of<float>({2}, {1, 2}));
  file.add("bias", Tensor::of<float>({1}, {3}));
  file.write(folder_ / "x.h5");
  const Checkpoint c = open_checkpoint(folder_ / "x.h5");
  EXPECT_EQ(c.format, "HDF5");
  EXPECT_EQ(value(c, "bias"), 3);
  EXPECT_EQ(value(c, "encoder/weight"), 1);
}

TEST_F(Checkpoints, NotesInHdf5MustFitTheirTensors) {
  const auto refused = [&](const std::string& notes) {
    Hdf5Writer file(folder_ / "x.h5");
    const float values[2] = {1, 2};
    const uint8_t bytes[2] = {1, 0};
    file.add("pair", {Hdf5Kind::floating, 4, 8}, {2}, values);
    file.add("bytes", hdf5_u8, {2}, bytes);
    file.add("__metadata__", hdf5_u8, {int64_t(notes.size())}, notes.data());
    file.close();
    return refusal(folder_ / "x.h5");
  };
  EXPECT_HAS(refused("{"), "__metadata__ is not valid JSON");
  EXPECT_HAS(refused("[]"), "__metadata__ is not a JSON object");
  EXPECT_HAS(refused(std::string(100, '[')), "nested too deeply");
  EXPECT_HAS(refused(std::string(1'000'000, '[')), "nested too deeply");
  EXPECT_HAS(refused(R"({"metadata":{"brackets [[[[[[[[ in \" a text":1}})"),
             "'brackets [[[[[[[[ in \" a text' is not a string");
  EXPECT_HAS(refused(R"({"metadata":[]})"), "'metadata' is not a JSON object");
  EXPECT_HAS(refused(R"({"metadata":{"a":1}})"), "metadata 'a' is not a string");
  EXPECT_HAS(refused(R"({"tensors":{"pair":{"dtype":"BOOL"}}})"), "dataset 'pair': what __metadata__ notes on it");
  EXPECT_HAS(refused(R"({"tensors":{"pair":3}})"), "dataset 'pair': what __metadata__ notes on it");
  EXPECT_HAS(refused(R"({"tensors":{"pair":{"shape":[]}}})"), "gives it the shape [] where its dataset is [2]");
  EXPECT_HAS(refused(R"({"tensors":{"pair":{"shape":[1]}}})"), "gives it the shape [1] where its dataset is [2]");
}

TEST_F(Checkpoints, ManyTensorsTakeNoLongTime) {
  MemorySource many;
  const Tensor none = Tensor::zeros({0});
  for (int i = 0; i < 200'000; ++i) many.add(std::to_string(i), none);
  write_checkpoint(folder_ / "x.safetensors", many, {{"k", "v"}});
  EXPECT_EQ(open_checkpoint(folder_ / "x.safetensors").tensors->tensors().size(), 200'000u);
  EXPECT_HAS(input_error([&] { write_checkpoint(folder_ / "x.h5", many, {}); }),
             "200000 tensors, at most 65000 can be written as HDF5");

  std::string notes = R"({"tensors":{)";
  for (int i = 0; i < 200'000; ++i) notes += joined({i ? "," : "", "\"", std::to_string(i), "\":{}"});
  Hdf5Writer file(folder_ / "notes.h5");
  notes += "}}";
  const float value[1] = {1};
  file.add("x", {Hdf5Kind::floating, 4, 8}, {1}, value);
  file.add("__metadata__", hdf5_u8, {int64_t(notes.size())}, notes.data());
  file.close();
  EXPECT_EQ(open_checkpoint(folder_ / "notes.h5").tensors->tensors().size(), 1u);
}

TEST_F(Checkpoints, PyTorchReadsWhatWeWrite) {
  if (!python_has("safetensors.torch, torch, h5py"))
    GTEST_SKIP() << python() << " has no torch, safetensors and h5py (RELUME_TEST_PYTHON names another)";
  const MemorySource source = every_kind();
  for (const char* name : {"x.pth", "x.safetensors", "x.h5"}) write_checkpoint(folder_ / name, source, {{"note", "n"}});
  file("check.py", R"(
import sys, json, h5py, torch
from safetensors.torch import load_file
folder = sys.argv[1]
a, b = torch.load(folder + '/x.pth', weights_only=True), load_file(folder + '/x.safetensors')
m = torch.load(folder + '/x.pth', weights_only=True, mmap=True)
assert list(a) == ['u8', 'f32', 'half', 'brain', 'scalar', 'empty', 'i32', 'flags', 'flag', 'i64 \u00e9\u4e2d', 'columns'], list(a)
for name, value in b.items():
    for other in (a[name], m[name]):
        assert other.dtype == value.dtype and other.shape == value.shape and torch.equal(other, value), name
with h5py.File(folder + '/x.h5') as h:
    notes = json.loads(h['__metadata__'][:].tobytes())
    assert notes == {'metadata': {'note': 'n'}, 'tensors': {'scalar': {'shape': []}, 'flags': {'dtype': 'BOOL'},
                     'flag': {'dtype': 'BOOL', 'shape': []}}}, notes
    for name in ('u8', 'f32', 'half', 'empty', 'i32', 'i64 \u00e9\u4e2d', 'columns', 'scalar', 'flags'):
        assert h[name][:].tolist() == b[name].reshape(h[name].shape).tolist(), name
    assert str(h['half'].dtype) == 'float16' and str(h['f32'].dtype) == 'float32' and str(h['i32'].dtype) == 'int32'
)");
  EXPECT_EQ(std::system((python() + " '" + (folder_ / "check.py").string() + "' '" + folder_.path().string() + "'").c_str()),
            0);
}

}  // namespace
}  // namespace relume::test
