// relume pack, with the interruptions that an afternoon of packing meets.
#include <signal.h>

#include <chrono>
#include <thread>

#include "data/pack/pack.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/pictures.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class PackCommand : public CommandTest {
 protected:
  std::vector<std::string> pack(const std::string& output, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"pack", folder_ / "in", folder_ / output};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
};

TEST_F(PackCommand, PacksVerifiesAndSkips) {
  write_pictures(folder_ / "in", 5);
  write_file_atomically(folder_ / "in/3.png", "broken");
  const Ended packed = run(pack("p.h5", {"--crop", "center", "--size", "16"}));
  ASSERT_EQ(packed.code, 0) << packed.err;
  EXPECT_HAS(packed.out, "4 pictures packed into ");
  EXPECT_HAS(packed.out, "; 1 skipped\n");
  EXPECT_EQ(occurrences(packed.err, "skipped " + (folder_ / "in/3.png").string() + ": not a picture"), 1) << packed.err;
  const Ended verified = run({"pack", "--verify", folder_ / "p.h5"});
  EXPECT_EQ(verified.code, 0) << verified.err;
  EXPECT_HAS(verified.out, "p.h5: 4 pictures, all as their checksums say");
  std::string bytes = read_file(folder_ / "p.h5");
  bytes[Hdf5File(folder_ / "p.h5").find("image")->offset + 2 * 16 * 16 * 3] ^= 4;
  write_file_atomically(folder_ / "p.h5", bytes);
  const Ended damaged = run({"pack", "--verify", folder_ / "p.h5"});
  EXPECT_EQ(damaged.code, 2);
  EXPECT_HAS(damaged.err, "p.h5[2] (2.png): its pixels do not match their checksum");
}

TEST_F(PackCommand, RefusesWhatItCannotDo) {
  write_pictures(folder_ / "in", 1);
  const auto refused = [&](const std::vector<std::string>& arguments) {
    const Ended e = run(arguments);
    EXPECT_EQ(e.code, 2) << e.err;
    return e.err;
  };
  EXPECT_HAS(refused({"pack", folder_ / "in"}), "name IN and OUT.h5");
  EXPECT_HAS(refused(pack("p.zip")), "p.zip: a pack is named .h5 or .hdf5");
  EXPECT_HAS(refused({"pack", folder_ / "none", folder_ / "p.h5"}), "none: no such folder or file list");
  EXPECT_HAS(refused(pack("p.h5", {"--crop", "random"})), "--crop");
  write_file_atomically(folder_ / "p.h5", "mine");
  EXPECT_HAS(refused(pack("p.h5")), "p.h5: exists already; ");
  EXPECT_EQ(read_file(folder_ / "p.h5"), "mine");
  write_file_atomically(folder_ / "in/0.png", "broken");
  EXPECT_HAS(refused(pack("q.h5")), "none of its 1 pictures can be packed; ");
  EXPECT_FALSE(fs::exists(folder_ / "q.h5") || fs::exists(folder_ / ".q.h5.journal"));
}

// Killed and interrupted again and again at whatever place it has reached, it ends with the same bytes.
TEST_F(PackCommand, InterruptedAnywhereItEndsTheSame) {
  make_folder(folder_ / "in");
  for (int i = 0; i < 40; ++i)
    write_png(folder_ / ("in/" + std::to_string(i) + ".png"), natural_picture(300, 400, uint64_t(i)));
  const Ended whole = run(pack("a.h5", {"--threads", "1"}));
  ASSERT_EQ(whole.code, 0) << whole.err;
  int interruptions = 0;
  int64_t begun = 0;
  bool killed_at_the_end = false;
  for (int attempt = 0; attempt < 60; ++attempt) {
    const pid_t process = start(pack("b.h5", {"--resume", "--threads", "1"}));
    // Until it got further than the last time, then a little more.
    const fs::path pixels = folder_ / ".b.h5.pixels";
    std::error_code none;
    for (int i = 0; i < 2000; ++i) {
      const auto size = fs::file_size(pixels, none);
      siginfo_t ended{};
      if ((!none && int64_t(size) > begun) || waitid(P_PID, id_t(process), &ended, WEXITED | WNOHANG | WNOWAIT) != 0 ||
          ended.si_pid)
        break;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(attempt * 5 % 31));
    const bool softly = attempt % 3 != 2;
    kill(process, softly ? SIGINT : SIGKILL);
    const Ended e = end(process);
    if (e.code == 0) break;
    if (!softly &&
        fs::exists(folder_ / "b.h5")) {  // killed behind the rename: the pack is whole, the spool may still lie there
      killed_at_the_end = true;
      break;
    }
    EXPECT_EQ(e.code, softly ? 130 : -1) << e.err;
    if (softly) {
      EXPECT_HAS(e.err, "interrupted; what was packed so far is kept, go on with --resume");
    }
    EXPECT_FALSE(fs::exists(folder_ / "b.h5"));
    begun = fs::exists(pixels) ? int64_t(fs::file_size(pixels)) : 0;
    ++interruptions;
  }
  EXPECT_GE(interruptions, 3);
  if (!fs::exists(folder_ / "b.h5")) {
    const Ended last = run(pack("b.h5", {"--resume"}));
    ASSERT_EQ(last.code, 0) << last.err;
  }
  EXPECT_TRUE(read_file(folder_ / "a.h5") == read_file(folder_ / "b.h5"));
  const bool leftovers = fs::exists(folder_ / ".b.h5.journal") || fs::exists(folder_ / ".b.h5.pixels");
  EXPECT_TRUE(killed_at_the_end || !leftovers);
}

}  // namespace
}  // namespace relume::test
