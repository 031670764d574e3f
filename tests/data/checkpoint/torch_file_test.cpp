#include "data/checkpoint/torch_file.h"

#include <algorithm>
#include <cstring>

#include "base/files.h"
#include "data/checkpoint/checkpoint.h"
#include "data/checkpoint/safetensors.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pickles.h"
#include "tests/support/python.h"

namespace relume::test {
namespace {

using namespace pickles;
using namespace std::string_literals;
namespace fs = std::filesystem;

std::string floats(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float)};
}
std::vector<float> values_of(const Tensor& t) {
  const Tensor f = t.to(DType::f32);
  return {f.data<float>(), f.data<float>() + f.numel()};
}

class TorchFiles : public testing::Test {
 protected:
  // Both layouts of one dict, "zip" and "legacy".
  fs::path zip(const std::string& values, const Entries& storages) {
    return write_archive(folder_ / "x.pth", whole(values), storages);
  }
  fs::path legacy(const std::string& values, const Entries& storages) {
    return write_legacy(folder_ / "x.pth", whole(values), storages, 4);
  }
  static std::string refusal(const fs::path& path) {
    const std::string message = input_error([&] { read_all(path); });
    EXPECT_TRUE(message.starts_with(path.string() + ": ")) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  static void read_all(const fs::path& path) {
    const Checkpoint c = open_checkpoint(path);
    for (const TensorInfo& t : c.tensors->tensors()) {
      const Tensor value = c.tensors->read(t.name);
      EXPECT_EQ(value.shape(), t.shape);
      EXPECT_EQ(value.dtype(), t.dtype);
    }
  }

  TemporaryFolder folder_;
  const std::string six_ = storage("FloatStorage", "0", 6);
  const Entries six_bytes_{{"0", floats({0, 1, 2, 3, 4, 5})}};
};

TEST_F(TorchFiles, StridesOffsetsAndSharingAreAsPyTorchHasThem) {
  const std::string values = dict({{"dense", tensor(six_, 0, {2, 3}, {3, 1})},
                                   {"transposed", tensor(six_, 0, {3, 2}, {1, 3})},
                                   {"slice", tensor(six_, 1, {2, 2}, {3, 1})},
                                   {"every_other", tensor(six_, 1, {3}, {2})},
                                   {"expanded", tensor(six_, 4, {2, 3}, {0, 0})},
                                   {"scalar", tensor(six_, 5, {}, {})},
                                   {"empty", tensor(six_, 0, {0, 4}, {4, 1})},
                                   {"one_row", tensor(six_, 2, {1, 3}, {99, 1})},
                                   {"overlapping", tensor(six_, 0, {3, 2, 2}, {1, 1, 2})}});
  for (const fs::path& path : {zip(values, six_bytes_), legacy(values, six_bytes_)}) {
    const Checkpoint c = open_checkpoint(path);
    const auto read = [&](const char* name) { return values_of(c.tensors->read(name)); };
    using Values = std::vector<float>;
    EXPECT_EQ(read("dense"), (Values{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(read("transposed"), (Values{0, 3, 1, 4, 2, 5}));
    EXPECT_EQ(read("slice"), (Values{1, 2, 4, 5}));
    EXPECT_EQ(read("every_other"), (Values{1, 3, 5}));
    EXPECT_EQ(read("expanded"), (Values(6, 4)));
    EXPECT_EQ(read("scalar"), (Values{5}));
    EXPECT_EQ(c.tensors->find("scalar")->shape, Shape{});
    EXPECT_EQ(c.tensors->find("empty")->shape, (Shape{0, 4}));
    EXPECT_EQ(read("empty"), Values{});
    EXPECT_EQ(read("one_row"), (Values{2, 3, 4}));
    EXPECT_EQ(read("overlapping"), (Values{0, 2, 1, 3, 1, 3, 2, 4, 2, 4, 3, 5}));
  }
}

TEST_F(TorchFiles, ContiguousTensorsOfTheZipLayoutAreViews) {
  const Checkpoint c = open_checkpoint(zip(dict({{"dense", tensor(six_, 0, {2, 3}, {3, 1})}}), six_bytes_));
  const Tensor dense = c.tensors->read("dense");
  EXPECT_FALSE(dense.storage()->writable());
  fs::remove(folder_ / "x.pth");
  EXPECT_EQ(values_of(dense)[5], 5);
}

TEST_F(TorchFiles, OldStoragesMayBeParts) {
  const std::string view = tuple({text("part"), integer(2), integer(3)});
  const std::string part =
      tuple({text("storage"), global("torch.cuda", "FloatStorage"), text("0"), text("cuda:0"), integer(6), view}) + "Q";
  const fs::path path = legacy(dict({{"x", tensor(part, 1, {2}, {1})}}), six_bytes_);
  EXPECT_EQ(values_of(open_checkpoint(path).tensors->read("x")), (std::vector<float>{3, 4}));
  EXPECT_HAS(refusal(legacy(dict({{"x", tensor(part, 1, {3}, {1})}}), six_bytes_)), "reaches to byte 24 of its storage '0'");
}

TEST_F(TorchFiles, WhatDoesNotFitItsStorageIsRefused) {
  for (const bool old : {false, true}) {
    const auto refused = [&](const std::string& value) {
      const std::string values = dict({{"ok", tensor(six_, 0, {6}, {1})}, {"x", value}});
      return refusal(old ? legacy(values, six_bytes_) : zip(values, six_bytes_));
    };
    EXPECT_HAS(refused(tensor(six_, 0, {7}, {1})),
               "tensor 'x' reaches to byte 28 of its storage '0', which is shorter: 24 bytes");
    EXPECT_HAS(refused(tensor(six_, 6, {}, {})), "reaches to byte 28");
    EXPECT_HAS(refused(tensor(six_, 0, {2, 2}, {5, 1})), "reaches to byte 28");
    EXPECT_HAS(refused(tensor(six_, -1, {2}, {1})), "overflows 64 bits (offset -1)");
    EXPECT_HAS(refused(tensor(six_, 0, {-2}, {1})), "axis 0 has size -2 and stride 1");
    EXPECT_HAS(refused(tensor(six_, 5, {2}, {-1})), "axis 0 has size 2 and stride -1");
    EXPECT_HAS(refused(tensor(six_, 0, {2, 3}, {1})), "has 2 sizes and 1 strides");
    EXPECT_HAS(refused(tensor(six_, 0, {1, 1, 1, 1, 1, 1, 1}, {1, 1, 1, 1, 1, 1, 1})), "has 7 axes, at most 6");
    const int64_t huge = int64_t(1) << 62;
    EXPECT_HAS(refused(tensor(six_, 0, {huge}, {0})), "its element count overflows 64 bits");
    EXPECT_HAS(refused(tensor(six_, 0, {1 << 30, 1 << 30, 1 << 30}, {0, 0, 0})), "its element count overflows 64 bits");
    EXPECT_HAS(refused(tensor(six_, 0, {3}, {huge})), "its element count overflows 64 bits");
    EXPECT_HAS(refused(tensor(six_, INT64_MAX, {2}, {1})), "its element count overflows 64 bits");
    EXPECT_HAS(refused(tensor(six_, 0, {1 << 20, 1 << 10}, {0, 0})), "take more than");
  }
}

TEST_F(TorchFiles, StoragesThatAreMissingShortOrOfAnotherTypeAreRefused) {
  const std::string x = dict({{"x", tensor(six_, 0, {6}, {1})}});
  EXPECT_HAS(refusal(zip(x, {})), "tensor 'x': its storage '0' is missing in the file");
  EXPECT_HAS(refusal(zip(x, {{"0", floats({1})}})),
             "its storage '0' is shorter than its pickle says: 4 bytes for 6 elements of 4");
  EXPECT_HAS(refusal(zip(x, {{"0", floats({1, 2, 3, 4, 5, 6, 7})}})), "its storage '0' is longer than its pickle says");
  EXPECT_HAS(refusal(legacy(x, {})), "tensor 'x': its storage '0' is missing in the file");
  EXPECT_HAS(refusal(legacy(x, {{"0", floats({1})}})), "storage '0' holds 1 elements, its pickle says 6");
  EXPECT_HAS(refusal(legacy(x, {six_bytes_[0], six_bytes_[0]})), "storage '0' is given twice");
  EXPECT_HAS(refusal(legacy(x, {six_bytes_[0], {"1", ""}})), "storage '1' belongs to no tensor");
  EXPECT_HAS(refusal(zip(dict({{"x", tensor(storage("FloatStorage", "0", int64_t(1) << 62), 0, {1}, {1})}}), six_bytes_)),
             "storage '0'");
  for (const auto& [storage_class, name] : {std::pair{"CharStorage", "int8"},
                                            {"ShortStorage", "int16"},
                                            {"ComplexFloatStorage", "complex64"},
                                            {"QInt8Storage", "qint8"}})
    EXPECT_HAS(refusal(zip(dict({{"x", tensor(storage(storage_class, "0", 1), 0, {1}, {1})}}), {{"0", std::string(8, '\0')}})),
               "tensor 'x' has the type "s + name + ", which is not supported");
  EXPECT_HAS(refusal(zip(dict({{"x", tensor(storage("BoolStorage", "0", 2), 0, {2}, {1})}}), {{"0", "\1\2"}})),
             "tensor 'x' holds the value 2 where a boolean is 0 or 1");
  EXPECT_HAS(refusal(zip(dict({{"x", tensor(storage("BoolStorage", "0", 2), 0, {2, 2}, {0, 1})}}), {{"0", "\1\2"}})),
             "tensor 'x' holds the value 2 where a boolean is 0 or 1");
}

TEST_F(TorchFiles, OtherFilesThatLookAlikeAreNamed) {
  const auto archive = [&](const Entries& entries) {
    ZipWriter file(folder_ / "y.pth");
    for (const auto& [name, bytes] : entries) file.add(name, bytes);
    file.commit();
    return folder_ / "y.pth";
  };
  const std::string pickle = whole(dict({{"x", tensor(six_, 0, {6}, {1})}}));
  EXPECT_HAS(refusal(archive({{"word/document.xml", "<w/>"}})), "a ZIP archive without data.pkl");
  EXPECT_HAS(refusal(archive({})), "a ZIP archive without data.pkl");
  EXPECT_HAS(refusal(archive({{"a/data.pkl", pickle}, {"b/data.pkl", pickle}})), "two entries are a data.pkl");
  EXPECT_HAS(refusal(archive({{"a/data.pkl", pickle}, {"a/constants.pkl", ""}, {"a/code/m.py", ""}})), "a TorchScript archive");
  EXPECT_HAS(refusal(archive({{"a/data.pkl", pickle}, {"a/byteorder", "big"}})), "written on a big-endian machine");
  EXPECT_HAS(refusal(archive({{"a/data.pkl", pickle + "more"}})), "4 bytes behind the end of its pickle");
  const auto plain = [&](const std::string& bytes) {
    write_file_atomically(folder_ / "z.pth", bytes);
    return folder_ / "z.pth";
  };
  EXPECT_HAS(refusal(plain(whole(dict({{"a", "N"}, {"b", "N"}})))),
             "a plain pickle of a dict of 2, not a checkpoint of PyTorch");
  EXPECT_HAS(refusal(plain(whole(global("builtins", "eval")))), "refuses the global builtins.eval");
  const std::string old = legacy_magic + whole("M\xe9\x03"), big = whole(dict({{"little_endian", "\x89"}}));
  EXPECT_HAS(refusal(plain(legacy_magic + whole("M\xe8\x03"))), "written by version 1000 of PyTorch's old layout");
  EXPECT_HAS(refusal(plain(old + big)), "not written on a little-endian machine");
  EXPECT_HAS(refusal(plain(old + whole("N"))), "not written on a little-endian machine");
  EXPECT_HAS(refusal(plain(old)), "the pickle ends before its STOP");
  EXPECT_HAS(refusal(plain(old + whole(dict({{"little_endian", "\x88"}})) + pickle + whole("N"))),
             "the list of its storages is None");
  const std::string good = read_file(legacy(dict({{"x", tensor(six_, 0, {6}, {1})}}), six_bytes_));
  EXPECT_HAS(refusal(plain(good + "more")), "4 bytes behind its last storage");
}

TEST_F(TorchFiles, EveryTruncationIsNamed) {
  const std::string values = dict({{"x", tensor(six_, 0, {6}, {1})}, {"step", "K\x03"}});
  for (const std::string& whole_file : {read_file(zip(values, six_bytes_)), read_file(legacy(values, six_bytes_))})
    for (size_t length = 0; length < whole_file.size(); ++length) {
      const auto cut = std::make_shared<std::string>(whole_file.substr(0, length));
      EXPECT_TRUE(input_error([&] { open_checkpoint({cut, *cut}, "x.pth"); }).starts_with("x.pth: ")) << length;
    }
}

// Every byte of the files PyTorch wrote at its extremes: an error by name, or tensors that can be read.
TEST_F(TorchFiles, HostileBytesAreRefusedOrStayWithinTheFile) {
  for (const char* name : {"formats_nested.ckpt", "formats_legacy.pth"}) {
    const std::string good = read_file(source_folder() / "tests/fixtures/parity" / name);
    int refused = 0, read = 0;
    for (size_t at = 0; at < good.size(); ++at)
      for (const int value : {0, 0x7F, 0xFF}) {
        const auto hostile = std::make_shared<std::string>(good);
        (*hostile)[at] = char(value);
        try {
          const Checkpoint c = open_checkpoint({hostile, *hostile}, "x.pth");
          for (const TensorInfo& info : c.tensors->tensors()) c.tensors->read(info.name);
          ++read;
        } catch (const InputError& e) {
          ASSERT_TRUE(std::string(e.what()).starts_with("x.pth: ")) << e.what();
          ++refused;
        }
      }
    EXPECT_GT(refused, 1000) << name;
    EXPECT_GT(read, 100) << name;
  }
}

// PyTorch's own files in every form there is, beside the same tensors as safetensors.
constexpr const char* writer = R"(
import collections, sys, torch, numpy as np
from safetensors.torch import save_file
folder = sys.argv[1]
torch.manual_seed(3)
base = torch.randn(6, 8)
tensors = collections.OrderedDict(
    f32=torch.randn(3, 5), f16=torch.randn(4).half(), bf16=torch.randn(7, 1).bfloat16(), f64=torch.randn(2, 2).double(),
    i64=torch.arange(9).reshape(3, 3), i32=torch.arange(4).int(), u8=torch.arange(7).byte(), flag=torch.tensor([True, False]),
    scalar=torch.tensor(2.5), empty=torch.zeros(0, 3), transposed=base.t(), part=base[1:5:2, 2:], column=base[:, 3],
    expanded=torch.ones(4, 1).expand(4, 5), permuted=torch.randn(2, 3, 4, 5).permute(2, 0, 3, 1),
    parameter=torch.nn.Parameter(torch.randn(3)), tied=base, channels_last=torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last))
tensors['tied_too'] = tensors['tied']
tagged = torch.nn.Parameter(torch.randn(2, 2)); tagged.tag = 'mine'
tensors['with_attributes'] = tagged
plain_tagged = torch.randn(3); plain_tagged.note = {'a': 1}
tensors['tensor_with_attributes'] = plain_tagged
save_file({k: v.detach().clone().contiguous() for k, v in tensors.items()}, folder + '/reference.safetensors')
for protocol in (1, 2, 3, 4, 5):
    torch.save(tensors, f'{folder}/zip_{protocol}.pth', pickle_protocol=protocol)
    torch.save(tensors, f'{folder}/legacy_{protocol}.pth', pickle_protocol=protocol, _use_new_zipfile_serialization=False)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(4, 2))
optimizer = torch.optim.AdamW(net.parameters())
for p in net.parameters(): p.grad = torch.ones_like(p)
optimizer.step()
save_file(net.state_dict(), folder + '/net.safetensors')
torch.save(net.state_dict(), folder + '/net_state.pth')
torch.save({'epoch': 7, 'global_step': np.int64(1200), 'best': np.float64(31.5), 'state_dict': net.state_dict(),
            'optimizer_states': [optimizer.state_dict()], 'lr_schedulers': [{'last_lr': [1e-4], 'seed': 2 ** 70}],
            'name': 'a run', 'rng': torch.get_rng_state()}, folder + '/net_lightning.ckpt')
torch.save({'module.' + k: v for k, v in net.state_dict().items()}, folder + '/net_module.pth')
torch.save({'model': net.state_dict(), 'optimizer': optimizer.state_dict(), 'step': 3}, folder + '/net_model.pth')
)";

TEST_F(TorchFiles, WhatPyTorchWritesIsReadExactly) {
  if (!python_has("safetensors.torch, numpy"))
    GTEST_SKIP() << python() << " has no torch, safetensors and numpy (RELUME_TEST_PYTHON names another)";
  write_file_atomically(folder_ / "write.py", writer);
  ASSERT_EQ(std::system((python() + " '" + (folder_ / "write.py").string() + "' '" + folder_.path().string() + "'").c_str()),
            0);
  const auto compare = [&](const std::string& name, const std::string& reference) {
    const Checkpoint c = open_checkpoint(folder_ / name);
    const SafetensorsFile expected(folder_ / reference);
    EXPECT_EQ(c.tensors->tensors().size(), expected.tensors().size()) << name;
    for (const TensorInfo& t : expected.tensors())
      EXPECT_TRUE(c.tensors->find(t.name) && same_bits(c.tensors->read(t.name), expected.read(t.name)))
          << name << ": " << t.name;
    return c;
  };
  for (const char* protocol : {"1", "2", "3", "4", "5"}) {
    EXPECT_EQ(compare("zip_"s + protocol + ".pth", "reference.safetensors").format, "PyTorch");
    EXPECT_EQ(compare("legacy_"s + protocol + ".pth", "reference.safetensors").format, "PyTorch before 1.6");
  }
  compare("net_state.pth", "net.safetensors");
  compare("net_module.pth", "net.safetensors");
  EXPECT_EQ(compare("net_model.pth", "net.safetensors").metadata.at("step"), "3");
  const Checkpoint lightning = compare("net_lightning.ckpt", "net.safetensors");
  EXPECT_EQ(lightning.metadata.at("epoch"), "7");
  EXPECT_EQ(lightning.metadata.at("global_step"), "1200");
  EXPECT_EQ(lightning.metadata.at("best"), "31.5");
  EXPECT_EQ(lightning.metadata.at("name"), "a run");
  EXPECT_EQ(lightning.beside,
            (std::vector<std::string>{"optimizer_states: a list of 1", "lr_schedulers: a list of 1", "rng: a tensor"}));
}

}  // namespace
}  // namespace relume::test
