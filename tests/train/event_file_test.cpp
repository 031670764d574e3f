#include "train/event_file.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/files.h"
#include "data/png.h"
#include "tests/support/errors.h"
#include "tests/support/numbers.h"
#include "tests/support/pictures.h"
#include "tests/support/python.h"

namespace relume::test {
namespace {

TEST(Crc32c, IsCastagnolis) {
  EXPECT_EQ(crc32c(""), 0u);
  EXPECT_EQ(crc32c("123456789"), 0xE3069283u);  // the check value of every catalogue
}

class Events : public testing::Test {
 protected:
  void write(int64_t keep, int first, int last) {
    EventFile events(path_, keep);
    for (int step = first; step < last; ++step) events.scalars(step, {{"train/loss", 1.0 / step}, {"train/lr", 1e-3}});
    size_ = events.file().size();
  }
  TemporaryFolder folder_;
  const std::filesystem::path path_ = folder_ / "events.out.tfevents.relume";
  int64_t size_ = 0;
};

TEST_F(Events, AreContinuedWhereTheyWereCut) {
  write(0, 1, 4);
  const int64_t three = size_;
  write(three, 4, 9);
  write(three, 4, 6);
  EXPECT_EQ(size_, three + 2 * (three - 40) / 3) << "every record of one kind has one length, 40 bytes are the header";
  EXPECT_EQ(int64_t(read_file(path_).size()), size_);
}

TEST_F(Events, TensorBoardReadsThem) {
  if (!python_has("tensorboard")) GTEST_SKIP() << "needs a python3 with tensorboard (RELUME_TEST_PYTHON names one)";
  write(0, 1, 4);
  {
    EventFile events(path_, size_);
    events.picture(3, "train/lq", encode_png(natural_picture(6, 10, 1)), 6, 10);
  }
  const std::string script = R"(
import io, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
events = EventAccumulator(sys.argv[1]); events.Reload()
assert [(e.step, round(e.value, 6)) for e in events.Scalars("train/loss")] == [(1, 1.0), (2, 0.5), (3, 0.333333)]
assert len(events.Scalars("train/lr")) == 3
image = events.Images("train/lq")[0]
assert (image.step, image.width, image.height) == (3, 10, 6), image
assert image.encoded_image_string[:4] == b"\x89PNG"
)";
  write_file_atomically(folder_ / "read.py", script);
  EXPECT_EQ(std::system((python() + " " + (folder_ / "read.py").string() + " " + path_.string() + " >/dev/null").c_str()), 0);
}

}  // namespace
}  // namespace relume::test
