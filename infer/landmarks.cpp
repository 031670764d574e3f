#include "infer/landmarks.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "infer/prompts.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

constexpr int64_t longest_list = 1 << 20, longest_table = int64_t(1) << 28;  // bytes
constexpr double largest = 1e6;                                              // coordinate
constexpr size_t numbers = 2 * std::tuple_size_v<Landmarks>;

std::string without_ending(const std::string& name) { return fs::path(name).replace_extension().generic_string(); }

// The words of a line, between blanks and commas.
std::vector<std::string> words_of(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c == ',' || c == '\t' || c == '\r'; }, ' ');
  std::vector<std::string> words = split(text, ' ');
  std::erase(words, "");
  return words;
}

double coordinate(const std::string& text, const std::string& where) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  RELUME_CHECK(error == std::errc() && end == text.data() + text.size() && std::abs(value) <= largest, where, ": '",
               printable(text), "' is no coordinate in pixels");
  return value;
}

Landmarks landmarks_of(const std::vector<std::string>& words, const std::string& where) {
  RELUME_CHECK(words.size() == numbers, where, ": ", words.size(), " numbers, expected ", numbers,
               ": x1 y1 ... x5 y5 of a face's eyes, nose and corners of the mouth");
  Landmarks face;
  for (size_t i = 0; i < face.size(); ++i) face[i] = {coordinate(words[2 * i], where), coordinate(words[2 * i + 1], where)};
  return face;
}

std::vector<std::string> expected_header() {
  std::vector<std::string> names{"file_name"};
  for (size_t i = 1; i <= numbers / 2; ++i)
    for (const char* axis : {"x", "y"}) names.push_back(axis + std::to_string(i));
  return names;
}

}  // namespace

double eye_distance(const Landmarks& face) { return std::hypot(face[0].x - face[1].x, face[0].y - face[1].y); }

FaceLandmarks FaceLandmarks::from(const fs::path& path) {
  FaceLandmarks all;
  if (fs::is_directory(path)) {
    all.folder_ = path;
    return all;
  }
  const std::string where = path.string();
  const auto rows = read_csv(read_file(path, longest_table), where);
  std::vector<std::string> header;
  if (!rows.empty())
    for (const std::string& name : rows.front()) header.push_back(join(words_of(name), " "));
  RELUME_CHECK(header == expected_header(), where, ": its first line is ", printable(join(header, ",")), "; expected ",
               join(expected_header(), ","));
  for (size_t r = 1; r < rows.size(); ++r) {
    const std::string row = detail::concat(where, ": row ", r + 1);
    std::vector<std::string> fields;
    for (size_t i = 1; i < rows[r].size(); ++i) fields.push_back(join(words_of(rows[r][i]), " "));
    all.table_[without_ending(rows[r][0])].push_back(landmarks_of(fields, row));
  }
  return all;
}

std::vector<Landmarks> FaceLandmarks::find(const std::string& name) const {
  if (folder_.empty()) {
    const auto at = table_.find(without_ending(name));
    return at == table_.end() ? std::vector<Landmarks>() : at->second;
  }
  const fs::path file = folder_ / fs::path(without_ending(name) + ".txt");
  std::vector<Landmarks> faces;
  if (!fs::exists(file)) return faces;
  int64_t number = 0;
  for (const std::string& line : split(read_file(file, longest_list), '\n')) {
    const std::vector<std::string> words = words_of(line);
    ++number;
    if (!words.empty()) faces.push_back(landmarks_of(words, detail::concat(file.string(), ":", number)));
  }
  return faces;
}

}  // namespace relume
