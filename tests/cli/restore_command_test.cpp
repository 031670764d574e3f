// relume restore as its users meet it.
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "base/text.h"
#include "data/convert.h"
#include "data/image.h"
#include "data/metrics/similarity.h"
#include "tensor/core/philox.h"
#include "tests/support/command.h"
#include "tests/support/errors.h"
#include "tests/support/pictures.h"
#include "tests/support/small_weights.h"

namespace relume::test {
namespace {

namespace fs = std::filesystem;

class RestoreCommand : public CommandTest {
 protected:
  void SetUp() override {
    CommandTest::SetUp();
    if (IsSkipped()) return;
    save_small_network(0, weights_);
  }
  std::vector<std::string> restore(const std::string& in, const std::string& out, std::vector<std::string> more = {}) const {
    std::vector<std::string> all{"restore", folder_ / in, folder_ / out, "--checkpoint", weights_};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }
  const std::string weights_ = folder_ / "weights.safetensors";
};

TEST_F(RestoreCommand, EnlargesInTilesAndSaysSo) {
  write_png(folder_ / "in.png", natural_picture(40, 50, 1));
  const Ended e = run(restore("in.png", "out.png", {"--upscale", "1.5", "--tile", "32", "--tile-overlap", "8"}));
  EXPECT_EQ(e.code, 0) << e.err;
  EXPECT_EQ(e.out, "1 picture restored into " + (folder_ / "out.png").string() + "\n");
  EXPECT_HAS(e.err, "tiles     1 in tiles of 32, overlapping by 8");
  EXPECT_EQ(read_image(folder_ / "out.png").shape(), (Shape{60, 75, 3}));
}

TEST_F(RestoreCommand, WithoutACheckpointItTakesTheOneThatShipsAndSaysSo) {
  const Tensor truth = natural_picture(96, 80, 1), noisy = Tensor::empty(truth.shape(), DType::u8);
  RandomStream draws({.seed = 1, .purpose = "noise"});
  for (int64_t i = 0; i < truth.numel(); ++i)
    noisy.data<uint8_t>()[i] = uint8_t(std::clamp(truth.data<uint8_t>()[i] + draws.uniform(-40, 40), 0.0, 255.0));
  write_png(folder_ / "in.png", noisy);
  const Ended e = run({"restore", folder_ / "in.png", folder_ / "out.png"});
  ASSERT_EQ(e.code, 0) << e.err;
  EXPECT_HAS(e.err, "from final.safetensors (the small restorer that comes with the project; --checkpoint names another)");
  const auto quality = [&](const Tensor& picture) { return psnr(to_float(picture), to_float(truth)); };
  EXPECT_GT(quality(read_image(folder_ / "out.png")), quality(noisy) + 1) << "no photograph, but noise it knows";
}

TEST_F(RestoreCommand, RefusesWhatMakesNoSense) {
  write_pictures(folder_ / "in", 2);
  EXPECT_HAS(refused(restore("in", "out", {"--overwrite", "--skip-existing"})), "--overwrite excludes --skip-existing");
  EXPECT_HAS(refused(restore("in", "out", {"--tile", "twelve"})), "--tile 'twelve': expected auto, off or a number of pixels");
  EXPECT_HAS(refused(restore("in", "out", {"--tile", "-8"})), "--tile '-8': expected");
  EXPECT_HAS(refused(restore("in", "out", {"--tile", "12"})),
             "relume: --tile 12: this network takes multiples of 8; the nearest is 16");
  EXPECT_HAS(refused(restore("in", "out", {"--tile", "16", "--tile-overlap", "16"})), "expected less than the tile of 16");
  EXPECT_HAS(refused(restore("in", "out", {"--memory", "plenty"})), "--memory: 'plenty' is not an amount of memory");
  EXPECT_HAS(refused(restore("in", "out", {"--upscale", "0.5"})), "--upscale 0.5: expected a number of 1 or more");
  EXPECT_HAS(refused(restore("in", "out", {"--short-edge", "-1"})), "--short-edge");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

TEST_F(RestoreCommand, APictureThatIsCutIsAnError) {
  write_png(folder_ / "in.png", natural_picture(40, 50, 1));
  const std::string whole = read_file(folder_ / "in.png");
  write_file_atomically(folder_ / "in.png", std::string_view(whole).substr(0, whole.size() / 2));
  EXPECT_HAS(refused(restore("in.png", "out.png")), "\nrelume: " + (folder_ / "in.png").string() + ": truncated PNG");
  EXPECT_FALSE(fs::exists(folder_ / "out.png"));
}

TEST_F(RestoreCommand, ADryRunPrintsThePictures) {
  write_pictures(folder_ / "in", 2);
  const Ended e = run(restore("in", "out", {"--dry-run", "--memory", "1GiB"}));
  EXPECT_EQ(e.code, 0) << e.err;
  EXPECT_HAS(e.out, "0.png: 40x36 to 40x36, whole, ");
  EXPECT_EQ(occurrences(e.out, "\n"), 2) << e.out;
  EXPECT_HAS(e.err, " of the 1.1 GB allowed (--memory)");
  EXPECT_FALSE(fs::exists(folder_ / "out"));
}

// Starts the command on a folder, waits until some results are there, and ends it with the signal.
TEST_F(RestoreCommand, AKilledRunIsCompletedByAnother) {
  make_folder(folder_ / "in");
  for (int i = 0; i < 40; ++i) write_png(folder_ / "in" / (std::to_string(i) + ".png"), natural_picture(90, 120, uint64_t(i)));
  ASSERT_EQ(run(restore("in", "whole")).code, 0);
  const auto done = [&](const char* out) {
    std::error_code none;
    int64_t count = 0;
    for (const auto& entry : fs::directory_iterator(folder_ / out, none)) count += entry.path().extension() == ".png";
    return count;
  };
  for (const auto& [out, signal] : {std::pair{"killed", SIGKILL}, {"interrupted", SIGINT}}) {
    const pid_t process = start(restore("in", out));
    const auto limit = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (done(out) < 3 && std::chrono::steady_clock::now() < limit) std::this_thread::sleep_for(std::chrono::milliseconds(2));
    kill(process, signal);
    const Ended stopped = end(process);
    ASSERT_LT(done(out), 40) << "the signal came too late to test anything";
    if (signal == SIGINT) {
      EXPECT_EQ(stopped.code, 130);
      EXPECT_HAS(stopped.err, " of 40 pictures; the same command with --skip-existing goes on from there");
    }
    const int64_t kept = done(out);
    const Ended again = run(restore("in", out, {"--skip-existing"}));
    EXPECT_EQ(again.code, 0) << again.err;
    EXPECT_HAS(again.out, ", " + std::to_string(kept) + " kept\n");
    for (int i = 0; i < 40; ++i) {
      const std::string name = std::to_string(i) + ".png";
      EXPECT_EQ(read_file(folder_.path() / out / name), read_file(folder_ / "whole" / name)) << out << ' ' << name;
    }
  }
}

}  // namespace
}  // namespace relume::test
