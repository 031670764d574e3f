// Restoring files: which, by what plan, and what is said about it.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <map>
#include <new>
#include <optional>
#include <set>

#include "base/files.h"
#include "base/interrupt.h"
#include "base/json_log.h"
#include "base/machine.h"
#include "base/progress.h"
#include "base/text.h"
#include "base/workers.h"
#include "data/image.h"
#include "infer/load_cleaner.h"
#include "infer/restore.h"
#include "layers/finite.h"

namespace relume {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int64_t published_short_side = 512;
constexpr int most_retries = 3;
constexpr double stage_one_share = 0.05;
// Pictures below this are restored in no time and in little memory: nothing is measured for them.
constexpr int64_t small_pixels = 256 * 256, small_budget = int64_t(1) << 30;

struct Job {
  PictureJob files;
  PicturePlan plan;
};

// What stage one made of a picture.
struct CleanedPicture {
  std::filesystem::path from;
  PicturePlan plan;  // by which it was made
  Tensor pixels;
};

struct Failure {
  std::string name, reason;
};

std::string size_text(int64_t height, int64_t width) { return fmt::format("{}x{}", width, height); }

// Whether a result is there to stay: it can be read. One of another size than this run would make is refused.
bool is_done(const PictureJob& job, const PicturePlan& plan) {
  std::error_code error;
  if (!std::filesystem::exists(job.to, error)) return false;
  Tensor pixels;
  try {
    pixels = read_picture(job.to).pixels;
  } catch (const InputError&) {
    return false;
  }
  const int64_t height = pixels.shape(0), width = pixels.shape(1);
  const bool same = (height == plan.result_height && width == plan.result_width) ||
                    (height == plan.result_width && width == plan.result_height);  // see Codec::header
  RELUME_CHECK(same, job.to.string(), ": exists with ", size_text(height, width), " pixels, and this run would make ",
               size_text(plan.result_height, plan.result_width),
               "; it was made with other options: remove it, or give another folder or --overwrite");
  return true;
}

class RestoreRun {
 public:
  explicit RestoreRun(const RestoreOptions& options)
      : options_(options),
        jobs_(picture_jobs(options.input, options.output, options.existing,
                           options.stage_two ? options.stage_two->samples : 1)) {}

  RestoreCounts run() {
    const FloatProductsScope products(options_.precision.products);
    if (options_.stage_two) refining_.emplace(*options_.stage_two);
    load_stage_one();
    if (options_.faces) faces_.emplace(*options_.faces, *refining_, options_.device, options_.precision.type);
    make_plan();
    print_plan();
    if (options_.dry_run) {
      print_pictures();
    } else {
      if (!options_.json_log.empty()) log_.emplace(options_.json_log);
      if (refining_ && !work_.empty()) load_stage_two();
      restore_all();
    }
    report_failures();
    return counts_;
  }

 private:
  void load_stage_one() {
    if (options_.without_cleaner) {
      stage_one_ = no_cleaner();
      return;
    }
    Checkpoint from =
        options_.weights.empty() ? Checkpoint{.tensors = refining_->cleaner()} : open_checkpoint(options_.weights);
    stage_one_ = load_cleaner(from, options_.config, options_.device, options_.precision.type);
  }

  void load_stage_two() {
    std::vector<PictureJob> jobs;
    for (const Job& job : work_) jobs.push_back(job.files);
    if (faces_) faces_->load(jobs);
    refining_->load(jobs, options_.device, options_.precision.type);
    Json settings = refining_->settings();
    if (faces_) settings.update(faces_->settings());
    log(settings);
  }

  // ---- Planning ----

