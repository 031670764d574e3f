#include "base/text.h"

#include <gtest/gtest.h>

#include <chrono>

#include "base/error.h"

namespace relume {
namespace {

using Strings = std::vector<std::string>;

TEST(NearestName, FindsMisspellings) {
  const Strings names{"window_size", "embed_dim", "depths", "lr"};
  EXPECT_EQ(nearest_name("window_sise", names), "window_size");
  EXPECT_EQ(nearest_name("windowsize", names), "window_size");
  EXPECT_EQ(nearest_name("emebd_dim", names), "embed_dim");
  EXPECT_EQ(nearest_name("depth", names), "depths");
  EXPECT_EQ(nearest_name("rl", names), "lr");
  EXPECT_EQ(nearest_name("colour", names), "");
  EXPECT_EQ(nearest_name("x", names), "");
  EXPECT_EQ(nearest_name("", names), "");
  EXPECT_EQ(nearest_name("depths", {}), "");
  EXPECT_EQ(nearest_name(std::string(100000, 'a'), names), "");
}

TEST(NearestName, AllowsAThirdOfTheLetters) {
  EXPECT_EQ(nearest_name("abcdef", Strings{"abcdxy"}), "abcdxy");
  EXPECT_EQ(nearest_name("abcdef", Strings{"abcxyz"}), "");
  EXPECT_EQ(nearest_name("abcdef", Strings{"abxyef", "abcxef"}), "abcxef");
}

TEST(DidYouMean, IsEmptyWithoutANearName) {
  EXPECT_EQ(did_you_mean("stepz", Strings{"steps"}), " (did you mean 'steps'?)");
  EXPECT_EQ(did_you_mean("colour", Strings{"steps"}), "");
}

TEST(Split, KeepsEmptyParts) {
  EXPECT_EQ(split("a,,b", ','), (Strings{"a", "", "b"}));
  EXPECT_EQ(split(",", ','), (Strings{"", ""}));
  EXPECT_EQ(split("a", ','), Strings{"a"});
  EXPECT_EQ(split("", ','), Strings{});
}

TEST(Join, IsTheInverseOfSplit) {
  EXPECT_EQ(join(Strings{"a", "", "b"}, ", "), "a, , b");
  EXPECT_EQ(join(Strings{}, ", "), "");
}

TEST(GlobMatch, KnowsStarAndQuestionMark) {
  EXPECT_TRUE(glob_match("swinir*", "swinir_tiny"));
  EXPECT_TRUE(glob_match("swinir*", "swinir"));
  EXPECT_TRUE(glob_match("*", ""));
  EXPECT_TRUE(glob_match("a*b*c", "a.b.b.c"));
  EXPECT_TRUE(glob_match("*.jpg", "a.b.jpg"));
  EXPECT_TRUE(glob_match("a?c", "a.c"));
  EXPECT_TRUE(glob_match("", ""));
  EXPECT_FALSE(glob_match("swinir", "swinir_tiny"));
  EXPECT_FALSE(glob_match("a?c", "ac"));
  EXPECT_FALSE(glob_match("a.c", "abc"));
  EXPECT_FALSE(glob_match("", "a"));
  EXPECT_FALSE(glob_match("?", ""));
  EXPECT_FALSE(glob_match("*b", "a"));
}

TEST(GlobMatch, ManyStarsEndSoon) {
  std::string pattern;
  for (int i = 0; i < 30; ++i) pattern += "a*";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(glob_match(pattern + "b", std::string(2000, 'a')));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 1);
}

TEST(Text, LongNumbersAreGrouped) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(22280651), "22,280,651");
  EXPECT_EQ(grouped(-123456), "-123,456");
  EXPECT_EQ(grouped(INT64_MIN), "-9,223,372,036,854,775,808");
}

