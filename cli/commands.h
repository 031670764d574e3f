// The sub-commands of `relume`, one file each. add_<name>() declares arguments and help and sets the callback that does the
// work; a callback that ends with another exit code than 0 without an error of its own throws CLI::RuntimeError(code).
#pragma once

namespace CLI {
class App;
}

namespace relume {

void add_train(CLI::App& app);
void add_restore(CLI::App& app);
void add_degrade(CLI::App& app);
void add_metrics(CLI::App& app);
void add_inspect(CLI::App& app);
void add_convert(CLI::App& app);
void add_init(CLI::App& app);
void add_pack(CLI::App& app);
void add_scan(CLI::App& app);
void add_parity(CLI::App& app);
void add_demo(CLI::App& app);
void add_doctor(CLI::App& app);

}  // namespace relume
