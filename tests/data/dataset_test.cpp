#include "data/dataset.h"

#include <atomic>
#include <fstream>
#include <thread>

#include "tests/data/pictures.h"

namespace relume {
namespace {

using test::difference, test::input_error, test::pattern, test::TemporaryFolder;

TEST(Dataset, ListsAFolderRecursivelyInOrder) {
  const TemporaryFolder folder;
  std::filesystem::create_directories(folder / "a/deep");
  write_image(folder / "b.png", pattern(4, 4));
  write_image(folder / "a/deep/x.JPEG", pattern(5, 5));
  write_image(folder / "a/y.png", pattern(6, 6));
  std::ofstream(folder / "notes.txt") << "no picture";
  FolderDataset data(folder.path());
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.path(0), folder / "a/deep/x.JPEG");
  EXPECT_EQ(data.path(1), folder / "a/y.png");
  EXPECT_EQ(difference(data.picture(2), pattern(4, 4)), 0);
  EXPECT_HAS(input_error([&] { data.picture(3); }), "picture 3 asked for, but there are 3");
}

TEST(Dataset, EmptyAndMissingFoldersAreNamed) {
  const TemporaryFolder folder;
  EXPECT_HAS(input_error([&] { FolderDataset data(folder.path()); }), folder.path().string() + ": no pictures in this folder");
  EXPECT_HAS(input_error([&] { FolderDataset data(folder.path()); }), ".jpg, .jpeg, .png");
  EXPECT_HAS(input_error([&] { FolderDataset data(folder / "none"); }), "none: no such folder or file list");
}

TEST(Dataset, FileListSkipsCommentsAndKeepsItsOrder) {
  const TemporaryFolder folder;
  write_image(folder / "one.png", pattern(3, 3));
  write_image(folder / "two with space.png", pattern(4, 4));
  std::ofstream(folder / "list.txt") << "# pictures\n\n two with space.png \r\n" << (folder / "one.png").string();
  FolderDataset data(folder / "list.txt");
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(difference(data.picture(0), pattern(4, 4)), 0);
  EXPECT_EQ(difference(data.picture(1), pattern(3, 3)), 0);
  std::ofstream(folder / "list.txt") << "one.png\nlost.png\n";
  EXPECT_HAS(input_error([&] { FolderDataset again(folder / "list.txt"); }), "list.txt:2: no such picture: ");
  std::ofstream(folder / "list.txt") << "# nothing\n";
  EXPECT_HAS(input_error([&] { FolderDataset again(folder / "list.txt"); }), "names no pictures");
}

TEST(PictureCache, StaysWithinItsBytesAndForgetsTheOldest) {
  const TemporaryFolder folder;
  for (const char* name : {"a.png", "b.png", "c.png"}) write_image(folder / name, pattern(10, 10));  // 300 bytes each
  PictureCache cache(600);
  cache.get(folder / "a.png");
  cache.get(folder / "b.png");
  cache.get(folder / "a.png");
  EXPECT_EQ(cache.decoded(), 2);
  cache.get(folder / "c.png");  // b is the oldest now
  EXPECT_EQ(cache.bytes_held(), 600);
  cache.get(folder / "a.png");
  EXPECT_EQ(cache.decoded(), 3);
  cache.get(folder / "b.png");
  EXPECT_EQ(cache.decoded(), 4);
  PictureCache tiny(10);
  EXPECT_EQ(difference(tiny.get(folder / "a.png"), pattern(10, 10)), 0);
  EXPECT_EQ(tiny.bytes_held(), 0);
}

TEST(PictureCache, ManyThreadsDecodeOnceAndErrorsReachAll) {
  const TemporaryFolder folder;
  write_image(folder / "a.png", pattern(200, 200));
  std::ofstream(folder / "bad.png") << "bad";
  PictureCache cache(1 << 20);
  std::atomic<int> good = 0, bad = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i)
    threads.emplace_back([&] {
      for (int k = 0; k < 50; ++k) {
        good += cache.get(folder / "a.png").shape(0) == 200;
        try {
          cache.get(folder / "bad.png");
        } catch (const InputError&) {
          ++bad;
        }
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(good, 400);
  EXPECT_EQ(bad, 400);
  EXPECT_EQ(cache.decoded(), 1);
}

}  // namespace
}  // namespace relume
