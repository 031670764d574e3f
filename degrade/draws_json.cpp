#include "degrade/draws_json.h"

#include <charconv>
#include <cmath>

namespace relume {
namespace {

using Json = nlohmann::ordered_json;

uint64_t seed_of(const Json& value, const std::string& where) {
  const auto seed = value.find("seed");
  RELUME_CHECK(value.size() == 1 && seed != value.end() && seed->is_string(), where, R"(: expected {"seed": "..."})");
  const std::string& text = seed->get_ref<const std::string&>();
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  RELUME_CHECK(error == std::errc() && end == text.data() + text.size(), where, ": seed '", text,
               "' is no whole number of 64 bits");
  return number;
}

}  // namespace

Json to_json(const DrawRecord& record) {
  Json list = Json::array();
  for (const DrawRecord::Entry& entry : record.entries) {
    Json value;
    if (const FieldSeed* field = std::get_if<FieldSeed>(&entry.value))
      value = {{"seed", std::to_string(field->seed)}};
    else if (const double* number = std::get_if<double>(&entry.value))
      value = *number;
    else
      value = std::get<std::string>(entry.value);
    list.push_back({entry.name, value});
  }
  return list;
}

DrawRecord draw_record_from_json(const Json& list, const std::string& where) {
  RELUME_CHECK(list.is_array(), where, ": draws are a list of [name, value]");
  DrawRecord record;
  for (const Json& entry : list) {
    const std::string place = where + ": draw " + std::to_string(record.entries.size() + 1);
    RELUME_CHECK(entry.is_array() && entry.size() == 2 && entry[0].is_string(), place, ": expected [name, value]");
    const Json& value = entry[1];
    DrawRecord::Entry drawn{entry[0].get<std::string>(), 0.0};
    if (value.is_object())
      drawn.value = FieldSeed{seed_of(value, place)};
    else if (value.is_string())
      drawn.value = value.get<std::string>();
    else {
      RELUME_CHECK(value.is_number() && std::isfinite(value.get<double>()), place, ": expected a number, an option or a seed");
      drawn.value = value.get<double>();
    }
    record.entries.push_back(std::move(drawn));
  }
  return record;
}

}  // namespace relume
