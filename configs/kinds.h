// How the messages and the help of configurations call what a field may hold.
#pragma once

#include <string>
#include <vector>

#include "configs/reader.h"

namespace relume::detail {

std::string kind_name(const bool*);         // "true or false"
std::string kind_name(const int*);          // "an integer"
std::string kind_name(const int64_t*);      // "an integer"
std::string kind_name(const double*);       // "a number"
std::string kind_name(const std::string*);  // "text"
std::string kind_name(const Struct&);       // "a section"
std::string kind_name(const List&);         // "a list [a, b, ...]"; "a list of 2" if its length is fixed
std::string kind_name(const Optional&);     // that of the value
std::string kind_name(const Value&);

std::string range_text(Range range);                                // "1..64", "at least 1", "at most 64"; empty without bounds
std::string choices_text(const std::vector<std::string>& choices);  // "'a'", "'a' or 'b'", "'a', 'b' or 'c'"
std::string number_text(double x);                                  // the shortest decimal that reads back as x

}  // namespace relume::detail
