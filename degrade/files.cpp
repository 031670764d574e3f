#include "degrade/files.h"

#include <fmt/format.h>

#include <map>
#include <mutex>

#include "base/files.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/version.h"
#include "base/workers.h"
#include "data/convert.h"
#include "data/image.h"
#include "data/picture_jobs.h"
#include "degrade/draws_json.h"
#include "tensor/core/serial.h"

namespace relume {
namespace {

using Json = nlohmann::ordered_json;
using Path = std::filesystem::path;

constexpr const char* record_format = "relume draws 1";

// What one picture's draws were made for.
struct PictureRecord {
  int64_t height = 0, width = 0;
  DrawRecord draws;
};
struct RunRecord {
  Recipe recipe;
  std::map<std::string, PictureRecord> pictures;  // by name
};

Json to_json(const std::string& name, const PictureRecord& picture) {
  return {{"picture", name}, {"height", picture.height}, {"width", picture.width}, {"draws", to_json(picture.draws)}};
}

void write_record(const Path& file, const RunRecord& run) {
  Json pictures = Json::array();
  for (const auto& [name, picture] : run.pictures) pictures.push_back(to_json(name, picture));
  const Json all{
      {"format", record_format}, {"version", version_number()}, {"recipe", to_yaml(run.recipe)}, {"pictures", pictures}};
  write_file_atomically(file, all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
}

RunRecord read_record(const Path& file) {
  const std::string where = file.string();
  RunRecord run;
  try {
    const Json all = Json::parse(read_file(file));
    RELUME_CHECK(all.is_object() && all.value("format", "") == record_format, where, ": no record of draws (format \"",
                 record_format, "\"); `relume degrade --record` writes one");
    run.recipe = read_config_text<Recipe>(all.at("recipe").get<std::string>(), where + " (recipe)");
    for (const Json& one : all.at("pictures")) {
      const auto name = one.at("picture").get<std::string>();
      PictureRecord picture{one.at("height").get<int64_t>(), one.at("width").get<int64_t>(), {}};
      picture.draws = draw_record_from_json(one.at("draws"), where + ": " + name);
      run.pictures.emplace(name, std::move(picture));
    }
  } catch (const Json::exception& e) {
    throw InputError(where + ": damaged record of draws: " + e.what());
  }
  return run;
}

// What is decided for a picture, drawn or taken from the record to replay; noted in `note`.
Degradation decide(const DegradeOptions& o, const RunRecord* replay, const std::string& name, const Tensor& picture,
                   PictureRecord& note) {
  const int64_t height = picture.shape(0), width = picture.shape(1);
  note.height = height, note.width = width;
  if (replay == nullptr) {
    SeededDraws draws = draws_of_picture(o.seed, name);
    const Degradation degradation = draw_degradation(o.recipe, 1, height, width, draws);
    note.draws = draws.record();
    return degradation;
  }
  const auto found = replay->pictures.find(name);
  RELUME_CHECK(found != replay->pictures.end(), o.replay.string(), ": has no draws for ", name);
  const PictureRecord& recorded = found->second;
  RELUME_CHECK(recorded.height == height && recorded.width == width, o.replay.string(), ": the draws for ", name, " are for ",
               recorded.width, "x", recorded.height, " pixels, it has ", width, "x", height);
  note.draws = recorded.draws;
  ReplayedDraws draws(recorded.draws);
  const Degradation degradation = draw_degradation(replay->recipe, 1, height, width, draws);
  draws.finish();
  return degradation;
}

void write_result(const Path& path, const Tensor& picture) {
  if (path.has_parent_path()) make_folder(path.parent_path());
  write_image(path, to_u8_rounded(picture));
}

}  // namespace

SeededDraws draws_of_picture(uint64_t seed, const std::string& name) {
  const std::string purpose = "degrade " + name;
  return SeededDraws({.seed = seed, .purpose = purpose});
}

int64_t degrade_files(const DegradeOptions& o) {
  const Existing existing = o.overwrite ? Existing::replaced : Existing::refused;
  const std::vector<PictureJob> jobs = picture_jobs(o.input, o.output, existing);
  std::vector<PictureJob> targets;
  if (!o.target.empty()) targets = picture_jobs(o.input, o.target, existing);
  RunRecord replay, done{.recipe = o.recipe, .pictures = {}};
  if (!o.replay.empty()) done.recipe = (replay = read_record(o.replay)).recipe;

  Progress progress("picture", int64_t(jobs.size()));
  std::mutex mutex;
  std::map<std::string, std::string> failures;
  for_each_on_threads(int64_t(jobs.size()), o.threads, [&](int64_t i) {
    make_thread_serial();
    const PictureJob& job = jobs[size_t(i)];
    PictureRecord note;
    std::string failure;
    try {
      const Tensor picture = to_float(read_image(job.from));
      const Degraded pair =
          apply_degradation(decide(o, o.replay.empty() ? nullptr : &replay, job.name, picture, note), picture);
      write_result(job.to, pair.lq);
      if (!targets.empty()) write_result(targets[size_t(i)].to, pair.gt);
    } catch (const InputError& e) {
      if (jobs.size() == 1) throw;
      failure = e.what();
    }
    const std::lock_guard lock(mutex);
    if (failure.empty())
      done.pictures.emplace(job.name, std::move(note));
    else
      failures.emplace(job.name, failure);
    progress.update(int64_t(done.pictures.size() + failures.size()), job.name);
  });
  if (!o.record.empty()) write_record(o.record, done);
  std::string list;
  for (const auto& [name, why] : failures) list += "\n  " + why;
  RELUME_CHECK(failures.empty(), failures.size(), " of ", jobs.size(), " pictures could not be degraded:", list);
  return int64_t(done.pictures.size());
}

}  // namespace relume
