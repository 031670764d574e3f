#include "data/checkpoint/safetensors.h"

#include "base/error.h"
#include "base/files.h"
#include "tests/support/python.h"

#include <gtest/gtest.h>

#include <unistd.h>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace relume {
namespace {

class Safetensors : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write_raw(const std::string& header, const std::string& data) {
    const auto path = folder_ / "raw.safetensors";
    const uint64_t length = header.size();
    std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(&length), 8) << header << data;
    return path;
  }

  // The message a file with this header and data is refused with; empty when it is accepted.
  std::string refusal(const std::string& header, const std::string& data = "") { return refusal_of(write_raw(header, data)); }
  static std::string refusal_of(const std::filesystem::path& path) {
    try {
      SafetensorsFile file(path);
      return {};
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(path.filename().string()), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
      return error.what();
    }
  }

  std::filesystem::path folder_ =
      std::filesystem::path(testing::TempDir()) / ("relume_safetensors_" + std::to_string(::getpid()));
};

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

const std::string one = R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";

TEST_F(Safetensors, RoundTripKeepsNamesOrderShapesAndBits) {
  const auto path = folder_ / "all.safetensors";
  Tensor half = Tensor::empty({2}, DType::f16), brain = Tensor::empty({1, 1}, DType::bf16);
  half.data<Float16>()[0] = Float16(1.5f), half.data<Float16>()[1] = Float16(-65504.f);
  brain.data<BFloat16>()[0] = BFloat16(3.f);
  const NamedTensors entries{{"u8", Tensor::of<uint8_t>({3}, {1, 2, 255})},
                             {"f32", Tensor::of<float>({2, 2}, {1, -0.f, 1e-40f, 4})},
                             {"half", half},
                             {"brain", brain},
                             {"scalar", Tensor::of<double>({}, {0.1})},
                             {"none", Tensor::empty({0, 4})},
                             {"i32", Tensor::of<int32_t>({1}, {-7})},
                             {"flags", Tensor::of<bool>({3}, {true, false, true})},
                             {"i64 é中", Tensor::of<int64_t>({1, 2, 1}, {INT64_MIN, 9})}};
  write_safetensors(path, entries, {{"format", "pt"}, {"note", "\"quoted\"\n"}});

  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("note"), "\"quoted\"\n");
  ASSERT_EQ(file.tensors().size(), entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    const auto& [name, tensor] = entries[i];
    EXPECT_EQ(file.tensors()[i].name, name);
    const Tensor read = file.read(name);
    EXPECT_EQ(read.dtype(), tensor.dtype());
    EXPECT_EQ(read.shape(), tensor.shape());
    const size_t bytes = size_t(tensor.numel() * size_of(tensor.dtype()));
    EXPECT_TRUE(bytes == 0 || std::memcmp(read.raw(), tensor.raw(), bytes) == 0) << name;
    EXPECT_TRUE(bytes == 0 || !read.storage()->writable()) << name << " was copied";
  }
  const std::string raw = read_file(path);
  uint64_t header = 0;
  std::memcpy(&header, raw.data(), 8);
  EXPECT_EQ(header % 8, 0u);
}

TEST_F(Safetensors, APitchedViewIsWrittenDense) {
  const auto path = folder_ / "view.safetensors";
  write_safetensors(path, {{"x", Tensor::of<float>({1, 3}, {1, 2, 3}).columns(1, 3)}});
  const Tensor x = SafetensorsFile(path).read("x");
  EXPECT_EQ(x.shape(), (Shape{1, 2}));
  EXPECT_EQ(x.data<float>()[0], 2.f);
  EXPECT_EQ(x.data<float>()[1], 3.f);
}

TEST_F(Safetensors, ViewsOutliveTheFileObjectAndTheFile) {
  const auto path = folder_ / "short.safetensors";
  write_safetensors(path, {{"x", Tensor::of<float>({2}, {5, 6})}});
  const Tensor x = SafetensorsFile(path).read("x");
  std::filesystem::remove(path);
  EXPECT_EQ(x.data<float>()[1], 6.f);
  EXPECT_THROW(x.copy_from(Tensor::of<float>({2}, {0, 0})), InputError);
}

TEST_F(Safetensors, DataThatIsNotAlignedIsCopied) {
  const float value = 2.5f;
  const auto path =
      write_raw(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                std::string("\x07") + std::string(reinterpret_cast<const char*>(&value), 4));
  const SafetensorsFile file(path);
  EXPECT_EQ(file.read("a").data<float>()[0], value);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(file.read("a").raw()) % 4, 0u);
  EXPECT_EQ(file.read("b").data<uint8_t>()[0], 7);
}

TEST_F(Safetensors, ABooleanIsZeroOrOne) {
  const std::string header = R"({"flag":{"dtype":"BOOL","shape":[3],"data_offsets":[0,3]}})";
  EXPECT_TRUE(SafetensorsFile(write_raw(header, std::string("\1\0\1", 3))).read("flag").data<bool>()[2]);
  const SafetensorsFile file(write_raw(header, std::string("\1\0\xC8", 3)));
  try {
    file.read("flag");
    FAIL() << "a boolean of 200 was read";
  } catch (const InputError& error) {
    EXPECT_MENTIONS(std::string(error.what()), "tensor 'flag' holds the value 200 where a boolean is 0 or 1");
  }
}

