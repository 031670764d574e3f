#include "data/checkpoint/zip_file.h"

#include <cstring>

#include "data/checkpoint/zip_writer.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pickles.h"
#include "tests/support/python.h"

namespace relume::test {
namespace {

class Zip : public testing::Test {
 protected:
  // An archive of three entries; with small numbers in ZIP64 fields if asked for.
  std::string written(uint64_t zip64_from = 0xFFFFFFFF) {
    ZipWriter file(folder_ / "a.zip", zip64_from);
    file.add("x/first", "one");
    file.add("x/empty", "");
    file.add("x/third", std::string(1000, '3'));
    file.commit();
    return read_file(folder_ / "a.zip");
  }
  static ZipFile opened(const std::string& bytes) {
    const auto copy = std::make_shared<std::string>(bytes);
    return ZipFile({copy, *copy}, "x.zip");
  }
  static std::string refusal(const std::string& bytes) {
    const std::string message = input_error([&] { opened(bytes); });
    EXPECT_TRUE(message.starts_with("x.zip: ")) << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    return message;
  }
  // `bytes` with `count` bytes at `at` replaced by a number.
  static std::string patched(std::string bytes, size_t at, uint64_t value, int count) {
    return bytes.replace(at, size_t(count), pickles::raw(value, count));
  }
  static size_t central(const std::string& bytes, int index = 0) {
    size_t at = bytes.find(std::string("PK\1\2", 4));
    for (; index > 0; --index) at = bytes.find(std::string("PK\1\2", 4), at + 1);
    return at;
  }

