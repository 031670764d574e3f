#include "data/pack/pack.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "base/files.h"
#include "base/text.h"
#include "data/crop.h"
#include "data/dataset.h"
#include "data/hdf5_writer.h"
#include "data/pack/pack_writer.h"
#include "tests/data/pictures.h"
#include "tests/support/pictures.h"
#include "tests/support/python.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class Packs : public testing::Test {
 protected:
  void SetUp() override {
    make_folder(folder_ / "in/sub");
    for (int i = 0; i < 6; ++i)
      write_png(folder_ / ("in/" + std::to_string(i) + ".png"), natural_picture(20 + i, 30, uint64_t(i)));
    write_png(folder_ / "in/sub/z.png", natural_picture(50, 40, 9));
  }
  PackOptions options(const std::string& name) { return {.input = folder_ / "in", .output = folder_ / name}; }
  std::vector<std::string> beside() const {  // what lies beside the input
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_.path()))
      if (entry.is_regular_file()) names.push_back(entry.path().filename());
    return names;
  }

  TemporaryFolder folder_;
};

TEST_F(Packs, WholePicturesComeBackExactly) {
  const PackSummary summary = write_pack(options("p.h5"));
  EXPECT_EQ(summary.packed, 7);
  EXPECT_EQ(summary.skipped, 0);
  EXPECT_EQ(beside(), std::vector<std::string>{"p.h5"});
  const Pack pack(folder_ / "p.h5");
  ASSERT_EQ(pack.size(), 7);
  EXPECT_FALSE(pack.has_captions());
  EXPECT_EQ(pack.path(6), "sub/z.png");
  EXPECT_EQ(pack.name(2), (folder_ / "p.h5").string() + "[2] (2.png)");
  FileDataset files(folder_ / "in");
  for (int64_t i = 0; i < 7; ++i) EXPECT_EQ(difference(pack.picture(i), files.picture(i)), 0) << i;
  EXPECT_HAS(input_error([&] { pack.picture(7); }), "picture 7 asked for, but there are 7");
  verify(pack);
}

TEST_F(Packs, SquaresAreOneArrayOfTheSameBytes) {
  PackOptions o = options("p.h5");
  o.crop = CropKind::center, o.size = 16;
  write_pack(o);
  const Hdf5File file(folder_ / "p.h5");
  EXPECT_EQ(file.find("image")->shape, (std::vector<int64_t>{7, 16, 16, 3}));
  EXPECT_EQ(file.find("pixels"), nullptr);
  const Pack pack(folder_ / "p.h5");
  RandomStream unused({});
  const Tensor whole = read_image(folder_ / "in/3.png");
  EXPECT_EQ(difference(pack.picture(3), apply_crop(whole, 16, plan_crop(23, 30, {.size = 16}, unused, ""))), 0);
}

TEST_F(Packs, CaptionsAndReductionAreKept) {
  write_file_atomically(folder_ / "list.csv",
                        "image_path,caption_short,caption_long\nin/1.png,a wave,\"a wave, grün, \"\"soft\"\"\"\nin/2.png,,\n");
  PackOptions o = options("p.h5");
  o.input = folder_ / "list.csv", o.captions = true, o.max_side = 15;
  write_pack(o);
  const Pack pack(folder_ / "p.h5");
  ASSERT_TRUE(pack.has_captions());
  EXPECT_EQ(pack.captions(0), (Captions{"a wave", "a wave, grün, \"soft\""}));
  EXPECT_EQ(pack.captions(1), Captions{});
  EXPECT_EQ(pack.picture(0).shape(1), 15);
  EXPECT_EQ(pack.path(0), "in/1.png");
}

TEST_F(Packs, TheFileDoesNotDependOnThreads) {
  PackOptions o = options("a.h5");
  write_pack(o);
  o.output = folder_ / "b.h5", o.threads = 3;
  write_pack(o);
  EXPECT_TRUE(read_file(folder_ / "a.h5") == read_file(folder_ / "b.h5"));
}