  void make_plan() {
    usable_ = pool().free_bytes();
    plan_options_ = {.upscale = options_.upscale,
                     .short_side = options_.short_side >= 0 ? options_.short_side : default_short_side(),
                     .mode = options_.mode,
                     .tile = options_.tile,
                     .overlap = options_.overlap,
                     .budget = options_.memory > 0 ? options_.memory : usable_ / 4 * 3,
                     .refined = refining_.has_value()};
    if (refining_) {
      plan_options_.denoiser = refining_->config().denoiser_tiles();
      plan_options_.denoiser_is_whole = refining_->config().guidance.loss != "none";  // it looks at the whole picture
    }
    check_plan_options(cleaner(), plan_options_);
    find_work();
    if (needs_measuring()) measure();
    for (Job& job : work_) job.plan = plan_of(job.plan.picture);
  }

  void measure() {
    if (refining_) refine_cost_ = refining_->measure(options_.device, options_.precision.type);
    cost_ = measure_cost(cleaner(), measured_side());
    if (refining_) cost_->kept_bytes = refining_->weight_bytes(options_.device, options_.precision.type);
  }

  Allocator& pool() const { return allocator(options_.device); }

  int64_t default_short_side() const {
    const bool published = options_.upscale > 0 && stage_one_.published_stage_one;
    return refining_ || published ? published_short_side : 0;
  }

  const Cleaner& cleaner() const { return stage_one_.cleaner; }

  PicturePlan plan_of(const PictureHeader& picture) const {
    return plan_picture(picture, cleaner(), plan_options_, cost_ ? &*cost_ : nullptr, refine_cost_ ? &*refine_cost_ : nullptr);
  }

  // The pictures that are to be restored: those whose header can be read and whose result is not there yet.
  void find_work() {
    for (const PictureJob& job : jobs_) {
      throw_if_interrupted();
      try {
        Job next{job, plan_of(read_picture_header(job.from))};
        check_writable(job.to, next.plan.result_height, next.plan.result_width);
        work_.push_back(std::move(next));
      } catch (const InputError& e) {
        if (jobs_.size() == 1) throw;
        failures_.push_back({job.name, e.what()});
      }
    }
    if (options_.existing == Existing::kept) leave_out_done();
  }

  void leave_out_done() {
    // Whole results are decoded: large ones one at a time, or they would take the memory that the plan counts on.
    const bool large = std::ranges::any_of(
        work_, [](const Job& job) { return job.plan.result_height * job.plan.result_width > int64_t(1) << 24; });
    std::vector<char> done(work_.size());
    for_each_on_threads(int64_t(work_.size()), large ? 1 : std::min(8, processors().usable()),
                        [&](int64_t i) { done[size_t(i)] = is_done(work_[size_t(i)].files, work_[size_t(i)].plan); });
    std::vector<Job> left;
    for (size_t i = 0; i < work_.size(); ++i) {
      if (done[i])
        kept_.push_back(work_[i].files.name);
      else
        left.push_back(std::move(work_[i]));
    }
    work_ = std::move(left);
    counts_.kept = int64_t(kept_.size());
  }

  // Measuring takes a tenth of restoring 512 x 512 pixels, or a fortieth of four million, and stays below a small budget.
  int64_t measured_side() const { return plan_options_.budget < small_budget ? 32 : network_pixels() < 4e6 ? 64 : 128; }

  double network_pixels() const {
    double pixels = 0;
    for (const Job& job : work_) pixels += job.plan.network_pixels();
    return pixels;
  }

  bool needs_measuring() const {
    if (work_.empty()) return false;
    if (options_.dry_run || plan_options_.budget < small_budget) return true;
    return std::ranges::any_of(work_, [](const Job& job) {
      return job.plan.network_pixels() > double(small_pixels) ||
             job.plan.result_height * job.plan.result_width > 16 * small_pixels;
    });
  }

  // ---- What is said before ----

