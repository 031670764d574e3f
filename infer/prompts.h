// What is to be seen in each picture, in words: for all of them the same, from a text file beside each, or from a table.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace relume {

// Rows of comma-separated values as RFC 4180 has them: fields in double quotes may hold commas, line breaks and doubled quotes.
// Empty lines are left out. InputError, beginning with `where`, for a quote that is not closed or stands inside a field.
std::vector<std::vector<std::string>> read_csv(std::string_view text, const std::string& where);

class Prompts {
 public:
  struct Entry {
    std::string positive;
    std::optional<std::string> negative;  // in place of the one for all
  };

  Prompts() = default;  // none: every picture's is empty
  static Prompts of_all(std::string text);
  // A folder with a text file for each picture, "sea/a.txt" for "sea/a.jpg"; or a CSV file whose first line names the columns
  // file_name, pos_prompt (or prompt) and, where there is one, neg_prompt. InputError for what is neither.
  static Prompts from(const std::filesystem::path& folder_or_table);

  // Of a picture by its name within its folder, or that without its ending. Nothing where there is no entry.
  std::optional<Entry> find(const std::string& name) const;

 private:
  std::optional<Entry> all_ = Entry{};
  std::filesystem::path folder_;
  std::map<std::string, Entry> table_;
};

}  // namespace relume
