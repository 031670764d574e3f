// relume pack: many pictures into one HDF5 file, and its verification.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <iostream>
#include <memory>
#include <thread>

#include "base/interrupt.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/commands.h"
#include "data/pack/pack.h"
#include "data/pack/pack_writer.h"

namespace relume {

namespace {

struct PackArguments {
  PackOptions options;
  std::string crop = "none";
  std::filesystem::path verify;
};

void verify_pack(const std::filesystem::path& path) {
  const Pack pack(path);
  Progress progress("picture", pack.size());
  verify(pack, [&](int64_t done) {
    throw_if_interrupted();
    progress.update(done, "verified");
  });
  std::cout << path.string() << ": " << pack.size() << " pictures, all as their checksums say" << std::endl;
}

void run(PackArguments& a) {
  PackOptions& o = a.options;
  if (!a.verify.empty()) {
    RELUME_CHECK(o.input.empty() && o.output.empty(), "--verify reads one pack; leave IN and OUT out");
    return verify_pack(a.verify);
  }
  RELUME_CHECK(!o.input.empty() && !o.output.empty(), "name IN and OUT.h5, or a pack with --verify");
  o.crop = parse_crop_kind(a.crop);
  o.skipped = [](const BadPicture& picture) { std::cerr << "skipped " << to_string(picture) << std::endl; };
  const PackSummary summary = write_pack(o);
  std::cout << summary.packed << (summary.packed == 1 ? " picture" : " pictures") << " packed into " << o.output.string()
            << " (" << human_bytes(double(summary.pixel_bytes)) << " of pixels, verified)";
  if (summary.skipped > 0) std::cout << "; " << summary.skipped << " skipped";
  std::cout << std::endl;
}

}  // namespace

void add_pack(CLI::App& app) {
  CLI::App* command = app.add_subcommand("pack", "Pack pictures into one HDF5 file to train from");
  const auto a = std::make_shared<PackArguments>();
  PackOptions& o = a->options;
  o.threads = int(std::max(1u, std::thread::hardware_concurrency()));
  command->add_option("input", o.input, "Folder of pictures, or a list of files (.txt, .csv, .jsonl)")->type_name("IN");
  command->add_option("output", o.output, "The pack")->type_name("OUT.h5");
  command->add_option("--crop", a->crop, "Keep pictures whole, or cut a square from the centre")
      ->check(CLI::IsMember({"none", "center"}))
      ->capture_default_str();
  command->add_option("--size", o.size, "Side of that square in pixels")->check(CLI::Range(1, 65536))->capture_default_str();
  command->add_option("--max-side", o.max_side, "Reduce larger pictures to this long side first; 0: never")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command->add_flag("--captions", o.captions, "Keep captions: of the list, or photo.txt, photo.short.txt, photo.long.txt");
  command->add_flag("--resume", o.resume, "Go on with an interrupted pack");
  command->add_flag("--overwrite", o.overwrite, "Replace a pack that exists already");
  command
      ->add_option("--max-bad", o.max_bad,
                   "Fraction of the pictures that may be skipped because they are damaged (10 always may, unless it is 0)")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--threads", o.threads, "Pictures at a time; the pack does not depend on it")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command->add_option("--verify", a->verify, "Only read this pack and compare every checksum")->type_name("FILE.h5");
  command->footer(
      "Examples: relume pack photos photos.h5 --crop center --size 512\n"
      "          relume train configs/mini/stage1.yaml data.pictures=photos.h5 data.crop=none data.size=512");
  command->callback([a] { run(*a); });
}

}  // namespace relume