// However the spool was cut by a crash, going on gives the same file. The cuts are made by hand: the journal at every line and
// in the middle of lines, the pixels at what the journal speaks of or beyond.
TEST_F(Packs, AnInterruptedPackContinuesToTheSameBytes) {
  write_pack(options("a.h5"));
  const std::string expected = read_file(folder_ / "a.h5");
  // A picture that stops the work at the end leaves the whole spool behind.
  PackOptions o = options("b.h5");
  write_file_atomically(folder_ / "in/sub/z.png", "broken");
  o.max_bad = 0;
  input_error([&] { write_pack(o); });
  write_png(folder_ / "in/sub/z.png", natural_picture(50, 40, 9));
  const std::string journal = read_file(folder_ / ".b.h5.journal"), pixels = read_file(folder_ / ".b.h5.pixels");
  ASSERT_EQ(occurrences(journal, "\n"), 8) << "a head, six pictures, the broken one";
  EXPECT_FALSE(fs::exists(folder_ / "b.h5"));
  const size_t broken_line = journal.rfind('\n', journal.size() - 2) + 1;
  o.resume = true;
  int continued = 0;
  for (size_t cut = 0; cut <= broken_line; cut += 37) {
    fs::remove(folder_ / "b.h5");
    write_file_atomically(folder_ / ".b.h5.journal", journal.substr(0, cut));
    write_file_atomically(folder_ / ".b.h5.pixels", pixels);
    write_pack(o);
    ASSERT_TRUE(read_file(folder_ / "b.h5") == expected) << "journal cut at byte " << cut;
    ++continued;
  }
  EXPECT_GT(continued, 10);
  fs::remove(folder_ / "b.h5");
  write_file_atomically(folder_ / ".b.h5.journal", journal.substr(0, broken_line));
  write_file_atomically(folder_ / ".b.h5.pixels", pixels.substr(0, pixels.size() / 2));
  write_pack(o);
  EXPECT_TRUE(read_file(folder_ / "b.h5") == expected) << "pixels lost behind the journal's back";
}

TEST_F(Packs, ContinuingSomethingElseIsRefused) {
  PackOptions o = options("p.h5");
  write_file_atomically(folder_ / "in/3.png", "broken");
  o.max_bad = 0;
  EXPECT_HAS(input_error([&] { write_pack(o); }), "3.png: not a picture");
  EXPECT_HAS(input_error([&] { write_pack(o); }), "continue it with --resume, or remove ");
  o.resume = true, o.max_side = 10;
  EXPECT_HAS(input_error([&] { write_pack(o); }), "begun with other pictures or options");
  o.max_side = 0;
  EXPECT_HAS(input_error([&] { write_pack(o); }), "3.png: not a picture");
  o.max_bad = 0.01;
  EXPECT_EQ(write_pack(o).packed, 6) << "one of seven is allowed unless the limit is 0";
  EXPECT_HAS(input_error([&] { write_pack(o); }), "p.h5: exists already; ");
}

TEST_F(Packs, BrokenPicturesAreSkippedUpToALimit) {
  for (int i = 0; i < 10; ++i) write_file_atomically(folder_ / ("in/bad" + std::to_string(i) + ".png"), "broken");
  PackOptions o = options("p.h5");
  std::vector<BadPicture> skipped;
  o.skipped = [&](const BadPicture& p) { skipped.push_back(p); };
  const PackSummary summary = write_pack(o);
  EXPECT_EQ(summary.packed, 7);
  EXPECT_EQ(summary.skipped, 10);
  ASSERT_EQ(skipped.size(), 10u);
  EXPECT_EQ(skipped[4].name, folder_ / "in/bad4.png");
  EXPECT_HAS(skipped[4].reason, "not a picture");
  EXPECT_EQ(Pack(folder_ / "p.h5").path(5), "5.png");
  write_file_atomically(folder_ / "in/bad.png", "broken");
  o.output = folder_ / "q.h5";
  EXPECT_HAS(input_error([&] { write_pack(o); }), "11 of 17 pictures cannot be used, more than the 1 % allowed");
  EXPECT_FALSE(fs::exists(folder_ / "q.h5"));
}

