// Keeps two processes from writing to one folder at the same time.
#pragma once

#include <filesystem>

namespace relume {

class FolderLock {
 public:
  // Locks the folder for the life of the object; the system lets go when the process ends, however it ends. Throws InputError
  // when another process holds it. Where a file system has no locks, nothing is locked.
  explicit FolderLock(const std::filesystem::path& folder);
  ~FolderLock();
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace relume