  TemporaryFolder folder_;
};

TEST_F(Zip, ReadsWhatItsWriterWrote) {
  for (const uint64_t zip64_from : {uint64_t(0xFFFFFFFF), uint64_t(500), uint64_t(0)}) {
    const ZipFile file = opened(written(zip64_from));
    ASSERT_EQ(file.entries().size(), 3u);
    EXPECT_EQ(file.bytes(*file.find("x/first")), "one");
    EXPECT_EQ(file.bytes(*file.find("x/empty")), "");
    EXPECT_EQ(file.bytes(*file.find("x/third")), std::string(1000, '3'));
    for (const ZipEntry& e : file.entries()) EXPECT_EQ(e.offset % 64, 0u) << e.name;
    EXPECT_EQ(file.find("x/second"), nullptr);
  }
}

TEST_F(Zip, EqualContentsAreEqualFiles) { EXPECT_EQ(written(), written()); }

TEST_F(Zip, OtherProgramsReadWhatItsWriterWrote) {
  if (!python_has("zipfile")) GTEST_SKIP() << python() << " has no zipfile to read with (RELUME_TEST_PYTHON names another)";
  for (const uint64_t zip64_from : {uint64_t(0xFFFFFFFF), uint64_t(500), uint64_t(0)}) {
    written(zip64_from);
    const std::string script =
        "import sys,zipfile; z=zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; "
        "assert z.namelist()==[\"x/first\",\"x/empty\",\"x/third\"]; assert z.read(\"x/third\")==b\"3\"*1000";
    EXPECT_EQ(std::system((python() + " -c '" + script + "' '" + (folder_ / "a.zip").string() + "'").c_str()), 0) << zip64_from;
  }
}

TEST_F(Zip, EveryTruncationIsNamed) {
  for (const uint64_t zip64_from : {uint64_t(0xFFFFFFFF), uint64_t(0)}) {
    const std::string whole = written(zip64_from);
    for (size_t length = 0; length < whole.size(); ++length) EXPECT_HAS(refusal(whole.substr(0, length)), "truncated");
    EXPECT_HAS(refusal(whole.substr(0, whole.size() - 1)), "end-of-central-directory record is cut off");
    EXPECT_HAS(refusal(whole.substr(0, whole.size() / 2)), "no central directory");
  }
}

TEST_F(Zip, AWrongByteInTheDataIsFoundWhenItIsRead) {
  std::string damaged = written();
  damaged[damaged.find("333") + 500] = '4';
  const ZipFile file = opened(damaged);
  EXPECT_EQ(file.bytes(*file.find("x/first")), "one");
  EXPECT_EQ(input_error([&] { file.bytes(*file.find("x/third")); }),
            "x.zip: entry 'x/third': its CRC-32 does not match; the file is damaged, fetch it again");
}

TEST_F(Zip, RefusesEveryBrokenRuleByName) {
  const std::string good = written();
  const size_t first = central(good), second = central(good, 1), third = central(good, 2), end = good.size() - 22;
  EXPECT_HAS(refusal(patched(good, first + 8, 1, 2)), "entry 'x/first' is encrypted");
  EXPECT_HAS(refusal(patched(good, first + 10, 8, 2)), "entry 'x/first' is compressed (method 8)");
  EXPECT_HAS(refusal(patched(good, first + 20, 2, 4)), "entry 'x/first': stored in 2 bytes, but said to be 3 long");
  EXPECT_HAS(refusal(patched(good, first + 16, 7, 4)), "its local header differs from the central directory (CRC or size)");
  EXPECT_HAS(refusal(patched(good, first + 34, 1, 2)), "lies in another part");
  EXPECT_HAS(refusal(patched(good, first + 42, 1, 4)), "no local header at byte 1");
  EXPECT_HAS(refusal(patched(good, first + 42, 0xFFFFFFF0, 4)), "behind the central directory");
  EXPECT_HAS(refusal(patched(good, first + 42, 0xFFFFFFFF, 4)), "said to be in a ZIP64 field, which is missing");
  EXPECT_HAS(refusal(patched(good, first + 46, 'y', 1)), "differs from the central directory (name, flags or method)");
  EXPECT_HAS(refusal(patched(good, first + 46, '/', 1)), "not the name of a file");
  EXPECT_HAS(refusal(patched(good, first + 46, 0xFF, 1)), "entry '\\xff/first': not the name of a file");
  EXPECT_HAS(refusal(patched(good, third + 42, 0, 4)), "differs from the central directory (name");
  EXPECT_HAS(refusal(patched(good, second, 0, 1)), "does not begin with its mark");
  EXPECT_HAS(refusal(patched(good, end + 4, 1, 2)), "several parts");
  EXPECT_HAS(refusal(patched(good, end + 8, 4, 2)), "several parts");
  EXPECT_HAS(refusal(patched(patched(good, end + 8, 4, 2), end + 10, 4, 2)), "central directory ends 4 bytes too early");
  EXPECT_HAS(refusal(patched(patched(good, end + 8, 2, 2), end + 10, 2, 2)), "bytes behind its 2 entries");
  EXPECT_HAS(refusal(patched(good, end + 16, 5, 4)), "does not end where the record begins");
  EXPECT_HAS(refusal("data in front" + good), "does not end where the record begins");
  EXPECT_HAS(refusal(good + "data behind"), "no central directory");
}

TEST_F(Zip, RefusesDuplicateOutsideAndOverlappingEntries) {
  ZipWriter twice(folder_ / "twice.zip");
  twice.add("x/a", "1");
  twice.add("x/a", "2");
  twice.commit();
  EXPECT_HAS(refusal(read_file(folder_ / "twice.zip")), "two entries are named 'x/a'");
  ZipWriter outside(folder_ / "outside.zip");
  outside.add("x/../../passwd", "1");
  outside.commit();
  EXPECT_HAS(refusal(read_file(folder_ / "outside.zip")), "entry 'x/../../passwd': its name leads out of the archive");

  // Two entries of the directory that share one local header.
  std::string shared = written();
  const size_t first = central(shared), second = central(shared, 1);
  const std::string entry = shared.substr(first, second - first);
  shared.replace(second, central(shared, 2) - second, entry);
  EXPECT_HAS(refusal(shared), "overlaps");
}

TEST_F(Zip, Zip64SaysTheSameOrIsRefused) {
  const std::string good = written(0);
  const size_t record = good.find(std::string("PK\6\6", 4)), locator = good.find(std::string("PK\6\7", 4));
  EXPECT_HAS(refusal(patched(good, locator + 8, record + 1, 8)), "is not at byte");
  EXPECT_HAS(refusal(patched(good, locator + 8, UINT64_MAX, 8)), "is not at byte");
  EXPECT_HAS(refusal(patched(good, locator + 16, 2, 4)), "several parts");
  EXPECT_HAS(refusal(patched(good, record + 4, 45, 8)), "does not reach its locator");
  EXPECT_HAS(refusal(patched(good, record + 32, 0xFFFFFFFFFF, 8)), "several parts");
  EXPECT_HAS(refusal(patched(patched(good, record + 32, 0xFFFFFFFFFF, 8), record + 24, 0xFFFFFFFFFF, 8)), "at most 1048576");
  EXPECT_HAS(refusal(patched(good, record + 40, UINT64_MAX - 5, 8)), "does not end where");
  EXPECT_HAS(refusal(patched(good, locator + 20 + 16, 7, 4)), "its ZIP64 form differ");
  const size_t sizes = good.find(std::string("\1\0\x18\0", 4), central(good));  // size, stored size, position
  ASSERT_NE(sizes, std::string::npos);
  EXPECT_HAS(refusal(patched(patched(good, sizes + 4, uint64_t(1) << 62, 8), sizes + 12, uint64_t(1) << 62, 8)),
             "its local header differs");
}

// Every byte at its extremes: an error by name, or entries within the file.
TEST_F(Zip, HostileBytesAreRefusedOrStayWithinTheFile) {
  for (const uint64_t zip64_from : {uint64_t(0xFFFFFFFF), uint64_t(0)}) {
    const std::string whole = written(zip64_from);
    for (size_t at = 0; at < whole.size(); ++at)
      for (const int value : {0, 1, 0x7F, 0x80, 0xFF}) {
        std::string hostile = whole;
        hostile[at] = char(value);
        try {
          const ZipFile file = opened(hostile);
          for (const ZipEntry& e : file.entries()) {
            ASSERT_LE(e.offset + e.bytes, whole.size());
            file.bytes(e);
          }
        } catch (const InputError& e) {
          ASSERT_TRUE(std::string(e.what()).starts_with("x.zip: ")) << e.what();
        }
      }
  }
}

}  // namespace
}  // namespace relume::test
