#include "train/run_log.h"

#include <cstring>

#include "data/convert.h"
#include "data/jpeg.h"

namespace relume {

namespace {

// Pictures side by side, four in a row, black where there are none: u8 [rows * H, columns * W, 3].
Tensor grid(const Tensor& pictures) {
  const int64_t n = pictures.shape(0), height = pictures.shape(1), width = pictures.shape(2);
  const int64_t columns = std::min<int64_t>(n, 4), rows = (n + columns - 1) / columns;
  const Tensor pixels = to_u8_rounded(pictures), out = Tensor::zeros({rows * height, columns * width, 3}, DType::u8);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t y = 0; y < height; ++y)
      std::memcpy(out.data<uint8_t>() + ((i / columns * height + y) * columns + i % columns) * width * 3,
                  pixels.data<uint8_t>() + (i * height + y) * width * 3, size_t(width * 3));
  return out;
}

}  // namespace

RunLog::RunLog(const std::filesystem::path& folder, const LogPosition& position)
    : lines_(folder / "log.jsonl", position.lines), events_(folder / "events.out.tfevents.relume", position.events) {}

void RunLog::scores(int64_t step, const std::string& section, const std::vector<Score>& values) {
  nlohmann::ordered_json line{{"step", step}};
  std::vector<std::pair<std::string, double>> events;
  for (const Score& score : values) {
    line[section == "train" ? score.name : section + "_" + score.name] = score.value;
    events.emplace_back(section + "/" + score.name, score.value);
  }
  lines_.write(line);
  events_.scalars(step, events);
}

void RunLog::pictures(int64_t step, const std::string& tag, const Tensor& pictures) {
  constexpr int quality = 95;  // a lossless grid of 512-pixel pictures would be ten times the size
  const Tensor picture = grid(pictures);
  events_.picture(step, tag, encode_jpeg(picture, quality), picture.shape(0), picture.shape(1));
}

}  // namespace relume
