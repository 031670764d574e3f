// Where faces lie in pictures, from files: there is no detector here.
#pragma once

#include <array>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace relume {

struct Point {
  double x = 0, y = 0;  // pixels, the middle of the first at 0
};

// Eyes, tip of the nose, corners of the mouth, of two the one on the left of the picture first.
using Landmarks = std::array<Point, 5>;

double eye_distance(const Landmarks& face);

// The faces of pictures, a row each: x1, y1, ..., x5, y5 in pixels of the picture as it is seen (turned as its EXIF data say).
class FaceLandmarks {
 public:
  // A CSV file whose first line is file_name, x1, y1, ..., x5, y5; a picture may have several rows, or none. Or a folder with a
  // text file for each picture, "sea/a.txt" for "sea/a.jpg", a face a line, its ten numbers separated by blanks or commas.
  // InputError with file and row for what is neither.
  static FaceLandmarks from(const std::filesystem::path& table_or_folder);

  // Of a picture by its name within its folder, or that without its ending, in the order of the rows; empty where it has none.
  std::vector<Landmarks> find(const std::string& name) const;

 private:
  std::filesystem::path folder_;
  std::map<std::string, std::vector<Landmarks>> table_;  // by the name without its ending
};

}  // namespace relume