  void print_plan() const {
    double pixels = 0, results = 0, seconds = 0;
    double bytes = double(options_.device == Device{} ? peak_resident_bytes() : pool().peak_bytes());
    for (const Job& job : work_) {
      pixels += double(job.plan.picture.height) * double(job.plan.picture.width);
      results += double(job.plan.result_height) * double(job.plan.result_width);
      bytes = std::max(bytes, job.plan.bytes);
      if (job.plan.problem.empty()) seconds += job.plan.seconds;
    }
    say("pictures  {}, {:.3g} megapixels{}{}", work_.size(), pixels / 1e6,
        results != pixels ? fmt::format(", enlarged to {:.3g}", results / 1e6) : "",
        kept_.empty() ? "" : fmt::format("; {} kept, whose results are there", kept_.size()));
    say("network   {}", stage_one_text());
    if (refining_) say("stage two {}", refining_->describe());
    if (faces_) say("faces     {}", faces_->describe());
    say("tiles     {}", tiles_text());
    if (!cost_) {
      say("estimate  none: the pictures are small");
    } else {
      say("memory    about {} of the {} allowed ({})", human_bytes(bytes), human_bytes(double(plan_options_.budget)),
          options_.memory > 0 ? "--memory" : fmt::format("three quarters of the {} to be had", human_bytes(double(usable_))));
      say("time      about {}{}, {:.2f} s a megapixel of the network", human_seconds(seconds),
          refining_ ? " for stage one alone" : "", cost_->seconds_per_pixel * 1e6);
    }
  }

  std::string stage_one_text() const {
    if (!stage_one_.network) return "none: pictures are taken as they are";
    return fmt::format("{} of {} numbers from {}{}, pictures padded to multiples of {}", stage_one_.name,
                       stage_one_.network->parameter_count(),
                       options_.weights.empty() ? "the file of stage two" : options_.weights.filename().string(),
                       options_.weights_remark.empty() ? "" : " (" + options_.weights_remark + ")", cleaner().multiple);
  }

  std::string tiles_text() const {
    std::map<std::pair<int64_t, int64_t>, int64_t> counts;  // (tile, overlap) to pictures
    int64_t below = 0;
    for (const Job& job : work_) {
      ++counts[{job.plan.tile, job.plan.overlap}];
      if (plan_options_.mode == TileMode::fixed && job.plan.tile == 0) ++below;
    }
    std::vector<std::string> parts;
    for (const auto& [tiling, count] : counts)
      parts.push_back(tiling.first == 0
                          ? fmt::format("{} whole", count)
                          : fmt::format("{} in tiles of {}, overlapping by {}", count, tiling.first, tiling.second));
    std::map<std::pair<int64_t, int64_t>, int64_t> denoised;
    for (const Job& job : work_)
      if (job.plan.denoiser.size > 0) ++denoised[{job.plan.denoiser.size, job.plan.denoiser.stride}];
    for (const auto& [tiles, count] : denoised)
      parts.push_back(fmt::format("{} denoised in tiles of {} every {}", count, tiles.first, tiles.second));
    return join(parts, "; ") + (below > 0 ? fmt::format(" (a side is below the tile of {})", plan_options_.tile) : "");
  }

  template <class... Parts> static void say(fmt::format_string<Parts...> format, Parts&&... parts) {
    fmt::print(stderr, "{}\n", fmt::format(format, std::forward<Parts>(parts)...));
  }

  void print_pictures() {
    for (const Job& job : work_) {
      const PicturePlan& p = job.plan;
      if (!p.problem.empty()) failures_.push_back({job.files.name, job.files.from.string() + ": " + p.problem});
      fmt::print("{}: {} to {}, {}, {}, {}{}\n", job.files.name, size_text(p.picture.height, p.picture.width),
                 size_text(p.result_height, p.result_width), describe_tiles(p), human_bytes(p.bytes), human_seconds(p.seconds),
                 p.problem.empty() ? "" : ": too much");
    }
    std::fflush(stdout);
  }

  // ---- The work ----

  void restore_all() {
    for (const std::string& name : kept_) log({{"name", name}, {"kept", true}});
    for (const Failure& failure : failures_) log({{"name", failure.name}, {"error", failure.reason}});
    std::set<std::filesystem::path> folders;
    for (const Job& job : work_) folders.insert(job.files.to.parent_path());
    total_pixels_ = network_pixels();
    for (const std::filesystem::path& folder : folders)
      remove_leftovers(folder.empty() ? "." : folder, std::chrono::minutes(1));  // results may lie where others work too
    Progress progress("picture", int64_t(work_.size()));
    for (const Job& job : work_) {
      interrupt_between_pictures();
      try {
        restore(job, progress);
        ++counts_.restored;
      } catch (const InputError& e) {
        if (jobs_.size() == 1) throw;
        failures_.push_back({job.files.name, e.what()});
        log({{"name", job.files.name}, {"error", e.what()}});
      }
      done_pixels_ += job.plan.network_pixels();
      progress.update(++done_, done_pixels_ / total_pixels_, job.files.name);
    }
  }

