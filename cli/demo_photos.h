// The demo's list of photographs, configs/demo/photos.txt: one picture per line in four columns (package, file, licence,
// split); # starts a comment.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace relume {

enum class PhotoSplit { train, held_out };

struct DemoPhoto {
  std::string package;  // the Debian package that holds the picture
  std::filesystem::path file;
  std::string licence;
  PhotoSplit split = PhotoSplit::train;
};

// The list in file order. InputError, with file and line, for a malformed line, a picture listed twice, or a picture that is
// not on this machine (naming the package to install); also when a split has no picture.
std::vector<DemoPhoto> read_photo_list(const std::filesystem::path& path);

}  // namespace relume
