// Which picture becomes which file: what every command does that takes a picture or a folder and gives the same.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace relume {

struct PictureJob {
  std::filesystem::path from, to;
  std::string name;    // of the input within its folder, "a/b.jpg": the same on every machine
  int64_t sample = 0;  // of those that are made of one picture
};

// What becomes of results that exist already.
enum class Existing {
  refused,  // an InputError before anything is done
  replaced,
  kept,  // left to the caller, which looks at each
};

// `input` is a picture, or a folder with its sub-folders; `output` a file name, or the folder that results go to, as PNG, in
// the structure of the input. Throws an InputError when there is nothing to do, when two inputs would become one file, when
// `output` has no extension that can be written, and, where they are `refused`, when a result exists already. With more than
// one sample, each picture becomes so many files, a_0.png, a_1.png, ...
std::vector<PictureJob> picture_jobs(const std::filesystem::path& input, const std::filesystem::path& output, Existing existing,
                                     int64_t samples = 1);

}  // namespace relume