  void interrupt_between_pictures() const {
    if (interrupted() && jobs_.size() > 1)
      throw Interrupted(
          fmt::format("interrupted after {} of {} pictures; the same command with --skip-existing goes on from there", done_,
                      work_.size()));
    throw_if_interrupted();
  }

  void restore(const Job& job, Progress& progress) {
    const Clock::time_point start = Clock::now();
    RELUME_CHECK(job.plan.problem.empty(), job.files.from.string(), ": ", job.plan.problem);
    const Picture picture = read_picture(job.files.from);
    const bool sixteen_bit = codec_for(job.files.to).holds_16_bit;
    check_writable(job.files.to, sixteen_bit ? picture : to_8_bit(picture));
    PicturePlan plan = job.plan;
    if (picture.pixels.shape(0) != plan.picture.height || picture.pixels.shape(1) != plan.picture.width)
      plan = plan_of(header_of(picture));  // a PNG that told its orientation only behind its pixels
    pool().reset_peak();
    const Picture restored = restore_with_retries(job, picture, plan, sixteen_bit, progress);
    if (plan.tile > 0) allocator({}).trim();  // the file's bytes come on top of what the pool would keep
    if (job.files.to.has_parent_path()) make_folder(job.files.to.parent_path());
    write_picture(job.files.to, restored);
    Json line{{"name", job.files.name},
              {"width", picture.pixels.shape(1)},
              {"height", picture.pixels.shape(0)},
              {"result_width", restored.pixels.shape(1)},
              {"result_height", restored.pixels.shape(0)},
              {"tile", plan.tile},
              {"overlap", plan.overlap},
              {"tiles", plan.tiles},
              {"denoiser_tile", plan.denoiser.size},
              {"seconds", std::round(std::chrono::duration<double>(Clock::now() - start).count() * 1e3) / 1e3},
              {"peak_bytes", pool().peak_bytes()}};
    if (refining_) line.update(refining_->facts(job.files));
    if (faces_) line.update(faces_->facts(job.files, plan));
    log(line);
  }

  static PictureHeader header_of(const Picture& p) {
    return {p.pixels.shape(0), p.pixels.shape(1), bool(p.alpha), p.pixels.dtype() == DType::f32, p.grey};
  }

  // Memory may run out whatever the estimate says: others use it too.
  Picture restore_with_retries(const Job& job, const Picture& picture, PicturePlan& plan, bool sixteen_bit,
                               Progress& progress) {
    for (int retry = 0;; ++retry) {
      std::string reason;
      bool refines = false;  // stage one is done
      try {
        // Of a picture's time, when stage two follows, stage one takes the smaller part.
        const double first = refining_ ? stage_one_share : 1;
        const auto update = [&](double before, double share, const char* what, int64_t done, int64_t of) {
          const double inside = job.plan.network_pixels() * (before + share * double(done) / double(of));
          progress.update(done_, (done_pixels_ + inside) / total_pixels_, job.files.name, {what, done, of});
        };
        Tensor pixels = cleaned(job, picture, plan, [&](int64_t done, int64_t of) { update(0, first, "tile", done, of); });
        refines = true;
        const auto steps = [&](int64_t step, int64_t of) { update(first, 1 - first, "step", step, of); };
        if (faces_)
          pixels = faces_->restored(job.files, picture.pixels, plan, pixels, steps);
        else if (refining_)
          pixels = refining_->restored(job.files, pixels, plan.denoiser, steps);
        return finished_picture(std::move(pixels), picture, plan, sixteen_bit);
      } catch (OutOfMemory& e) {
        reason = e.what();
        if (!shrink(plan, retry, refines)) {
          e.add_context("while it was restored " + describe_tiles(plan) + "; " + remedy());
          throw;
        }
      } catch (const std::bad_alloc&) {
        reason = "out of memory";
        if (!shrink(plan, retry, refines)) throw;
      }
      last_cleaned_.reset();
      pool().trim();
      say("{}: {}\n  again {}", job.files.from.string(), reason.substr(0, reason.find('\n')),
          refines ? fmt::format("denoised in tiles of {} every {}", plan.denoiser.size, plan.denoiser.stride)
                  : fmt::format("in tiles, as --tile {} --tile-overlap {} makes it", plan.tile, plan.overlap));
    }
  }

