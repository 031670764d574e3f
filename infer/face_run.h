// Faces within the pictures of a run: each is restored upright, in a square of its own, and put back into the picture, whose
// other parts are restored as any picture's are (spec/diffbir.md 5.10).
#pragma once

#include "infer/faces.h"
#include "infer/load_cleaner.h"
#include "infer/plan.h"
#include "infer/refine_run.h"

namespace relume {

struct FaceOptions {
  std::filesystem::path landmarks;  // as FaceLandmarks::from() has them
  std::filesystem::path weights;    // of the network of stage one for faces
  bool without_cleaner = false;     // faces are taken as they are
  std::filesystem::path save;       // folder for restored_backgrounds, cropped_faces and restored_faces; empty: none
};

class FaceRun {
 public:
  // Reads the network and the table of landmarks. Stage two is that of `refining`, which must live as long.
  FaceRun(const FaceOptions& options, const RefineRun& refining, Device device, DType compute);

  // Looks up the faces of all pictures that will be asked for; those that have none are named on standard error.
  void load(const std::vector<PictureJob>& jobs);
  // What follows stage one for a picture: f32 [H, W, 3], the size of which is the plan's result, or, where that has a side
  // below 512, enlarged to that. `picture` are the pixels of the file. Faces whose eyes lie less than five pixels apart are
  // left as the background is. The progress counts the steps of background and faces together.
  Tensor restored(const PictureJob& job, const Tensor& picture, const PicturePlan& plan, const Tensor& cleaned,
                  const std::function<void(int64_t step, int64_t steps)>& progress) const;

  std::string describe() const;
  nlohmann::ordered_json settings() const;                                                 // of the run
  nlohmann::ordered_json facts(const PictureJob& picture, const PicturePlan& plan) const;  // of one result

 private:
  std::vector<Landmarks> in_result(const PictureJob& job, const PicturePlan& plan) const;
  Tensor restored_face(const PictureJob& job, size_t number, const Tensor& square,
                       const std::function<void(int64_t step, int64_t steps)>& progress) const;
  void save(const char* folder, const PictureJob& job, const std::string& name_end, const Tensor& picture) const;

  const FaceOptions options_;
  const RefineRun& refining_;
  LoadedCleaner stage_one_;
  FaceLandmarks landmarks_;
  std::map<std::string, std::vector<Landmarks>> faces_;  // by the picture's name
};

}  // namespace relume
