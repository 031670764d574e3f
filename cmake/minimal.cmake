# RELUME_MINIMAL: the house without its picture ladder, for a GPU machine that has little beside compilers (bench/gpu_check.sh).
# What is left of each folder serves `relume parity` on the networks' cases and the benchmarks.
relume_library(data
  SOURCES data/checkpoint/mapped_tensor.cpp data/checkpoint/safetensors.cpp
  NEEDS relume::tensor Threads::Threads PRIVATE nlohmann_json::nlohmann_json)
relume_library(train
  SOURCES train/adamw.cpp train/weight_average.cpp
  NEEDS relume::models relume::data nlohmann_json::nlohmann_json)
relume_library(cli
  SOURCES cli/device_option.cpp cli/parity_command.cpp cli/parity/case.cpp cli/parity/cleaner_kinds.cpp cli/parity/kinds.cpp
    cli/parity/procedural.cpp cli/parity/report.cpp cli/parity/runner.cpp cli/parity/swinir_kinds.cpp
    cli/parity/unet_kinds.cpp cli/parity/vae_kinds.cpp
  NEEDS relume::train nlohmann_json::nlohmann_json PRIVATE CLI11::CLI11)
target_compile_definitions(relume_cli PRIVATE RELUME_MINIMAL)
