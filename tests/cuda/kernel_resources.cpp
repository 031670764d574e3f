// kernel_resources LIST OUT: the table of what every kernel of the build takes of a multiprocessor, from the reports named in
// LIST.
#include "tests/support/kernel_resources.h"

#include <iostream>

#include "base/error.h"
#include "base/files.h"

int main(int argc, char** argv) {
  using namespace relume;
  if (argc != 3) {
    std::cerr << "kernel_resources LIST OUT: expects the list of ptxas's reports, and the file to write\n";
    return 2;
  }
  try {
    write_file_atomically(argv[2], test::table_of(test::read_ptxas_reports(argv[1])));
    return 0;
  } catch (const Error& error) {
    std::cerr << "kernel_resources: " << error.what() << "\n";
    return error.exit_code();
  }
}