  // Results of one picture follow one another and share what stage one made of it.
  Tensor cleaned(const Job& job, const Picture& picture, PicturePlan& plan, const TileProgress& progress) {
    if (last_cleaned_ && last_cleaned_->from == job.files.from) {
      plan = last_cleaned_->plan;
      return last_cleaned_->pixels;
    }
    last_cleaned_.reset();
    const Tensor pixels = cleaned_picture(cleaner(), picture, plan, progress);
    if (!is_finite(pixels)) fail_not_finite(job, picture, plan);
    if (options_.stage_two && options_.stage_two->samples > 1) last_cleaned_ = {job.files.from, plan, pixels};
    return pixels;
  }

  // Never a black picture. On the CPU the layer can be told.
  [[noreturn]] void fail_not_finite(const Job& job, const Picture& picture, const PicturePlan& plan) const {
    std::string layer;
    if (options_.device == Device{}) {
      const FiniteScope scope;
      try {
        cleaned_picture(cleaner(), picture, plan, {});
      } catch (const NotFinite& e) {
        layer = std::string("\n  the first: ") + e.what();
      }
    }
    throw NotFinite(detail::concat(job.files.from.string(), ": stage one made values that are no numbers; is its checkpoint ",
                                   "whole ('relume inspect')?",
                                   options_.precision.type == DType::f32 ? "" : " --precision f32 has a wider range.", layer));
  }

  std::string remedy() const {
    if (plan_options_.mode == TileMode::off) return "leave out --tile off";
    if (plan_options_.mode == TileMode::fixed) return "give a smaller --tile";
    return "give --tile with a small number, or a smaller --memory";
  }

  bool shrink(PicturePlan& plan, int retry, bool refines) const {
    if (retry >= most_retries || plan_options_.mode == TileMode::off) return false;
    if (refines) return !plan_options_.denoiser_is_whole && make_denoiser_smaller(plan, cleaner());
    return make_smaller(plan, cleaner(), plan_options_, cost_ ? &*cost_ : nullptr);
  }

  void log(const Json& line) {
    if (log_) log_->write(line);
  }

  void report_failures() const {
    std::string reasons;
    for (const Failure& failure : failures_) reasons += "\n  " + failure.reason;
    RELUME_CHECK(failures_.empty(), failures_.size(), " of ", jobs_.size(), " pictures could not be restored:", reasons);
  }

  const RestoreOptions options_;
  const std::vector<PictureJob> jobs_;
  std::optional<RefineRun> refining_;
  std::optional<FaceRun> faces_;
  LoadedCleaner stage_one_;
  PlanOptions plan_options_;
  int64_t usable_ = 0;
  std::optional<NetworkCost> cost_;
  std::optional<RefineCost> refine_cost_;
  std::vector<Job> work_;
  std::vector<std::string> kept_;
  std::vector<Failure> failures_;
  std::optional<JsonLog> log_;
  std::optional<CleanedPicture> last_cleaned_;
  RestoreCounts counts_;
  int64_t done_ = 0;
  double done_pixels_ = 0, total_pixels_ = 0;
};

}  // namespace

RestoreCounts restore_files(const RestoreOptions& options) { return RestoreRun(options).run(); }

}  // namespace relume
