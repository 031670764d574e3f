#include "data/file_list.h"

#include "tests/support/errors.h"

namespace relume::test {
namespace {

std::vector<ListEntry> csv(const std::string& text) { return parse_file_list(text, "lists/a.csv", ListFormat::csv); }
std::vector<ListEntry> jsonl(const std::string& text) { return parse_file_list(text, "lists/a.jsonl", ListFormat::jsonl); }

TEST(FileList, TheExtensionTellsTheFormat) {
  EXPECT_EQ(list_format_of("a.CSV"), ListFormat::csv);
  EXPECT_EQ(list_format_of("a.jsonl"), ListFormat::jsonl);
  EXPECT_EQ(list_format_of("a.txt"), ListFormat::lines);
  EXPECT_EQ(list_format_of("csv"), ListFormat::lines);
}

TEST(FileList, LinesKeepTheirNumbersAndFolders) {
  const auto entries = parse_file_list("\xEF\xBB\xBF# head\r\n\n a b.png \r\n/abs/c.png", "lists/a.txt", ListFormat::lines);
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].path, "lists/a b.png");
  EXPECT_EQ(entries[0].line, 3);
  EXPECT_FALSE(entries[0].captions);
  EXPECT_EQ(entries[1].path, "/abs/c.png");
  EXPECT_HAS(input_error([&] { parse_file_list(std::string("a\nb\0c", 5), "l.txt", ListFormat::lines); }),
             "l.txt:2: not a path");
  EXPECT_HAS(input_error([&] { parse_file_list("a\xC3(", "l.txt", ListFormat::lines); }), "l.txt:1: text that is not UTF-8");
  EXPECT_HAS(input_error([&] { parse_file_list(std::string(5000, 'a'), "l.txt", ListFormat::lines); }), "at most 4096");
}

TEST(FileList, CsvFollowsItsStandard) {
  const auto entries =
      csv("caption_long,other,image_path,caption_short\r\n"
          "\"two\nlines, \"\"quoted\"\"\",x,a.png,short\r\n"
          "\r\n"
          ",,b.png,say \"hi\"\r\n");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].path, "lists/a.png");
  EXPECT_EQ(*entries[0].captions, (Captions{"short", "two\nlines, \"quoted\""}));
  EXPECT_EQ(entries[0].line, 2);
  EXPECT_EQ(*entries[1].captions, (Captions{"say \"hi\"", ""}));
  EXPECT_EQ(entries[1].line, 5);
  EXPECT_FALSE(csv("image_path\na.png")[0].captions) << "no column for captions";
}

TEST(FileList, CsvErrorsNameTheLine) {
  EXPECT_HAS(input_error([] { csv(""); }), "a.csv: empty; ");
  EXPECT_HAS(input_error([] { csv("path,caption_short\n"); }), "no column named image_path");
  EXPECT_HAS(input_error([] { csv("image_path,x\na.png\n"); }), "a.csv:2: 1 fields, the first line names 2");
  EXPECT_HAS(input_error([] { csv("image_path\n\"a.png"); }), "a.csv:2: a quoted field without end");
  EXPECT_HAS(input_error([] { csv("image_path\n\"a\"b\n"); }), "a.csv:2: text behind a closing quote");
  EXPECT_HAS(input_error([] { csv("image_path,x\n,1\n"); }), "a.csv:2: no path");
  EXPECT_HAS(input_error([] { csv("image_path\n\"" + std::string(2000000, 'a')); }), "more than 1048576 bytes");
}

TEST(FileList, JsonLines) {
  const auto entries = jsonl(
      "{\"image_path\": \"a.png\", \"caption_short\": \"gr\\u00fcn\", \"width\": 3}\n\n"
      "{\"image_path\": \"b.png\", \"caption_long\": null}\n");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(*entries[0].captions, (Captions{"grün", ""}));
  EXPECT_FALSE(entries[1].captions);
  EXPECT_EQ(entries[1].line, 3);
  EXPECT_HAS(input_error([] { jsonl("{}\n"); }), "a.jsonl:1: no path");
  EXPECT_HAS(input_error([] { jsonl("\n[1]\n"); }), "a.jsonl:2: not a JSON object");
  EXPECT_HAS(input_error([] { jsonl("{\"image_path\": 3}"); }), "a.jsonl:1: image_path is not a string");
  EXPECT_HAS(input_error([] { jsonl("{\"image_path\": \"a\", \"caption_short\": []}"); }), "caption_short is not a string");
  EXPECT_HAS(input_error([] { jsonl(std::string(100000, '[')); }), "not a JSON object");
  EXPECT_HAS(input_error([] { jsonl("{\"image_path\": \"a\\u0000b\"}"); }), "not a path");
}

}  // namespace
}  // namespace relume::test
