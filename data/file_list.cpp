#include "data/file_list.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/image.h"
#include "data/pack/pack.h"

namespace relume {
namespace {

constexpr size_t max_line = size_t(1) << 20, max_path = 4096;
constexpr int64_t max_caption_file = 64000;
constexpr std::string_view blanks = " \t\r\n";

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(blanks);
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, text.find_last_not_of(blanks) - begin + 1);
}

// A place in a list, for messages: "list.csv:12".
std::string place(const std::filesystem::path& list, int64_t line) { return list.string() + ":" + std::to_string(line); }

ListEntry entry_of(std::string_view path, std::optional<Captions> captions, const std::filesystem::path& list, int64_t line) {
  RELUME_CHECK(!path.empty(), place(list, line), ": no path; give image_path a value or remove the line");
  RELUME_CHECK(path.size() <= max_path && path.find('\0') == std::string_view::npos, place(list, line),
               ": not a path: ", path.size(), " bytes, at most ", max_path, " allowed, none of them zero");
  for (const std::string_view text : {path, captions ? std::string_view(captions->short_text) : std::string_view(),
                                      captions ? std::string_view(captions->long_text) : std::string_view()})
    RELUME_CHECK(is_utf8(text), place(list, line), ": text that is not UTF-8; save the list as UTF-8");
  return {list.parent_path() / path, std::move(captions), line};
}

std::vector<ListEntry> parse_lines(std::string_view text, const std::filesystem::path& list) {
  std::vector<ListEntry> entries;
  int64_t line = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view path = trimmed(text.substr(at, end - at));
    ++line;
    if (!path.empty() && path[0] != '#') entries.push_back(entry_of(path, {}, list, line));
    at = end + 1;
  }
  return entries;
}

// Records of a CSV text one after another (RFC 4180).
class CsvReader {
 public:
  CsvReader(std::string_view text, const std::filesystem::path& list) : text_(text), list_(list) {}

  // The next record that is not an empty line; false at the end.
  bool next(std::vector<std::string>& fields) {
    while (at_ < text_.size()) {
      fields.clear();
      record_line_ = line_;
      while (field(fields)) {}
      if (fields.size() > 1 || !fields[0].empty()) return true;
    }
    return false;
  }
  int64_t line() const { return record_line_; }  // on which the last record began

 private:
  // Appends a field; true when another one of the same record follows.
  bool field(std::vector<std::string>& fields) {
    const bool quoted = at_ < text_.size() && text_[at_] == '"';
    std::string value = quoted ? quoted_value() : std::string();
    const size_t end = std::min(text_.find_first_of(",\n", at_), text_.size());
    std::string_view rest = text_.substr(at_, end - at_);
    if (rest.ends_with('\r') && (end == text_.size() || text_[end] == '\n')) rest.remove_suffix(1);
    RELUME_CHECK(!quoted || rest.empty(), place(list_, line_),
                 ": text behind a closing quote; double the quotes within a field");
    RELUME_CHECK(rest.size() <= max_line, place(list_, line_), ": a field of more than ", max_line, " bytes");
    fields.push_back(value.append(rest));
    at_ = end;
    if (at_ == text_.size()) return false;
    line_ += text_[at_] == '\n';
    return text_[at_++] == ',';
  }

  std::string quoted_value() {
    std::string value;
    for (++at_;; ++at_) {
      RELUME_CHECK(at_ < text_.size() && value.size() < max_line, place(list_, record_line_),
                   ": a quoted field without end, or one of more than ", max_line, " bytes; close its quote");
      if (text_[at_] == '"' && (++at_ == text_.size() || text_[at_] != '"')) return value;
      line_ += text_[at_] == '\n';
      value.push_back(text_[at_]);
    }
  }

  std::string_view text_;
  const std::filesystem::path& list_;
  size_t at_ = 0;
  int64_t line_ = 1, record_line_ = 1;
};

std::vector<ListEntry> parse_csv(std::string_view text, const std::filesystem::path& list) {
  CsvReader reader(text, list);
  std::vector<std::string> fields;
  RELUME_CHECK(reader.next(fields), list.string(), ": empty; a CSV list begins with a line of column names");
  const size_t columns = fields.size();
  const auto column = [&](const char* name) {
    const auto at = std::find_if(fields.begin(), fields.end(), [&](const std::string& f) { return trimmed(f) == name; });
    return size_t(at - fields.begin());
  };
  const size_t path = column("image_path"), short_text = column("caption_short"), long_text = column("caption_long");
  RELUME_CHECK(path < columns, list.string(), ": no column named image_path in its first line; name the columns image_path,",
               " caption_short, caption_long");
  std::vector<ListEntry> entries;
  while (reader.next(fields)) {
    RELUME_CHECK(fields.size() == columns, place(list, reader.line()), ": ", fields.size(), " fields, the first line names ",
                 columns, "; quote fields that hold commas");
    std::optional<Captions> captions;
    if (short_text < columns || long_text < columns)
      captions = {short_text < columns ? fields[short_text] : "", long_text < columns ? fields[long_text] : ""};
    entries.push_back(entry_of(trimmed(fields[path]), std::move(captions), list, reader.line()));
  }
  return entries;
}

