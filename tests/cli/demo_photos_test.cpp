#include "cli/demo_photos.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/files.h"
#include "tests/support/numbers.h"

namespace relume {
namespace {

class PhotoList : public testing::Test {
 protected:
  void SetUp() override {
    write_file_atomically(folder_ / "a.jpg", "a");
    write_file_atomically(folder_ / "b.jpg", "b");
  }

  std::string a() const { return (folder_ / "a.jpg").string(); }
  std::string b() const { return (folder_ / "b.jpg").string(); }
  std::vector<DemoPhoto> read(const std::string& text) const {
    write_file_atomically(folder_ / "photos.txt", text);
    return read_photo_list(folder_ / "photos.txt");
  }
  void expect_error(const std::string& text, const std::string& message) const {
    try {
      read(text);
      FAIL() << "accepted: " << text;
    } catch (const InputError& e) {
      EXPECT_NE(std::string(e.what()).find(message), std::string::npos) << e.what();
    }
  }

  test::TemporaryFolder temporary_;
  const std::filesystem::path folder_ = temporary_.path();
};

TEST_F(PhotoList, ReadsColumnsAndSkipsComments) {
  const auto photos = read("# list\n\npkg-a  " + a() + "  GPL-2+  train  # someone\r\n  pkg-b " + b() + " CC0 held-out\n");
  ASSERT_EQ(photos.size(), 2u);
  EXPECT_EQ(photos[0].package, "pkg-a");
  EXPECT_EQ(photos[0].file, a());
  EXPECT_EQ(photos[0].licence, "GPL-2+");
  EXPECT_EQ(photos[0].split, PhotoSplit::train);
  EXPECT_EQ(photos[1].split, PhotoSplit::held_out);
}

TEST_F(PhotoList, NamesTheLine) {
  expect_error("# one\np " + a() + " GPL-2+\n", "photos.txt:2: 3 columns");
  expect_error("p " + a() + " GPL-2+ test\n", "photos.txt:1: split is 'test'");
  expect_error("p " + a() + " G train\np " + a() + " G held-out\n", "photos.txt:2: " + a() + " is listed twice");
  expect_error("p " + a() + " G train\n", "no picture is marked 'held-out'");
  expect_error("# empty\n", "no picture is marked 'train'");
}

TEST_F(PhotoList, NamesThePackageOfAMissingPicture) {
  expect_error("p " + a() + " G train\nnice-photos " + (folder_ / "c.jpg").string() + " G train\n",
               "apt-get install nice-photos");
}

TEST_F(PhotoList, RefusesAMissingList) { EXPECT_THROW(read_photo_list(folder_ / "none.txt"), InputError); }

TEST_F(PhotoList, TheRepositorysOwnListIsWellFormed) {
  const char* root = std::getenv("RELUME_SOURCE_DIR");
  if (!root) GTEST_SKIP() << "RELUME_SOURCE_DIR is not set";
  try {
    const auto photos = read_photo_list(std::filesystem::path(root) / "configs/demo/photos.txt");
    EXPECT_GE(photos.size(), 20u);
  } catch (const InputError& e) {
    if (std::string(e.what()).find("is missing; install") == std::string::npos) throw;
    GTEST_SKIP() << e.what();
  }
}

}  // namespace
}  // namespace relume