TEST_F(Safetensors, AnUnknownNameGetsTheNearestOne) {
  const SafetensorsFile file(write_raw(R"({"conv.weight":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", ""));
  EXPECT_EQ(file.find("conv.wieght"), nullptr);
  try {
    file.read("conv.wieght");
    FAIL() << "read a tensor that is not there";
  } catch (const InputError& error) {
    EXPECT_MENTIONS(std::string(error.what()), "did you mean 'conv.weight'");
  }
}

TEST_F(Safetensors, AcceptsWhatTheReferenceReaderAccepts) {
  EXPECT_EQ(refusal("{}"), "");
  EXPECT_EQ(refusal(one + "    ", "1234"), "");
  EXPECT_EQ(refusal(R"({"__metadata__":{"a":"b"},"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"extra":[1]}})", "1"), "");
  EXPECT_EQ(
      refusal(R"({"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
              "12"),
      "");
}

TEST_F(Safetensors, RefusesEveryBrokenRuleByName) {
  const auto entry = [](const std::string& dtype, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":)" + dtype + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  EXPECT_MENTIONS(refusal(" {}"), "not a JSON object");
  EXPECT_MENTIONS(refusal("[]"), "not a JSON object");
  EXPECT_MENTIONS(refusal(""), "not a JSON object");
  EXPECT_MENTIONS(refusal("{\"a\":"), "not valid JSON");
  EXPECT_MENTIONS(refusal("{}x"), "not valid JSON");
  EXPECT_MENTIONS(refusal("{\"\xff\":1}"), "not valid JSON");
  EXPECT_MENTIONS(refusal(R"({"a":3})"), "'a' is not a JSON object");
  EXPECT_MENTIONS(refusal(R"({"a":[]})"), "'a' is not a JSON object");
  EXPECT_MENTIONS(refusal(R"({"a":{"shape":[],"data_offsets":[0,4]}})"), "has no dtype");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})"), "has no shape");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"F32","shape":[]}})"), "has no data_offsets");
  EXPECT_MENTIONS(refusal(entry("3", "[1]", "[0,4]"), "1234"), "dtype is not a string");
  EXPECT_MENTIONS(refusal(entry("\"F31\"", "[1]", "[0,4]"), "1234"), "unknown dtype 'F31'");
  EXPECT_MENTIONS(refusal(entry("\"I16\"", "[2]", "[0,4]"), "1234"), "dtype I16, which is not supported");
  EXPECT_MENTIONS(refusal(entry("\"I8\"", "[4]", "[0,4]"), "1234"), "dtype I8, which is not supported");
  for (const char* shape : {"[-1]", "[1.0]", "[\"1\"]", "1", "[18446744073709551615]", "null"})
    EXPECT_MENTIONS(refusal(entry("\"F32\"", shape, "[0,4]"), "1234"), "shape is not a list of non-negative integers");
  EXPECT_MENTIONS(refusal(entry("\"U8\"", "[1,1,1,1,1,1,1]", "[0,1]"), "1"), "7 axes");
  for (const char* offsets : {"[0]", "[0,4,8]", "[-4,0]", "[0.0,4]", "null", "[0,18446744073709551616]"})
    EXPECT_MENTIONS(refusal(entry("\"F32\"", "[1]", offsets), "1234"), "data_offsets is not a pair");
  EXPECT_MENTIONS(refusal(entry("\"F32\"", "[1]", "[4,0]"), "1234"), "end before they begin");
  EXPECT_MENTIONS(refusal(entry("\"F32\"", "[4611686018427387904,4]", "[0,4]"), "1234"), "overflows 64 bits");
  EXPECT_MENTIONS(refusal(entry("\"F32\"", "[2]", "[0,4]"), "1234"), "takes 8 bytes");
  EXPECT_MENTIONS(refusal(entry("\"F32\"", "[1]", "[4,8]"), "12345678"), "a hole of 4 bytes");
  EXPECT_MENTIONS(refusal(one, "123"), "truncated");
  EXPECT_MENTIONS(refusal(one, "12345"), "1 bytes behind the last tensor");
  EXPECT_MENTIONS(
      refusal(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
              "123"),
      "overlaps");
  EXPECT_MENTIONS(
      refusal(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
              "12"),
      "names 'a' twice");
  EXPECT_MENTIONS(refusal(R"({"a":{"dtype":"U8","dtype":"I8","shape":[1],"data_offsets":[0,1]}})", "1"), "names 'dtype' twice");
  EXPECT_MENTIONS(refusal(R"({"__metadata__":{"a":1}})"), "'a' is not a string");
  EXPECT_MENTIONS(refusal(R"({"__metadata__":[]})"), "__metadata__ is not a JSON object");
  EXPECT_MENTIONS(refusal("{\"a\":" + std::string(100000, '[')), "nested too deeply");
}

