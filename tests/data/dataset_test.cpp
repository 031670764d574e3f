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
  FileDataset data(folder.path());
  ASSERT_EQ(data.size(), 3);
  EXPECT_EQ(data.path(0), folder / "a/deep/x.JPEG");
  EXPECT_EQ(data.path(1), folder / "a/y.png");
  EXPECT_EQ(difference(data.picture(2), pattern(4, 4)), 0);
  EXPECT_HAS(input_error([&] { data.picture(3); }), "picture 3 asked for, but there are 3");
}

TEST(Dataset, EmptyAndMissingFoldersAreNamed) {
  const TemporaryFolder folder;
  EXPECT_HAS(input_error([&] { FileDataset data(folder.path()); }), folder.path().string() + ": no pictures in this folder");
  EXPECT_HAS(input_error([&] { FileDataset data(folder.path()); }), ".jpg, .jpeg, .png");
  EXPECT_HAS(input_error([&] { FileDataset data(folder / "none"); }), "none: no such folder or file list");
}

TEST(Dataset, FileListSkipsCommentsAndKeepsItsOrder) {
  const TemporaryFolder folder;
  write_image(folder / "one.png", pattern(3, 3));
  write_image(folder / "two with space.png", pattern(4, 4));
  std::ofstream(folder / "list.txt") << "# pictures\n\n two with space.png \r\n" << (folder / "one.png").string();
  FileDataset data(folder / "list.txt");
  ASSERT_EQ(data.size(), 2);
  EXPECT_EQ(difference(data.picture(0), pattern(4, 4)), 0);
  EXPECT_EQ(difference(data.picture(1), pattern(3, 3)), 0);
  std::ofstream(folder / "list.txt") << "one.png\nlost.png\n";
  EXPECT_HAS(input_error([&] { FileDataset again(folder / "list.txt"); }), "list.txt:2: no such picture: ");
  std::ofstream(folder / "list.txt") << "# nothing\n";
  EXPECT_HAS(input_error([&] { FileDataset again(folder / "list.txt"); }), "names no pictures");
}

TEST(Dataset, CaptionsComeFromTheListOrFromBesideThePicture) {
  const TemporaryFolder folder;
  write_image(folder / "a.png", pattern(3, 3));
  write_image(folder / "b.png", pattern(4, 4));
  std::ofstream(folder / "a.txt") << " both \n";
  std::ofstream(folder / "a.long.txt") << "a long one";
  const auto beside = open_dataset(folder.path());
  EXPECT_EQ(beside->captions(0), (Captions{"both", "a long one"}));
  EXPECT_EQ(beside->captions(1), Captions{});
  std::ofstream(folder / "list.jsonl") << R"({"image_path": "a.png", "caption_short": "listed"})"
                                       << "\n"
                                       << R"({"image_path": "b.png"})";
  const auto listed = open_dataset(folder / "list.jsonl");
  EXPECT_EQ(listed->captions(0), (Captions{"listed", ""}));
  EXPECT_EQ(listed->captions(1), Captions{});
  std::ofstream(folder / "b.txt") << "\xff\xfe";
  EXPECT_HAS(input_error([&] { beside->captions(1); }), "b.txt: not UTF-8; ");
  std::ofstream(folder / "b.txt") << std::string(70000, 'x');
  EXPECT_HAS(input_error([&] { beside->captions(1); }), "b.txt: 70000 bytes, more than the 64000 allowed");
}

TEST(Dataset, EverySourceOpensByItsName) {
  const TemporaryFolder folder;
  write_image(folder / "a.png", pattern(3, 3));
  std::ofstream(folder / "list.csv") << "image_path\na.png\n";
  std::ofstream(folder / "list.txt") << "a.png\n";
  std::ofstream(folder / "list.jsonl") << "{\"image_path\": \"a.png\"}\n";
  for (const auto& source : {folder.path(), folder / "list.csv", folder / "list.txt", folder / "list.jsonl"}) {
    const auto data = open_dataset(source);
    ASSERT_EQ(data->size(), 1) << source;
    EXPECT_EQ(data->name(0), (folder / "a.png").string());
    EXPECT_EQ(difference(data->picture(0), pattern(3, 3)), 0) << source;
  }
  std::ofstream(folder / "no.h5") << "text";
  EXPECT_HAS(input_error([&] { open_dataset(folder / "no.h5"); }), "no.h5: not an HDF5 file");
  EXPECT_HAS(input_error([&] { open_dataset(folder / "none.hdf5"); }), "none.hdf5: cannot open");
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
