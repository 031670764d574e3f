#include "tensor/cuda_module.h"

#include <dlfcn.h>

namespace relume {

Obstacle missing_driver() {
  if (void* library = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL)) {
    dlclose(library);
    return {};
  }
  return {std::string("there is no NVIDIA driver (") + dlerror() + ")",
          "install it, and start a container with its GPUs (docker run --gpus all)"};
}

std::filesystem::path cuda_module_path() {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / RELUME_CUDA_MODULE;
}

Gpus load_cuda_module(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path))
    return {.found = {},
            .obstacle = {"the CUDA backend was not built (" + path.string() + " does not exist)",
                         "build again with RELUME_CMAKE_ARGS=-DRELUME_CUDA=ON, which a machine without a driver does not "
                         "do by itself"}};
  const auto failed = [] {
    return Gpus{.found = {},
                .obstacle = {std::string("the CUDA backend cannot be loaded (") + dlerror() + ")",
                             "install the libraries of CUDA and cuDNN that it was built with, or name their folders in "
                             "LD_LIBRARY_PATH"}};
  };
  void* const module = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // never closed: the slots point into it
  if (!module) return failed();
  void* const load = dlsym(module, "relume_load_cuda");
  if (!load) return failed();
  Gpus all;
  reinterpret_cast<void (*)(Gpus&)>(load)(all);
  return all;
}

}  // namespace relume
