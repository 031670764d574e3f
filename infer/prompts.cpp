#include "infer/prompts.h"

#include <algorithm>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

constexpr int64_t longest_prompt = 1 << 16, longest_table = int64_t(1) << 28;  // bytes

std::string trimmed(std::string text) {
  const char* const blanks = " \t\r\n";
  text.erase(0, text.find_first_not_of(blanks));
  text.erase(text.find_last_not_of(blanks) + 1);
  return text;
}

std::string without_ending(const std::string& name) { return fs::path(name).replace_extension().generic_string(); }

// The column of one of these names; the table's size where there is none.
size_t column_of(const std::vector<std::string>& header, const std::vector<std::string>& names) {
  for (size_t i = 0; i < header.size(); ++i)
    if (std::ranges::count(names, lower_case(trimmed(header[i]))) > 0) return i;
  return header.size();
}

}  // namespace

std::vector<std::vector<std::string>> read_csv(std::string_view text, const std::string& where) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> row;
  std::string field;
  bool quoted = false, was_quoted = false;
  int64_t line = 1, opened = 0;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);  // as spreadsheets write it
  const auto end_field = [&] {
    row.push_back(std::move(field));
    field.clear();
    was_quoted = false;
  };
  const auto end_row = [&] {
    const bool empty = row.empty() && field.empty() && !was_quoted;
    end_field();
    if (!empty) rows.push_back(row);
    row.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (quoted && c == '"' && i + 1 < text.size() && text[i + 1] == '"') {
      field += text[++i];
    } else if (quoted) {
      quoted = c != '"';
      if (quoted) field += c;
    } else if (c == '"') {
      RELUME_CHECK(field.empty() && !was_quoted, where, ":", line,
                   ": a quote inside a field; put the field in quotes and double it");
      quoted = was_quoted = true;
      opened = line;
    } else if (c == ',') {
      end_field();
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r' || i + 1 == text.size() || text[i + 1] != '\n') {
      RELUME_CHECK(!was_quoted, where, ":", line, ": text behind the closing quote of a field");
      field += c;
    }
  }
  RELUME_CHECK(!quoted, where, ":", opened, ": a quote that is not closed");
  end_row();
  return rows;
}

Prompts Prompts::of_all(std::string text) {
  Prompts prompts;
  prompts.all_ = Entry{trimmed(std::move(text)), {}};
  return prompts;
}

Prompts Prompts::from(const fs::path& path) {
  Prompts prompts;
  prompts.all_.reset();
  if (fs::is_directory(path)) {
    prompts.folder_ = path;
    return prompts;
  }
  const std::string where = path.string();
  const auto rows = read_csv(read_file(path, longest_table), where);
  RELUME_CHECK(!rows.empty(), where, ": is empty; expected a line of column names, file_name and pos_prompt");
  const std::vector<std::string>& header = rows.front();
  const size_t name = column_of(header, {"file_name", "file", "name"}), positive = column_of(header, {"pos_prompt", "prompt"}),
               negative = column_of(header, {"neg_prompt"});
  RELUME_CHECK(name < header.size() && positive < header.size(), where, ": its first line, ", printable(join(header, ", ")),
               ", names no columns file_name and pos_prompt");
  for (size_t r = 1; r < rows.size(); ++r) {
    const std::vector<std::string>& row = rows[r];
    RELUME_CHECK(row.size() == header.size(), where, ": row ", r + 1, " has ", row.size(), " fields, the first has ",
                 header.size());
    Entry entry{trimmed(row[positive]), {}};
    if (negative < header.size()) entry.negative = trimmed(row[negative]);
    RELUME_CHECK(prompts.table_.emplace(trimmed(row[name]), std::move(entry)).second, where, ": row ", r + 1, ": ",
                 printable(row[name]), " stands there twice");
  }
  return prompts;
}

std::optional<Prompts::Entry> Prompts::find(const std::string& name) const {
  if (all_) return all_;
  if (!folder_.empty()) {
    const fs::path file = folder_ / fs::path(without_ending(name) + ".txt");
    if (!fs::exists(file)) return {};
    return Entry{trimmed(read_file(file, longest_prompt)), {}};
  }
  auto at = table_.find(name);
  if (at == table_.end())
    at = std::find_if(table_.begin(), table_.end(),
                      [&](const auto& entry) { return without_ending(entry.first) == without_ending(name); });
  if (at == table_.end()) return {};
  return at->second;
}

}  // namespace relume
