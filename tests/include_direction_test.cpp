// Checks every #include "…" of the project against the house (design, section 1): a folder includes only folders below it.
// Names each offender and ends with 1. Run with the project's folder as the only argument.
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <regex>
#include <set>
#include <string>

namespace {

using Folders = std::set<std::string>;

// May be included by each folder, besides the folder itself.
const std::map<std::string, Folders>& allowed() {
  static const Folders picture{"base", "tensor", "configs", "data"},
      computing{"base", "tensor", "autograd", "layers", "models", "configs"};
  static const Folders floor{"base", "tensor", "autograd", "layers", "models", "data", "degrade", "configs"};
  static const Folders all{"base",    "tensor",  "autograd", "layers", "models", "data",
                           "degrade", "configs", "train",    "infer",  "cli",    "tests"};
  static const std::map<std::string, Folders> rules{{"base", {}},
                                                    {"configs", {"base"}},
                                                    {"tensor", {"base"}},
                                                    {"autograd", {"base", "tensor", "configs"}},
                                                    {"layers", {"base", "tensor", "autograd", "configs"}},
                                                    {"models", computing},
                                                    {"data", picture},
                                                    {"degrade", picture},
                                                    {"train", floor},
                                                    {"infer", floor},
                                                    {"cli", all},
                                                    {"bench", all},
                                                    {"fuzz", all},
                                                    {"tests", all}};
  return rules;
}

// Headers of other libraries that only some places may include: prefix of the header, prefix of the place.
const std::map<std::string, std::string>& fenced() {
  static const std::map<std::string, std::string> fences{
      {"omp.h", "tensor/cpu/"}, {"cuda", "tensor/cuda/"},  {"cublas", "tensor/cuda/"}, {"cudnn", "tensor/cuda/"},
      {"mpi.h", "train/dist/"}, {"nccl.h", "train/dist/"}, {"yaml-cpp/", "configs/"},  {"jpeglib", "data/"},
      {"png.h", "data/"},       {"webp/", "data/"},        {"hdf5.h", "data/"},        {"xxhash.h", "data/"},
      {"zlib.h", "data/"}};
  return fences;
}

std::string first_folder(const std::string& path) { return path.substr(0, path.find('/')); }

int check_file(const std::filesystem::path& file, const std::string& name) {
  static const std::regex quoted("^\\s*#\\s*include\\s*\"([^\"]+)\""), angled("^\\s*#\\s*include\\s*<([^>]+)>");
  const std::string folder = first_folder(name);
  std::ifstream in(file);
  std::string line;
  int offences = 0, number = 0;
  const auto offend = [&](const std::string& why) {
    std::cout << name << ":" << number << ": " << why << "\n";
    ++offences;
  };
  while (std::getline(in, line)) {
    ++number;
    std::smatch match;
    if (std::regex_search(line, match, quoted)) {
      const std::string target = first_folder(match[1]);
      if (!allowed().contains(target))
        offend("\"" + match[1].str() + "\" is not named from the root of the project");
      else if (target != folder && !allowed().at(folder).contains(target))
        offend(folder + " may not include " + target + ": " + match[1].str());
    } else if (std::regex_search(line, match, angled)) {
      for (const auto& [header, place] : fenced())
        if (match[1].str().starts_with(header) && !name.starts_with(place) && folder != "tests" && folder != "bench")
          offend("<" + match[1].str() + "> belongs into " + place + " alone");
    }
  }
  return offences;
}

}  // namespace

int main(int argc, char** argv) {
  const std::filesystem::path root = argc == 2 ? argv[1] : ".";
  int files = 0, offences = 0;
  for (const auto& [folder, rule] : allowed())
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      const std::string extension = entry.path().extension().string();
      if (extension != ".h" && extension != ".cpp" && extension != ".cu" && extension != ".cuh") continue;
      ++files;
      offences += check_file(entry.path(), entry.path().lexically_relative(root).generic_string());
    }
  std::cout << files << " files, " << offences << " offences\n";
  return files == 0 || offences > 0;
}
