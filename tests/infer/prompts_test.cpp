#include "infer/prompts.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

using Rows = std::vector<std::vector<std::string>>;

TEST(Csv, FieldsAsRfc4180HasThem) {
  EXPECT_EQ(read_csv("a,b\n1,2\n", "t"), (Rows{{"a", "b"}, {"1", "2"}}));
  EXPECT_EQ(read_csv("a,b\r\n1,\r\n", "t"), (Rows{{"a", "b"}, {"1", ""}}));
  EXPECT_EQ(read_csv("\"x, y\",\"say \"\"no\"\"\nor yes\"", "t"), (Rows{{"x, y", "say \"no\"\nor yes"}}));
  EXPECT_EQ(read_csv("\n\na\n\n", "t"), (Rows{{"a"}}));
  EXPECT_EQ(read_csv("\xEF\xBB\xBF\"\"", "t"), (Rows{{""}}));
  EXPECT_EQ(read_csv("", "t"), Rows{});
  EXPECT_HAS(input_error([] { read_csv("a\n\"b\nc", "t.csv"); }), "t.csv:2: a quote that is not closed");
  EXPECT_HAS(input_error([] { read_csv("a\nb\"c", "t.csv"); }), "t.csv:2: a quote inside a field");
  EXPECT_HAS(input_error([] { read_csv("\"b\"c", "t.csv"); }), "t.csv:1: text behind the closing quote");
}

TEST(Prompts, OneForAllOrNone) {
  EXPECT_EQ(Prompts().find("x.png")->positive, "");
  EXPECT_EQ(Prompts::of_all(" a dog \n").find("x.png")->positive, "a dog");
}

TEST(Prompts, AFileForEachPicture) {
  const TemporaryFolder folder;
  make_folder(folder / "sea");
  write_file_atomically(folder / "sea/a.txt", "waves\n");
  const Prompts prompts = Prompts::from(folder / "");
  EXPECT_EQ(prompts.find("sea/a.jpg")->positive, "waves");
  EXPECT_FALSE(prompts.find("a.jpg"));
}

TEST(Prompts, ATableOfThem) {
  const TemporaryFolder folder;
  const auto table = [&](const std::string& text) {
    write_file_atomically(folder / "t.csv", text);
    return Prompts::from(folder / "t.csv");
  };
  const Prompts prompts = table("file_name,pos_prompt,neg_prompt\nsea/a.png,\"waves, foam\",blur\nb.jpg,stone,\n");
  EXPECT_EQ(prompts.find("sea/a.png")->positive, "waves, foam");
  EXPECT_EQ(*prompts.find("sea/a.png")->negative, "blur");
  EXPECT_EQ(prompts.find("b.png")->positive, "stone");
  EXPECT_FALSE(prompts.find("c.png"));
  EXPECT_FALSE(table("prompt,file\nx,a.png\n").find("a.png")->negative);
  EXPECT_HAS(input_error([&] { table("a,b\n1,2\n"); }), "names no columns file_name and pos_prompt");
  EXPECT_HAS(input_error([&] { table("file_name,prompt\na.png\n"); }), "row 2 has 1 fields");
  EXPECT_HAS(input_error([&] { table("file_name,prompt\na.png,x\na.png,y\n"); }), "twice");
  EXPECT_HAS(input_error([&] { table(""); }), "is empty");
}

}  // namespace
}  // namespace relume::test