// The string under a key; none when the key is missing or null.
std::optional<std::string> text_of(const nlohmann::json& object, const char* key, const std::string& where) {
  const auto at = object.find(key);
  if (at == object.end() || at->is_null()) return {};
  RELUME_CHECK(at->is_string(), where, ": ", key, " is not a string");
  return at->get<std::string>();
}

std::vector<ListEntry> parse_jsonl(std::string_view text, const std::filesystem::path& list) {
  std::vector<ListEntry> entries;
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = trimmed(text.substr(at, end - at));
    const std::string where = place(list, ++number);
    at = end + 1;
    if (line.empty()) continue;
    RELUME_CHECK(line.size() <= max_line, where, ": a line of ", line.size(), " bytes, at most ", max_line, " allowed");
    const nlohmann::json object = nlohmann::json::parse(line, nullptr, false);
    RELUME_CHECK(object.is_object(), where, ": not a JSON object; every line is one, such as {\"image_path\": \"a.jpg\"}");
    const std::optional<std::string> path = text_of(object, "image_path", where);
    const std::optional<std::string> short_text = text_of(object, "caption_short", where),
                                     long_text = text_of(object, "caption_long", where);
    std::optional<Captions> captions;
    if (short_text || long_text) captions = {short_text.value_or(""), long_text.value_or("")};
    entries.push_back(entry_of(path.value_or(""), std::move(captions), list, number));
  }
  return entries;
}

// The text of a caption file; none when there is no such file.
std::optional<std::string> caption_file(std::filesystem::path picture, const char* extension) {
  const std::filesystem::path file = picture.replace_extension(extension);
  std::error_code error;
  if (!std::filesystem::is_regular_file(file, error)) return {};
  const std::string text = read_file(file, max_caption_file);
  RELUME_CHECK(is_utf8(text), file.string(), ": not UTF-8; save the caption as UTF-8");
  return std::string(trimmed(text));
}

}  // namespace

ListFormat list_format_of(const std::filesystem::path& list) {
  const std::string extension = lower_case(list.extension().string());
  return extension == ".csv" ? ListFormat::csv : extension == ".jsonl" ? ListFormat::jsonl : ListFormat::lines;
}

std::vector<ListEntry> parse_file_list(std::string_view text, const std::filesystem::path& name, ListFormat format) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  switch (format) {
    case ListFormat::csv: return parse_csv(text, name);
    case ListFormat::jsonl: return parse_jsonl(text, name);
    case ListFormat::lines: break;
  }
  return parse_lines(text, name);
}

std::vector<ListEntry> list_pictures(const std::filesystem::path& source) {
  const std::string name = source.string();
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(source, error);
  RELUME_CHECK(std::filesystem::exists(status), name, ": no such folder or file list");
  std::vector<ListEntry> entries;
  if (std::filesystem::is_directory(status)) {
    for (std::filesystem::path& path : list_files(source, image_extensions(), true))
      entries.push_back({std::move(path), {}, 0});
    RELUME_CHECK(!entries.empty(), name, ": no pictures in this folder or below it (looked for ",
                 join(image_extensions(), ", "), ")");
    return entries;
  }
  RELUME_CHECK(!is_pack_name(source), name, ": a pack is no folder or list of files; name what it was packed from");
  entries = parse_file_list(read_file(source), source, list_format_of(source));
  RELUME_CHECK(!entries.empty(), name, ": this list names no pictures; it needs one path per line");
  return entries;
}

Captions captions_beside(const std::filesystem::path& picture) {
  std::optional<std::string> short_text = caption_file(picture, ".short.txt"), long_text = caption_file(picture, ".long.txt");
  if (!short_text || !long_text) {
    const std::string both = caption_file(picture, ".txt").value_or("");
    if (!short_text) short_text = both;
    if (!long_text) long_text = both;
  }
  return {*std::move(short_text), *std::move(long_text)};
}

}  // namespace relume
