#include "base/files.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

#include "base/error.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

class Files : public testing::Test {
 protected:
  Files() : folder(fs::path(testing::TempDir()) / ("relume_files_" + std::to_string(::getpid()))) { make_folder(folder); }
  ~Files() override { fs::remove_all(folder); }

  std::vector<std::string> names() const {
    std::vector<std::string> result;
    for (const auto& entry : fs::directory_iterator(folder)) result.push_back(entry.path().filename().string());
    std::sort(result.begin(), result.end());
    return result;
  }
  template <class E> static std::string error_of(const auto& act) {
    try {
      act();
    } catch (const E& error) {
      return error.what();
    }
    return "no error";
  }

  const fs::path folder;
};

TEST_F(Files, WritesAndReads) {
  const std::string contents("a\0b\n", 4);
  write_file_atomically(folder / "a", contents);
  EXPECT_EQ(read_file(folder / "a"), contents);
  write_file_atomically(folder / "a", "");
  EXPECT_EQ(read_file(folder / "a"), "");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(Files, WithoutCommitTheTargetIsUntouched) {
  write_file_atomically(folder / "a", "old");
  try {
    AtomicFile file(folder / "a");
    file.write("new");
    EXPECT_EQ(names().size(), 2u);
    throw Error("in between");
  } catch (const Error&) {}
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(Files, TwoWritersOfOneFileBothEndWhole) {
  AtomicFile first(folder / "a"), second(folder / "a");
  first.write("first");
  second.write("second");
  first.commit();
  EXPECT_EQ(read_file(folder / "a"), "first");
  second.commit();
  EXPECT_EQ(read_file(folder / "a"), "second");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

TEST_F(Files, KeepsPermissionsAndLinks) {
  write_file_atomically(folder / "a", "x");
  ::chmod((folder / "a").c_str(), 0640);
  fs::create_symlink("a", folder / "link");
  write_file_atomically(folder / "link", "y");
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(read_file(folder / "a"), "y");
  struct stat facts {};
  ::stat((folder / "a").c_str(), &facts);
  EXPECT_EQ(facts.st_mode & 0777, 0640u);
}

TEST_F(Files, RefusesTargetsThatAreNoFiles) {
  EXPECT_EQ(error_of<InputError>([&] { AtomicFile file(folder); }),
            folder.string() + ": cannot write: a folder of this name exists");
  // Renaming onto it would replace the device by a file.
  EXPECT_EQ(error_of<InputError>([] { AtomicFile file("/dev/full"); }), "/dev/full: cannot write: not a regular file");
  EXPECT_EQ(error_of<Error>([&] { AtomicFile file(folder / "none" / "a"); }),
            (folder / "none" / "a").string() + ": cannot create a temporary file beside it: No such file or directory");
}

TEST_F(Files, AFailingWriteLeavesTheTarget) {
  write_file_atomically(folder / "a", "old");
  const auto handler = ::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small{.rlim_cur = 1000, .rlim_max = before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const std::string message = error_of<Error>([&] { write_file_atomically(folder / "a", std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, handler);
  EXPECT_EQ(message, (folder / "a").string() + ": cannot write: File too large");
  EXPECT_EQ(read_file(folder / "a"), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

// A child of its own name space mounts a disk of 64 KiB and fills it; what happened comes back through a pipe.
TEST_F(Files, AFullDiskIsNamedWithItsFigures) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  const pid_t child = ::fork();
  if (child == 0) {
    std::string report = "cannot mount";
    const bool own = ::unshare(CLONE_NEWNS) == 0 || ::unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0;
    if (own && ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
        ::mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64k") == 0) {
      write_file_atomically(folder / "a", "old");
      report = error_of<Error>([&] { write_file_atomically(folder / "a", std::string(200000, 'x')); });
      report.append("|").append(read_file(folder / "a")).append("|").append(std::to_string(names().size()));
    }
    ::_exit(::write(ends[1], report.data(), report.size()) == ssize_t(report.size()) ? 0 : 1);
  }
  ::close(ends[1]);
  std::string report(4096, '\0');
  report.resize(size_t(std::max<ssize_t>(0, ::read(ends[0], report.data(), report.size()))));
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  if (report == "cannot mount") GTEST_SKIP() << "mounting a small disk is not allowed here";
  EXPECT_EQ(report,
            (folder / "a").string() +
                ": cannot write: No space left on device; at least 200.0 kB needed, 61.4 kB free; make room and repeat|old|1");
}

TEST_F(Files, ReadRefuses) {
  EXPECT_EQ(error_of<InputError>([&] { read_file(folder / "none"); }),
            (folder / "none").string() + ": cannot open: No such file or directory");
  EXPECT_EQ(error_of<InputError>([&] { read_file(folder); }), folder.string() + ": is a folder, expected a file");
  ::mkfifo((folder / "pipe").c_str(), 0600);
  EXPECT_EQ(error_of<InputError>([&] { read_file(folder / "pipe"); }), (folder / "pipe").string() + ": is not a regular file");
  EXPECT_EQ(error_of<InputError>([&] { read_file("/dev/zero"); }), "/dev/zero: is not a regular file");
  write_file_atomically(folder / "a", std::string(2000, 'x'));
  EXPECT_EQ(read_file(folder / "a", 2000).size(), 2000u);
  EXPECT_EQ(error_of<InputError>([&] { read_file(folder / "a", 1999); }),
            (folder / "a").string() + ": 2000 bytes, more than the 1999 allowed here");
}

TEST_F(Files, ListsByExtensionInOrder) {
  make_folder(folder / "sub" / "deep");
  for (const char* name : {"b.JPG", "a.jpg", "c.png", "d.txt", "jpg", "sub/e.jpeg", "sub/deep/f.jpg"})
    write_file_atomically(folder / name, "");
  fs::create_directory(folder / "folder.jpg");
  fs::create_symlink("a.jpg", folder / "z.jpg");
  fs::create_symlink("gone", folder / "broken.jpg");
  fs::create_symlink(".", folder / "loop");
  const auto list = [&](bool recursive) {
    std::vector<std::string> found;
    for (const fs::path& p : list_files(folder, {".jpg", ".jpeg"}, recursive))
      found.push_back(p.lexically_relative(folder).string());
    return found;
  };
  EXPECT_EQ(list(false), (std::vector<std::string>{"a.jpg", "b.JPG", "z.jpg"}));
  EXPECT_EQ(list(true), (std::vector<std::string>{"a.jpg", "b.JPG", "sub/deep/f.jpg", "sub/e.jpeg", "z.jpg"}));
  EXPECT_EQ(error_of<InputError>([&] { list_files(folder / "none", {".jpg"}, true); }),
            (folder / "none").string() + ": no such folder");
  EXPECT_EQ(error_of<InputError>([&] { list_files(folder / "a.jpg", {".jpg"}, true); }),
            (folder / "a.jpg").string() + ": is not a folder");
}

TEST_F(Files, MakeFolderRefusesAFile) {
  write_file_atomically(folder / "a", "");
  make_folder(folder / "x" / "y");
  make_folder(folder / "x" / "y");
  EXPECT_TRUE(fs::is_directory(folder / "x" / "y"));
  EXPECT_EQ(error_of<Error>([&] { make_folder(folder / "a" / "b"); }).substr(0, (folder / "a" / "b").string().size() + 26),
            (folder / "a" / "b").string() + ": cannot create the folder");
  EXPECT_NE(error_of<Error>([&] { make_folder(folder / "a"); }), "no error");
}

TEST_F(Files, AMappingOutlivesTheNameOfItsFile) {
  write_file_atomically(folder / "a", "mapped");
  write_file_atomically(folder / "empty", "");
  const MappedFile file = map_file(folder / "a");
  fs::remove(folder / "a");
  EXPECT_EQ(file.bytes, "mapped");
  EXPECT_EQ(map_file(folder / "empty").bytes, "");
  EXPECT_EQ(error_of<InputError>([&] { map_file(folder); }), folder.string() + ": is a folder, expected a file");
  EXPECT_EQ(error_of<InputError>([&] { map_file(folder / "a"); }),
            (folder / "a").string() + ": cannot open: No such file or directory");
}

TEST_F(Files, WhatKilledProcessesLeftIsRemoved) {
  int status = 0;
  const pid_t dead = fork();
  if (dead == 0) _exit(0);
  waitpid(dead, &status, 0);
  const std::string theirs = detail::concat(".", dead), ours = detail::concat(".", getpid());
  const std::vector<std::string> kept{".a.png" + ours + ".0.tmp",
                                      ".fresh.png" + theirs + ".0.tmp",
                                      "a.png" + theirs + ".0.tmp",
                                      ".a.png" + theirs + ".0.tmp.png",
                                      ".a.png.x1.0.tmp",
                                      ".a.png.-1.0.tmp",
                                      ".tmp",
                                      "photo.png"};
  for (const std::string& name : kept) std::ofstream(folder / name) << "kept";
  for (const char* name : {".a.png", ".b", ".c.d.e"}) std::ofstream(folder / (name + theirs + ".12.tmp")) << "left";
  fs::create_symlink("photo.png", folder / (".link.png" + theirs + ".0.tmp"));
  const auto age = [&](const fs::path& path) {
    fs::last_write_time(path, fs::file_time_type::clock::now() - std::chrono::minutes(2));
  };
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().find("fresh") == std::string::npos) age(entry.path());
  const size_t all = names().size();
  remove_leftovers(folder, std::chrono::minutes(1));
  EXPECT_EQ(names().size(), all - 3);
  remove_leftovers(folder / "absent");
  remove_leftovers(folder);
  EXPECT_EQ(names().size(), all - 4);
  EXPECT_FALSE(fs::exists(folder / kept[1]));
}

TEST_F(Files, ALibraryMayWriteByTheTemporaryName) {
  AtomicFile file(folder / "a");
  std::ofstream(file.temporary()) << "by name";
  EXPECT_FALSE(fs::exists(folder / "a"));
  file.commit();
  EXPECT_EQ(read_file(folder / "a"), "by name");
  EXPECT_EQ(names(), std::vector<std::string>{"a"});
}

}  // namespace
}  // namespace relume
