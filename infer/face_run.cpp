#include "infer/face_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "autograd/elementwise.h"
#include "base/files.h"
#include "data/convert.h"
#include "data/image.h"
#include "data/resize.h"
#include "infer/restore.h"

namespace relume {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr int64_t least_short_side = 512;   // of the picture that faces are cut from
constexpr double least_eye_distance = 5;    // pixels in it
constexpr int64_t samples_apart = 1 << 16;  // more than a picture has results

struct Size {
  int64_t height, width;
};

Size size_with_faces(const PicturePlan& plan) {
  const int64_t height = plan.result_height, width = plan.result_width;
  const double factor = std::max(1.0, double(least_short_side) / double(std::min(height, width)));
  return {std::llrint(double(height) * factor), std::llrint(double(width) * factor)};
}

// The picture that faces are cut from.
Tensor seen_picture(const Tensor& picture, const PicturePlan& plan) {
  const Size size = size_with_faces(plan);
  const Tensor resized = resized_first(picture, plan.result_height, plan.result_width);
  return resize_opencv(resized.dtype() == DType::u8 ? to_float(resized) : resized, size.height, size.width,
                       OpencvResize::linear);
}

}  // namespace

FaceRun::FaceRun(const FaceOptions& options, const RefineRun& refining, Device device, DType compute)
    : options_(options),
      refining_(refining),
      stage_one_(options.without_cleaner ? no_cleaner() : load_cleaner(open_checkpoint(options.weights), {}, device, compute)),
      landmarks_(FaceLandmarks::from(options.landmarks)) {}

void FaceRun::load(const std::vector<PictureJob>& jobs) {
  for (const PictureJob& job : jobs) {
    const auto [at, is_new] = faces_.try_emplace(job.name);
    if (!is_new) continue;
    at->second = landmarks_.find(job.name);
    if (at->second.empty()) fmt::print(stderr, "note: {}: no landmarks; it is restored without faces\n", job.name);
  }
}

// The middle of a pixel lies half a pixel from its border, in every size.
std::vector<Landmarks> FaceRun::in_result(const PictureJob& job, const PicturePlan& plan) const {
  const Size size = size_with_faces(plan);
  const double across = double(size.width) / double(plan.picture.width),
               down = double(size.height) / double(plan.picture.height);
  std::vector<Landmarks> faces = faces_.at(job.name);
  for (Landmarks& face : faces)
    for (Point& p : face) p = {(p.x + 0.5) * across - 0.5, (p.y + 0.5) * down - 0.5};
  return faces;
}

Tensor FaceRun::restored(const PictureJob& job, const Tensor& picture, const PicturePlan& plan, const Tensor& cleaned,
                         const std::function<void(int64_t step, int64_t steps)>& progress) const {
  std::vector<Landmarks> faces = in_result(job, plan);
  const size_t given = faces.size();
  std::erase_if(faces, [](const Landmarks& face) { return eye_distance(face) < least_eye_distance; });
  if (faces.size() < given)
    fmt::print(stderr, "note: {}: {} of {} faces are too small, their eyes less than {} pixels apart\n", job.name,
               given - faces.size(), given, least_eye_distance);
  const int64_t parts = 1 + int64_t(faces.size());
  const auto part = [&](int64_t number) {
    return [&progress, number, parts](int64_t step, int64_t of) { progress(number * of + step, parts * of); };
  };
  Tensor background = refining_.restored(job, cleaned, plan.denoiser, part(0));
  save("restored_backgrounds", job, "", background);
  if (faces.empty()) return background;
  const Tensor seen = seen_picture(picture, plan);
  background = clamp(resize_opencv(background, seen.shape(0), seen.shape(1), OpencvResize::lanczos), 0, 1);
  for (size_t i = 0; i < faces.size(); ++i) {
    const Similarity to_square = fit_similarity(faces[i], face_template);
    const Tensor square = aligned_face(seen, to_square);
    paste_face(background, restored_face(job, i, square, part(int64_t(i) + 1)), to_square);
  }
  return background;
}

Tensor FaceRun::restored_face(const PictureJob& job, size_t number, const Tensor& square,
                              const std::function<void(int64_t step, int64_t steps)>& progress) const {
  const std::string end = fmt::format("_{}", number);
  save("cropped_faces", job, end, square);
  PictureJob own = job;  // its stages have names of their own, and its noise is no other's
  own.to = job.to.parent_path() / (job.to.stem().string() + "_face" + end + job.to.extension().string());
  own.sample += (int64_t(number) + 1) * samples_apart;
  const Tensor cleaned = clean(stage_one_.cleaner, square, {.height = face_side, .width = face_side, .short_side = face_side});
  const Tensor face = clamp(refining_.restored(own, cleaned, {}, progress), 0, 1);
  save("restored_faces", job, end, face);
  return face;
}

void FaceRun::save(const char* folder, const PictureJob& job, const std::string& name_end, const Tensor& picture) const {
  if (options_.save.empty()) return;
  const fs::path to = options_.save / folder / fs::path(job.name).parent_path() / (job.to.stem().string() + name_end + ".png");
  make_folder(to.parent_path());
  write_png(to, to_u8_truncated(picture));
}

std::string FaceRun::describe() const {
  const std::string network = stage_one_.network
                                  ? fmt::format("{} of {} numbers from {}", stage_one_.name,
                                                stage_one_.network->parameter_count(), options_.weights.filename().string())
                                  : "no network of stage one";
  return fmt::format("{}, where {} says that they are", network, options_.landmarks.string());
}

Json FaceRun::settings() const {
  return {{"landmarks", options_.landmarks.string()}, {"face_cleaner", options_.weights.string()}};
}

Json FaceRun::facts(const PictureJob& job, const PicturePlan& plan) const {
  Json faces = Json::array();
  for (const Landmarks& face : in_result(job, plan)) {
    Json points = Json::array();
    for (const Point& p : face) points.push_back({p.x, p.y});
    faces.push_back({{"points", points}, {"restored", eye_distance(face) >= least_eye_distance}});
  }
  return {{"faces", faces}};
}

}  // namespace relume
