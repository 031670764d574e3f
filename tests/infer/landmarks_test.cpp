#include "infer/landmarks.h"

#include <gtest/gtest.h>

#include "base/files.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"

namespace relume::test {
namespace {

const std::string header = "file_name,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\n", row = "1,2,3,4,5,6,7,8,9,10.5";

TEST(FaceLandmarks, ATableMayHaveSeveralRowsOfAPicture) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "faces.csv", header + "sea/a.jpg," + row + "\nb.png," + row + "\nsea/a.jpg,-" + row + "\n");
  const FaceLandmarks all = FaceLandmarks::from(folder / "faces.csv");
  ASSERT_EQ(all.find("sea/a.jpg").size(), 2u);
  const Landmarks first = all.find("sea/a.jpg")[0], second = all.find("sea/a.png")[1];
  EXPECT_EQ(first[0].x, 1);
  EXPECT_EQ(first[4].y, 10.5);
  EXPECT_EQ(second[0].x, -1);
  EXPECT_TRUE(all.find("a.jpg").empty());
}

TEST(FaceLandmarks, AFolderHasAFileForEachPicture) {
  const TemporaryFolder folder;
  make_folder(folder / "sea");
  write_file_atomically(folder / "sea/a.txt", row + "\n\n1 2 3 4 5 6 7 8 9 11\r\n");
  const FaceLandmarks all = FaceLandmarks::from(folder / "");
  ASSERT_EQ(all.find("sea/a.jpg").size(), 2u);
  EXPECT_EQ(all.find("sea/a.jpg")[1][4].y, 11);
  EXPECT_TRUE(all.find("b.jpg").empty());
  write_file_atomically(folder / "b.txt", row + "\n1 2 3\n");
  EXPECT_HAS(input_error([&] { all.find("b.jpg"); }), "b.txt:2: 3 numbers, expected 10");
}

TEST(FaceLandmarks, WhatIsNoTableIsRefused) {
  const TemporaryFolder folder;
  const auto refused = [&](const std::string& text) {
    write_file_atomically(folder / "faces.csv", text);
    return input_error([&] { FaceLandmarks::from(folder / "faces.csv"); });
  };
  EXPECT_HAS(refused("name,x1\n"), "its first line is name,x1; expected file_name,x1,y1,x2");
  EXPECT_HAS(refused(""), "expected file_name");
  EXPECT_HAS(refused(header + "a.png,1,2\n"), "row 2: 2 numbers, expected 10");
  EXPECT_HAS(refused(header + "a.png," + row + "\na.png,1,2,3,4,5,6,7,8,9,ten\n"), "row 3: 'ten' is no coordinate");
  EXPECT_HAS(refused(header + "a.png,1,2,3,4,5,6,7,8,9,nan\n"), "'nan' is no coordinate");
}

}  // namespace
}  // namespace relume::test
