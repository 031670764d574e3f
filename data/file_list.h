// Lists of pictures, with or without captions. Three kinds, told apart by the name's extension (any case):
//   .csv    comma-separated with a header line (RFC 4180: quoted fields may hold commas, line ends and doubled quotes); column
//           image_path is needed, caption_short and caption_long may follow, others are ignored;
//   .jsonl  one JSON object per line, with the same three names as keys, strings; others are ignored;
//   other   one path per line; blank lines and lines beginning with # are ignored.
// Relative paths count from the list's folder. A UTF-8 byte order mark at the start is ignored. Text must be UTF-8.
//
// Captions beside a picture photo.jpg are read where the list names none: photo.short.txt, photo.long.txt, and photo.txt for
// whichever of the two is missing.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace relume {

struct Captions {
  std::string short_text, long_text;  // UTF-8; empty where there is none
  bool operator==(const Captions&) const = default;
};

struct ListEntry {
  std::filesystem::path path;
  std::optional<Captions> captions;  // none: the list has no column for them
  int64_t line = 0;                  // in the list, from 1; 0 for a picture found in a folder
};

enum class ListFormat { lines, csv, jsonl };
ListFormat list_format_of(const std::filesystem::path& list);  // by its extension

// The entries of a list's text; `name` is the list's path, for messages and relative paths. Whether the pictures exist is not
// looked at. Throws InputError with file and line for text that is not of the format.
std::vector<ListEntry> parse_file_list(std::string_view text, const std::filesystem::path& name, ListFormat format);

// The entries of a folder (pictures in it and below it, sorted by path) or of a list file. Throws InputError when it is
// missing, names no picture, or is a pack.
std::vector<ListEntry> list_pictures(const std::filesystem::path& folder_or_list);

// The captions in text files beside a picture, without surrounding blanks. Throws InputError naming the file when one is larger
// than 64 kB or not UTF-8.
Captions captions_beside(const std::filesystem::path& picture);

}  // namespace relume