// nlohmann's parser goes through all siblings at the end of every object, which took minutes for a megabyte of them.
TEST_F(Safetensors, ObjectsInsideADescriptionAreRefusedAtOnce) {
  std::string members = R"("0":1)", list = "{}";
  for (int i = 1; i < 200'000; ++i) members += ",\"" + std::to_string(i) + "\":{}", list += ",{}";
  EXPECT_MENTIONS(refusal("{\"a\":{" + members + "}}"), "an object inside the description of 'a'");
  EXPECT_MENTIONS(refusal("{\"a\":{\"shape\":[" + list + "]}}"), "an object inside the description of 'a'");
  EXPECT_MENTIONS(refusal("{\"__metadata__\":{" + members + "}}"), "an object inside the description of '__metadata__'");
}

TEST_F(Safetensors, RefusesWhatIsNoFileOfTheFormat) {
  EXPECT_MENTIONS(refusal_of(folder_ / "missing.safetensors"), "cannot open");
  EXPECT_MENTIONS(refusal_of(folder_), "is a folder");
  const auto empty = folder_ / "empty.safetensors";
  std::ofstream(empty, std::ios::binary).flush();
  EXPECT_MENTIONS(refusal_of(empty), "0 bytes");
}

TEST_F(Safetensors, RefusesThePublishedMalformedFiles) {
  const char* root = std::getenv("RELUME_SOURCE_DIR");
  if (!root) GTEST_SKIP() << "RELUME_SOURCE_DIR is not set";
  const auto fixtures = std::filesystem::path(root) / "tests/fixtures/parity";
  const std::pair<const char*, const char*> rules[] = {{"bad_st_truncated", "truncated"},
                                                       {"bad_st_header_len", "header length"},
                                                       {"bad_st_header_json", "not a JSON object"},
                                                       {"bad_st_size_mismatch", "span 620"},
                                                       {"bad_st_overlap", "overlaps"},
                                                       {"bad_st_dtype", "unknown dtype 'F7'"},
                                                       {"bad_st_shape_overflow", "overflows"},
                                                       {"bad_st_tiny", "3 bytes"}};
  for (const auto& [file, rule] : rules) EXPECT_MENTIONS(refusal_of(fixtures / (std::string(file) + ".safetensors")), rule);
}

TEST_F(Safetensors, EveryTruncationIsRefused) {
  const auto path = folder_ / "whole.safetensors";
  write_safetensors(path, {{"a", Tensor::of<float>({2}, {1, 2})}, {"b", Tensor::of<uint8_t>({3}, {1, 2, 3})}});
  const std::string whole = read_file(path);
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const auto cut = folder_ / "cut.safetensors";
    std::ofstream(cut, std::ios::binary).write(whole.data(), std::streamsize(bytes));
    EXPECT_NE(refusal_of(cut), "") << bytes;
  }
}

TEST_F(Safetensors, WriterRefusesWhatTheFormatCannotHoldAndLeavesNothing) {
  const auto path = folder_ / "refused.safetensors";
  const Tensor x = Tensor::of<float>({1}, {1});
  EXPECT_THROW(write_safetensors(path, {{"a", x}, {"a", x}}), InputError);
  EXPECT_THROW(write_safetensors(path, {{"__metadata__", x}}), InputError);
  EXPECT_THROW(write_safetensors(path, {{"\xff", x}}), InputError);
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(Safetensors, PyTorchReadsWhatWeWrite) {
  if (!test::python_has("safetensors.torch"))
    GTEST_SKIP() << test::python() << " has no safetensors and torch to read with (RELUME_TEST_PYTHON names another)";
  const auto path = folder_ / "ours.safetensors";
  write_safetensors(path,
                    {{"odd", Tensor::of<uint8_t>({3}, {1, 2, 3})},
                     {"x", Tensor::of<float>({2, 2}, {1, 2, 3, 4.5f})},
                     {"i", Tensor::of<int64_t>({1}, {-5})},
                     {"s", Tensor::of<double>({}, {0.1})}},
                    {{"format", "pt"}});
  const auto script = folder_ / "check.py";
  std::ofstream(script) << R"(import sys
from safetensors import safe_open
from safetensors.torch import load_file
t = load_file(sys.argv[1])
assert sorted(t) == ['i', 'odd', 's', 'x'], sorted(t)
assert t['x'].tolist() == [[1, 2], [3, 4.5]] and str(t['x'].dtype) == 'torch.float32'
assert t['odd'].tolist() == [1, 2, 3] and t['i'].tolist() == [-5] and t['s'].item() == 0.1
with safe_open(sys.argv[1], 'pt') as f:
    assert f.metadata() == {'format': 'pt'}
)";
  EXPECT_EQ(std::system((test::python() + " '" + script.string() + "' '" + path.string() + "'").c_str()), 0);
}

}  // namespace
}  // namespace relume