TEST_F(Packs, DamagedPixelsAreFoundAndNamed) {
  write_pack(options("p.h5"));
  std::string bytes = read_file(folder_ / "p.h5");
  const Hdf5File file(folder_ / "p.h5");
  bytes[file.find("pixels")->offset + 20 * 30 * 3 + 5] ^= 1;
  write_file_atomically(folder_ / "p.h5", bytes);
  const Pack pack(folder_ / "p.h5");
  pack.picture(0);
  const std::string message = input_error([&] { pack.picture(1); });
  EXPECT_HAS(message, "p.h5[1] (1.png): its pixels do not match their checksum");
  EXPECT_HAS(input_error([&] { verify(pack); }), "[1]");
}

TEST_F(Packs, ForeignAndIncompletePacksAreNamed) {
  const auto pack_of = [&](auto fill) {
    Hdf5Writer file(folder_ / "x.h5");
    fill(file);
    file.close();
    return input_error([&] { Pack(folder_ / "x.h5"); });
  };
  const int64_t one = 1, two = 2;
  EXPECT_HAS(pack_of([&](Hdf5Writer& f) { f.add("a", hdf5_i64, {1}, &one); }), "x.h5: not a pack of pictures");
  EXPECT_HAS(pack_of([&](Hdf5Writer& f) { f.add("pack_version", hdf5_i64, {1}, &two); }), "a pack of version 2");
  EXPECT_HAS(pack_of([&](Hdf5Writer& f) { f.add("pack_version", hdf5_i64, {1}, &one); }), "dataset offset is missing");
  EXPECT_HAS(pack_of([&](Hdf5Writer& f) {
               f.add("pack_version", hdf5_i64, {1}, &one);
               f.add("offset", hdf5_i64, {1}, &one);
               f.add("pixels", hdf5_u8, {8}, &one);
               f.add("height", hdf5_u64, {1}, &one);
             }),
             "dataset height is u64 with 1 axes and 8 bytes, expected i64 [1]");
}

TEST_F(Packs, ManyThreadsReadAtOnce) {
  write_pack(options("p.h5"));
  const Pack pack(folder_ / "p.h5");
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int k = 0; k < 70; ++k) good += pack.picture(k % 7).shape(2) == 3;
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(good, 280);
}

TEST_F(Packs, OpensAsADataset) {
  write_file_atomically(folder_ / "in/2.txt", "a caption\n");
  PackOptions o = options("p.h5");
  o.captions = true;
  write_pack(o);
  const auto data = open_dataset(folder_ / "p.h5", {.max_side = 15});
  ASSERT_EQ(data->size(), 7);
  EXPECT_EQ(data->captions(2), (Captions{"a caption", "a caption"}));
  EXPECT_EQ(data->picture(2).shape(1), 15);
  EXPECT_HAS(data->name(2), "p.h5[2] (2.png)");
}

// The reader of another program.
TEST_F(Packs, H5pyReadsThem) {
  if (!python_has("h5py, numpy"))
    GTEST_SKIP() << python() << " has no h5py and numpy to read with (RELUME_TEST_PYTHON names another)";
  write_pack(options("p.h5"));
  std::ofstream(folder_ / "read.py") << R"(
import h5py, sys
f = h5py.File(sys.argv[1], 'r')
i = 6
o, h, w = int(f['offset'][i]), int(f['height'][i]), int(f['width'][i])
a = f['pixels'][o:o + h * w * 3].reshape(h, w, 3)
p = f['path_offset'][:]
print(a.shape, a.astype('i8').sum(), bytes(f['path'][p[i]:p[i + 1]]).decode(), f['pixels'].chunks, f['xxh3'].dtype)
)";
  const std::string out = folder_ / "out.txt";
  ASSERT_EQ(
      std::system((python() + " " + (folder_ / "read.py").string() + " " + (folder_ / "p.h5").string() + " > " + out).c_str()),
      0);
  const Tensor picture = read_image(folder_ / "in/sub/z.png");
  int64_t sum = 0;
  for (int64_t i = 0; i < picture.numel(); ++i) sum += picture.data<uint8_t>()[i];
  EXPECT_EQ(read_file(out), detail::concat("(50, 40, 3) ", sum, " sub/z.png None uint64\n"));
}

}  // namespace
}  // namespace relume::test
