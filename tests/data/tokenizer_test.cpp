#include "data/tokenizer.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "data/gzip.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/small_merges.h"

namespace relume::test {
namespace {

const Tokenizer& small_tokenizer() {
  static const Tokenizer tokenizer(gzipped(small_merges()), "merges.gz");
  return tokenizer;
}

using Ids = std::vector<int64_t>;
int64_t byte_id(char c) { return c - '!'; }
int64_t last_byte_id(char c) { return 256 + byte_id(c); }
constexpr int64_t lo = 512, low = 513, er = 514;  // "low" and "er" end words

TEST(Tokenizer, MergesInTheOrderOfTheFile) {
  EXPECT_EQ(small_tokenizer().ids("low"), Ids{low});
  EXPECT_EQ(small_tokenizer().ids("lower"), (Ids{lo, byte_id('w'), er}));
  EXPECT_EQ(small_tokenizer().ids("lolo"), (Ids{lo, byte_id('l'), last_byte_id('o')}));
  EXPECT_EQ(small_tokenizer().ids("lolow"), (Ids{lo, low}));
  EXPECT_EQ(small_tokenizer().ids("x"), Ids{last_byte_id('x')});
  EXPECT_EQ(small_tokenizer().ids(""), Ids{});
}

TEST(Tokenizer, BytesThatPrintComeFirst) {
  // U+0101 is C4 81: in front of C4 stand the 94 and 12 that print below 0xAE, behind all 188 of them 35 below 0x81.
  EXPECT_EQ(small_tokenizer().ids("\u0101"), (Ids{94 + 12 + 0xC4 - 0xAE, 256 + 188 + 35}));
}

TEST(Tokenizer, CutsTextsIntoWordsNumbersAndSymbols) {
  EXPECT_EQ(small_tokenizer().ids("x12"), (Ids{last_byte_id('x'), last_byte_id('1'), last_byte_id('2')}));
  EXPECT_EQ(small_tokenizer().ids("x's"), (Ids{last_byte_id('x'), byte_id('\''), last_byte_id('s')}));
  EXPECT_EQ(small_tokenizer().ids("x'z"), (Ids{last_byte_id('x'), last_byte_id('\''), last_byte_id('z')}));
  EXPECT_EQ(small_tokenizer().ids("?!low"), (Ids{byte_id('?'), last_byte_id('!'), low}));
  EXPECT_EQ(small_tokenizer().ids(" LOW  Low"), (Ids{low, low}));
}

TEST(Tokenizer, SpecialsInATextAreTheirIds) {
  EXPECT_EQ(small_tokenizer().ids("low<end_of_text>low<START_of_text>"),
            (Ids{low, Tokenizer::end_of_text, low, Tokenizer::start_of_text}));
}

TEST(Tokenizer, PromptsArePaddedWithZeros) {
  const Tokenizer::Prompt p = small_tokenizer().prompt("low");
  Ids expected(77, 0);
  expected[0] = Tokenizer::start_of_text, expected[1] = low, expected[2] = Tokenizer::end_of_text;
  EXPECT_EQ(p.ids, expected);
  EXPECT_EQ(p.left_out, 0);
  EXPECT_EQ(p.notice, "");
  EXPECT_EQ(small_tokenizer().prompt("").ids[1], Tokenizer::end_of_text);
}

TEST(Tokenizer, LongPromptsAreCutAndSaySo) {
  std::string text;
  for (int i = 0; i < 75; ++i) text += "low ";
  const Tokenizer::Prompt fits = small_tokenizer().prompt(text), longer = small_tokenizer().prompt(text + "x y");
  EXPECT_EQ(fits.left_out, 0);
  EXPECT_EQ(fits.notice, "");
  EXPECT_EQ(longer.ids, fits.ids);
  EXPECT_EQ(longer.ids.size(), 77u);
  EXPECT_EQ(longer.ids[75], low);
  EXPECT_EQ(longer.ids[76], Tokenizer::end_of_text);
  EXPECT_EQ(longer.left_out, 2);
  EXPECT_HAS(longer.notice, "has 77 tokens, of which the first 75 are used; shorten it");
}

TEST(Tokenizer, RefusesWhatIsNoPrompt) {
  EXPECT_HAS(input_error([] { small_tokenizer().ids("\xC3"); }), "is not UTF-8");
  EXPECT_HAS(input_error([] { small_tokenizer().ids(std::string(65537, 'a')); }), "prompt: 65537 bytes, at most 65536");
}

std::string refusal(const std::string& file) {
  return input_error([&] { Tokenizer(file, "merges.gz"); });
}

TEST(TokenizerFile, Missing) {
  const std::string error = input_error([] { Tokenizer(std::filesystem::path("/nowhere/merges.gz")); });
  EXPECT_HAS(error, "/nowhere/merges.gz");
  EXPECT_HAS(error, "give the path of bpe_simple_vocab_16e6.txt.gz, a file of the Python package open-clip-torch");
}

TEST(TokenizerFile, ReadFromDisk) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "merges.gz", gzipped(small_merges()));
  EXPECT_EQ(Tokenizer(folder / "merges.gz").ids("low"), Ids{low});
}

TEST(TokenizerFile, Damaged) {
  const std::string whole = gzipped(small_merges());
  EXPECT_HAS(refusal(""), "merges.gz: truncated");
  EXPECT_HAS(refusal(small_merges()), "merges.gz: not a whole gzip file");
  EXPECT_HAS(refusal(whole.substr(0, whole.size() / 2)), "merges.gz: truncated");
  EXPECT_HAS(refusal(whole + "x"), "merges.gz: 1 bytes stand behind its end");
  std::string flipped = whole;
  flipped[flipped.size() - 6] ^= 1;  // of the checksum
  EXPECT_HAS(refusal(flipped), "merges.gz: not a whole gzip file");
}

TEST(TokenizerFile, HoldsSomethingElse) {
  EXPECT_HAS(refusal(gzipped("")), "merges.gz: ends after 0 merges, 48894 expected");
  EXPECT_HAS(refusal(gzipped("#version: 0.2\nl o\n")), "merges.gz: ends after 1 merges");
  EXPECT_HAS(refusal(gzipped("header\nl\n")), "merges.gz: line 2: 'l' does not join two known symbols");
  EXPECT_HAS(refusal(gzipped("header\nl o\nxy z\n")), "line 3: 'xy z' does not join two known symbols");
  EXPECT_HAS(refusal(gzipped("header\nl o\nl o\n")), "line 3: 'l o' does not join two known symbols to a new one");
  EXPECT_HAS(refusal(gzipped("header\nl o p\n")), "line 2: 'l o p'");
  EXPECT_HAS(refusal(gzipped(std::string(17 << 20, 'a'))), "holds more than 16777216 bytes");
}

TEST(Gzip, GivesWhatWasCompressed) {
  const std::string text(200000, 'x');
  EXPECT_EQ(gunzip(gzipped(text), 200000, "f"), text);
  EXPECT_EQ(gunzip(gzipped(""), 100, "f"), "");
  EXPECT_HAS(input_error([&] { gunzip(gzipped(text), 199999, "f"); }), "f: holds more than 199999 bytes");
}

}  // namespace
}  // namespace relume::test
