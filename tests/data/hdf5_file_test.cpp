#include "data/hdf5_file.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <numeric>

#include "base/files.h"
#include "data/hdf5_writer.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

class Hdf5 : public testing::Test {
 protected:
  std::string written(const std::string& name) {
    std::vector<float> numbers(12);
    std::iota(numbers.begin(), numbers.end(), 0.5f);
    const std::vector<int64_t> longs{-1, 2, INT64_MAX};
    Hdf5Writer file(folder_ / name);
    file.add("weight", {Hdf5Kind::floating, 4, 8}, {3, 2, 2}, numbers.data());
    file.begin("longs", hdf5_i64, {3});
    file.append(longs.data(), 1);
    file.append(longs.data() + 1, 2);
    file.add("nothing", hdf5_u8, {0}, nullptr);
    file.close();
    return read_file(folder_ / name);
  }
  static Hdf5File parsed(const std::string& bytes, Hdf5File::Checksums checksums = Hdf5File::Checksums::verify) {
    const auto copy = std::make_shared<std::string>(bytes);
    return Hdf5File({copy, *copy}, "x.h5", checksums);
  }

  TemporaryFolder folder_;
};

TEST_F(Hdf5, ReadsBackWhatTheLibraryWrote) {
  const Hdf5File file = parsed(written("a.h5"));
  ASSERT_EQ(file.datasets().size(), 3u);
  const Hdf5Dataset* weight = file.find("weight");
  ASSERT_TRUE(weight);
  EXPECT_EQ(to_string(weight->type), "f32");
  EXPECT_EQ(weight->shape, (std::vector<int64_t>{3, 2, 2}));
  float last = 0;
  std::memcpy(&last, file.bytes(*weight).data() + 44, 4);
  EXPECT_EQ(last, 11.5f);
  int64_t longs[3];
  ASSERT_EQ(file.bytes(*file.find("longs")).size(), sizeof longs);
  std::memcpy(longs, file.bytes(*file.find("longs")).data(), sizeof longs);
  EXPECT_EQ(longs[0], -1);
  EXPECT_EQ(longs[2], INT64_MAX);
  EXPECT_EQ(file.find("nothing")->bytes, 0u);
  EXPECT_EQ(file.find("other"), nullptr);
}

TEST_F(Hdf5, EqualContentsAreEqualFiles) { EXPECT_TRUE(written("a.h5") == written("b.h5")); }

TEST_F(Hdf5, HundredsOfNamesStayReadable) {
  {
    Hdf5Writer file(folder_ / "many.h5");
    for (int64_t i = 0; i < 400; ++i) file.add("model.layers." + std::to_string(i) + ".weight", hdf5_i64, {1}, &i);
    file.close();
  }
  const Hdf5File file(folder_ / "many.h5");
  ASSERT_EQ(file.datasets().size(), 400u);
  int64_t value = 0;
  std::memcpy(&value, file.bytes(*file.find("model.layers.271.weight")).data(), 8);
  EXPECT_EQ(value, 271);
}

TEST_F(Hdf5, GroupsAndScalarsAreReadBackUnderTheirPaths) {
  const double half = 0.5;
  const int64_t steps = 12;
  const std::vector<double> row{1, 2, 3};
  {
    Hdf5Writer file(folder_ / "a.h5");
    file.add("progress/steps", hdf5_i64, {}, &steps);
    file.add("plain", hdf5_i64, {1}, &steps);
    file.add("weights/a.b", {Hdf5Kind::floating, 8, 11}, {1, 3}, row.data());
    file.add("progress/loss", {Hdf5Kind::floating, 8, 11}, {}, &half);
    file.close();
  }
  const Hdf5File file(folder_ / "a.h5");
  std::vector<std::string> names;
  for (const Hdf5Dataset& d : file.datasets()) names.push_back(d.name);
  std::ranges::sort(names);
  EXPECT_EQ(names, (std::vector<std::string>{"plain", "progress/loss", "progress/steps", "weights/a.b"}));
  const auto number = [&](const std::string& name) {
    double value = 0;
    EXPECT_EQ(file.find(name)->shape, std::vector<int64_t>{});
    std::memcpy(&value, file.bytes(*file.find(name)).data(), 8);
    return value;
  };
  EXPECT_EQ(number("progress/loss"), 0.5);
  EXPECT_EQ(std::bit_cast<int64_t>(number("progress/steps")), 12);
  EXPECT_EQ(file.find("weights/a.b")->shape, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(to_string(file.find("weights/a.b")->type), "f64");
}

TEST_F(Hdf5, ThousandsOfNamesInGroupsTakeSeconds) {
  const auto start = std::chrono::steady_clock::now();
  {
    Hdf5Writer file(folder_ / "many.h5");
    for (const std::string group : {"weights", "ema", "adam_m", "adam_v"})
      for (int64_t i = 0; i < 732; ++i)
        file.add(group + "/layers.0.residual_group.blocks." + std::to_string(i) + ".attn.qkv.weight", hdf5_i64, {1}, &i);
    file.close();
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 20);
  EXPECT_EQ(Hdf5File(folder_ / "many.h5").datasets().size(), 4u * 732);
}

TEST_F(Hdf5, EveryTruncationIsNamed) {
  const std::string whole = written("a.h5");
  for (size_t length = 0; length < whole.size(); ++length)
    EXPECT_HAS(input_error([&] { parsed(whole.substr(0, length)); }), "x.h5: ");
}

TEST_F(Hdf5, EveryFlippedBitOfTheMetadataIsFound) {
  const std::string whole = written("a.h5");
  const Hdf5File good = parsed(whole);
  int found = 0, harmless = 0;
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] = char(damaged[at] ^ 16);
    try {
      parsed(damaged);
      ++harmless;
    } catch (const InputError& e) {
      EXPECT_TRUE(std::string(e.what()).starts_with("x.h5: ")) << e.what();
      ++found;
    }
  }
  int64_t data = 0;
  for (const Hdf5Dataset& d : good.datasets()) data += int64_t(d.bytes);
  EXPECT_GT(found, 500);
  EXPECT_GE(harmless, data) << "the numbers themselves carry no checksum here";
}