TEST(HumanBytes, UsesPowersOfThousand) {
  EXPECT_EQ(human_bytes(0), "0 B");
  EXPECT_EQ(human_bytes(999), "999 B");
  EXPECT_EQ(human_bytes(1000), "1.0 kB");
  EXPECT_EQ(human_bytes(999960), "1.0 MB");
  EXPECT_EQ(human_bytes(1.5e9), "1.5 GB");
  EXPECT_EQ(human_bytes(5e18), "5000.0 PB");
}

TEST(ParseBytes, ReadsWhatPeopleWrite) {
  EXPECT_EQ(parse_bytes("6G", "x"), 6000000000);
  EXPECT_EQ(parse_bytes("6g", "x"), 6000000000);
  EXPECT_EQ(parse_bytes("1.5 GB", "x"), 1500000000);
  EXPECT_EQ(parse_bytes("512M", "x"), 512000000);
  EXPECT_EQ(parse_bytes("2GiB", "x"), int64_t(2) << 30);
  EXPECT_EQ(parse_bytes("3KIB", "x"), 3 * 1024);
  EXPECT_EQ(parse_bytes("4096", "x"), 4096);
  EXPECT_EQ(parse_bytes("7B", "x"), 7);
  EXPECT_EQ(parse_bytes("1T", "x"), 1000000000000);
}

TEST(ParseBytes, RefusesTheRest) {
  for (const char* text :
       {"", "G", "-1G", "0", "6X", "6GG", "6 G B", "1e300G", "nan", "inf", "6iB", "6ib", "0x10", "6G!", " 6G"}) {
    try {
      parse_bytes(text, "--memory");
      ADD_FAILURE() << "'" << text << "' was read";
    } catch (const InputError& e) {
      EXPECT_EQ(std::string(e.what()),
                "--memory: '" + std::string(text) + "' is not an amount of memory; write it as 6G, 512M or 2GiB");
    }
  }
}

TEST(HumanSeconds, RoundsWithoutASixtiethSecond) {
  EXPECT_EQ(human_seconds(0.25), "0.2 s");
  EXPECT_EQ(human_seconds(47.2), "47 s");
  EXPECT_EQ(human_seconds(59.7), "1 min 0 s");
  EXPECT_EQ(human_seconds(200), "3 min 20 s");
  EXPECT_EQ(human_seconds(7500), "2 h 05 min");
  EXPECT_EQ(human_seconds(3599.6), "1 h 00 min");
  EXPECT_EQ(human_seconds(1.0 / 0.0), "unknown");
}

TEST(Text, Utf8IsWellFormedUnicode) {
  for (const std::string good : {"", "a", "gr\xC3\xBCn", "\xE2\x82\xAC", "\xF0\x9F\x98\x80", "\xF4\x8F\xBF\xBF"})
    EXPECT_TRUE(is_utf8(good)) << good;
  for (const std::string bad :
       {"\xFF", "\x80", "\xC3", "\xC3(", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF0\x9F\x98"})
    EXPECT_FALSE(is_utf8(bad)) << bad.size();
}

TEST(Text, PrintableObeysNoControlCharacter) {
  EXPECT_EQ(printable("plain gr\xC3\xBCn"), "plain gr\xC3\xBCn");
  EXPECT_EQ(printable("\x1b[31m\n\x7f"), "\\x1b[31m\\x0a\\x7f");
  EXPECT_EQ(printable("\xC2\x9B"
                      "31m"),
            "\\x9b31m");
  EXPECT_EQ(printable("\x9B"
                      "31m \xFF"),
            "\\x9b31m \\xff");
  EXPECT_EQ(printable(std::string(100, 'a')), std::string(80, 'a') + "...");
  EXPECT_EQ(printable("aa\xC3\xBC"
                      "b",
                      3),
            "aa\xC3\xBC...")
      << "not in the middle of a character";
  EXPECT_EQ(printable(std::string(1000, '\x80'), 2), "\\x80\\x80...");
}

TEST(Text, LowerCaseChangesAsciiOnly) { EXPECT_EQ(lower_case("A.\xC3\x84.JpEg"), "a.\xC3\x84.jpeg"); }

}  // namespace
}  // namespace relume
