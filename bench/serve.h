// What the programs behind compare_torch.py have in common: the line protocol, and how they end.
#pragma once

#include "base/error.h"
#include "tensor/backends.h"

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

namespace relume {

// Standard input takes one word a line and standard output gives one JSON object a line: `reply` first, then answer(word) to
// each word until `quit` or the end.
template <class Answer> void serve_lines(nlohmann::ordered_json reply, Answer&& answer) {
  std::string word;
  do {
    std::cout << reply.dump() << std::endl;
    if (!std::getline(std::cin, word) || word == "quit") return;
    reply = answer(word);
  } while (true);
}

// main() of a program called `name`: body(app) adds its options to `app`, parses and serves. Gives the exit code (design D11).
template <class Body> int bench_main(const std::string& name, const std::string& purpose, Body&& body) {
  CLI::App app{purpose, name};
  try {
    register_backends();
    body(app);
    return 0;
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  } catch (const Error& error) {
    std::cerr << name << ": " << error.what() << std::endl;
    return error.exit_code();
  }
}

}  // namespace relume
