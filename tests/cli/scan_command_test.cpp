// relume scan: the table, the JSON, the list to train on.
#include <nlohmann/json.hpp>

#include "base/text.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/pictures.h"

namespace relume::test {
namespace {

class ScanCommand : public CommandTest {};

TEST_F(ScanCommand, TellsWhatIsWrongAndListsTheRest) {
  write_pictures(folder_ / "in", 3);
  write_file_atomically(folder_ / "in/copy.png", read_file(folder_ / "in/1.png"));
  write_file_atomically(folder_ / "in/cut.png", read_file(folder_ / "in/1.png").substr(0, 500));
  write_png(folder_ / "in/speck.png", natural_picture(20, 60, 7));
  write_png(folder_ / "in/white.png", Tensor::full({50, 50, 3}, 255, DType::u8));
  std::filesystem::rename(folder_ / "in/2.png", folder_ / "in/2.jpg");
  const Ended e =
      run({"scan", folder_ / "in", "--min-side", "32", "--json", folder_ / "scan.json", "--write-list", folder_ / "good.txt"});
  ASSERT_EQ(e.code, 0) << e.err;
  for (const char* line : {"good                    3\n", "broken                  1\n", "tiny                    1\n",
                           "graphic                 1\n", "duplicate               1\n", "all                     7\n",
                           "wrong extension         1\n"})
    EXPECT_HAS(e.out, line);
  EXPECT_HAS(e.out, "\nbroken:\n  " + (folder_ / "in/cut.png").string() + ": truncated PNG");
  EXPECT_HAS(e.out, "\nwrong extension:\n  " + (folder_ / "in/2.jpg").string() + ": is PNG\n");

  const auto report = nlohmann::json::parse(read_file(folder_ / "scan.json"));
  EXPECT_EQ(report.at("pictures"), 7);
  EXPECT_EQ(report.at("counts").at("tiny"), 1);
  EXPECT_EQ(report.at("counts").at("near_duplicate"), 0);
  ASSERT_EQ(report.at("findings").size(), 5u);
  EXPECT_EQ(report.at("findings")[1].at("finding"), "duplicate");
  EXPECT_EQ(report.at("findings")[1].at("same_as"), (folder_ / "in/1.png").string());

  EXPECT_EQ(read_file(folder_ / "good.txt"), (folder_ / "in/0.png").string() + "\n" + (folder_ / "in/1.png").string() + "\n" +
                                                 (folder_ / "in/2.jpg").string() + "\n");
  const Ended again = run({"scan", folder_ / "good.txt", "--min-side", "32"});
  EXPECT_EQ(again.code, 0) << again.err;
  EXPECT_HAS(again.out, "good                    3\n");
}

TEST_F(ScanCommand, RefusesAFolderWithoutPictures) {
  make_folder(folder_ / "in");
  const Ended e = run({"scan", folder_ / "in"});
  EXPECT_EQ(e.code, 2);
  EXPECT_HAS(e.err, "in: no pictures in this folder");
}

}  // namespace
}  // namespace relume::test
