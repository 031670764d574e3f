#include "data/picture_jobs.h"

#include <set>

#include "base/error.h"
#include "base/files.h"
#include "base/text.h"
#include "data/image.h"

namespace relume {
namespace {

namespace fs = std::filesystem;

std::vector<PictureJob> folder_jobs(const fs::path& input, const fs::path& output) {
  RELUME_CHECK(!fs::exists(output) || fs::is_directory(output), output.string(),
               ": is a file; a folder of pictures needs a folder");
  std::vector<PictureJob> jobs;
  for (const fs::path& from : list_files(input, image_extensions(), true)) {
    const fs::path name = fs::relative(from, input);
    jobs.push_back({from, (output / name).replace_extension(".png"), name.generic_string()});
  }
  RELUME_CHECK(!jobs.empty(), input.string(), ": holds no picture (", join(image_extensions(), ", "), ")");
  for (size_t i = 1; i < jobs.size(); ++i)
    RELUME_CHECK(jobs[i].to != jobs[i - 1].to, jobs[i - 1].from.string(), " and ", jobs[i].from.string(), " would both become ",
                 jobs[i].to.string(), "; rename one of them");
  return jobs;
}

std::vector<PictureJob> single_job(const fs::path& input, const fs::path& output) {
  const std::string name = input.filename().string();
  if (fs::is_directory(output)) return {{input, output / input.stem().concat(".png"), name}};
  codec_for(output);  // throws
  return {{input, output, name}};
}

std::vector<PictureJob> sampled(const std::vector<PictureJob>& jobs, int64_t samples) {
  std::vector<PictureJob> all;
  std::set<fs::path> results;
  for (const PictureJob& job : jobs) {
    for (int64_t sample = 0; sample < samples; ++sample) {
      const std::string name = job.to.stem().string() + "_" + std::to_string(sample) + job.to.extension().string();
      all.push_back({job.from, job.to.parent_path() / name, job.name, sample});
      RELUME_CHECK(results.insert(all.back().to).second, all.back().to.string(), ": two results would have this name; rename ",
                   job.from.string());
    }
  }
  return all;
}

}  // namespace

std::vector<PictureJob> picture_jobs(const fs::path& input, const fs::path& output, Existing existing, int64_t samples) {
  RELUME_CHECK(fs::exists(input), input.string(), ": no such file or folder");
  std::vector<PictureJob> jobs = fs::is_directory(input) ? folder_jobs(input, output) : single_job(input, output);
  if (samples > 1) jobs = sampled(jobs, samples);
  for (const PictureJob& job : jobs)
    RELUME_CHECK(existing != Existing::refused || !fs::exists(job.to), job.to.string(),
                 ": exists already; give --overwrite to replace it");
  return jobs;
}

}  // namespace relume
