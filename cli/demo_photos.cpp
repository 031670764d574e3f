#include "cli/demo_photos.h"

#include <algorithm>
#include <iterator>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/files.h"

namespace relume {
namespace {

DemoPhoto parse_line(const std::string& line, const std::string& where) {
  std::istringstream words(line);
  const std::vector<std::string> columns{std::istream_iterator<std::string>(words), {}};
  RELUME_CHECK(columns.size() == 4, where, ": ", columns.size(), " columns; expected four: package, file, licence, split");
  const std::string& split = columns[3];
  RELUME_CHECK(split == "train" || split == "held-out", where, ": split is '", split, "'; expected 'train' or 'held-out'");
  return {columns[0], columns[1], columns[2], split == "train" ? PhotoSplit::train : PhotoSplit::held_out};
}

}  // namespace

std::vector<DemoPhoto> read_photo_list(const std::filesystem::path& path) {
  std::istringstream lines(read_file(path, 1 << 20));
  std::vector<DemoPhoto> photos;
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    const std::string where = path.string() + ":" + std::to_string(number);
    DemoPhoto photo = parse_line(line, where);
    RELUME_CHECK(std::ranges::find(photos, photo.file, &DemoPhoto::file) == photos.end(), where, ": ", photo.file.string(),
                 " is listed twice; keep one of the lines");
    std::error_code ignored;
    RELUME_CHECK(std::filesystem::is_regular_file(photo.file, ignored), where, ": ", photo.file.string(),
                 " is missing; install its package (apt-get install ", photo.package,
                 "), or use pictures of your own with --photos DIR");
    photos.push_back(std::move(photo));
  }
  for (const auto& [split, name] : {std::pair(PhotoSplit::train, "train"), std::pair(PhotoSplit::held_out, "held-out")})
    RELUME_CHECK(std::ranges::count(photos, split, &DemoPhoto::split) > 0, path.string(), ": no picture is marked '", name,
                 "'; mark at least one");
  return photos;
}

}  // namespace relume