// With checksums out of the way every byte is tried at its extremes: an error by name, or a file whose ranges are within it.
TEST_F(Hdf5, HostileBytesAreRefusedOrStayWithinTheFile) {
  const std::string whole = written("a.h5");
  for (size_t at = 0; at < whole.size(); ++at)
    for (const int value : {0, 1, 0x7F, 0x80, 0xFF}) {
      std::string hostile = whole;
      hostile[at] = char(value);
      try {
        const Hdf5File file = parsed(hostile, Hdf5File::Checksums::ignore);
        for (const Hdf5Dataset& d : file.datasets()) ASSERT_LE(d.offset + d.bytes, whole.size());
      } catch (const InputError& e) {
        ASSERT_TRUE(std::string(e.what()).starts_with("x.h5: ")) << e.what();
      }
    }
}

TEST_F(Hdf5, ErrorsSayWhatIsWrong) {
  EXPECT_HAS(input_error([&] { parsed(""); }), "x.h5: not an HDF5 file");
  EXPECT_HAS(input_error([&] { parsed("\x89HDF\r\n\x1a\n"); }), "superblock: ends 1 bytes too early");
  EXPECT_HAS(input_error([&] { Hdf5File(folder_ / "none.h5"); }), "none.h5: cannot open");
  std::string old = written("a.h5");
  old[8] = 0;
  EXPECT_HAS(input_error([&] { parsed(old); }), "version 0, only 2 and 3 are read; write the file with libver 'latest'");
  EXPECT_HAS(input_error([&] { parsed(written("a.h5").substr(0, 700)); }), "truncated: 700 of ");
  parsed(written("a.h5") + "what follows the end is not ours");
  try {
    Hdf5Writer file(folder_ / "no/such/folder.h5");
    ADD_FAILURE() << "written without a folder";
  } catch (const Error& e) {
    EXPECT_HAS(e.what(), "folder.h5: cannot write a file: ");
    EXPECT_HAS(e.what(), "No such file or directory");
  }
}

// A group that holds itself: found by the link that leads back to the root, not by running out of stack.
TEST_F(Hdf5, ACircleOfGroupsIsRefused) {
  std::string file = written("a.h5");
  uint64_t root = 0;
  std::memcpy(&root, file.data() + 36, 8);
  const size_t link = file.find("weight");
  ASSERT_NE(link, std::string::npos);
  std::memcpy(file.data() + link + 6, &root, 8);
  EXPECT_HAS(input_error([&] { parsed(file, Hdf5File::Checksums::ignore); }), "they may form a circle");
}

// Found by fuzzing: names stood in messages as they were.
TEST_F(Hdf5, NoTerminalObeysAName) {
  std::string file = written("a.h5");
  const size_t link = file.find("weight");
  ASSERT_NE(link, std::string::npos);
  file.replace(link, 3, "\x1b[2");
  uint64_t address = 0;
  std::memcpy(&address, file.data() + link + 6, 8);
  file[size_t(address)] = 'X';
  EXPECT_HAS(input_error([&] { parsed(file, Hdf5File::Checksums::ignore); }), "x.h5: '\\x1b[2ght': no version 2 object header");
}

TEST(Hdf5Checksum, IsLookup3) {
  // From the self test of Jenkins' lookup3.c: hashlittle("", 0, 0) and the sentence, initial values 0.
  EXPECT_EQ(hdf5_checksum(""), 0xdeadbeefu);
  EXPECT_EQ(hdf5_checksum("Four score and seven years ago"), 0x17770551u);
}

}  // namespace
}  // namespace relume::test
