#include "cli/parity/case.h"

#include "base/text.h"

#include <cstring>
#include <unordered_map>

namespace relume::parity {
namespace {

// The field of an object as text; InputError "<what>: <field> is missing / is not a text".
std::string text_field(const Json& object, const char* field, const std::string& what, bool required = true) {
  const auto at = object.find(field);
  if (at == object.end() && !required) return {};
  RELUME_CHECK(at != object.end() && at->is_string(), what, ": '", field, "' is missing or not a text");
  return at->get<std::string>();
}

// A file of the case's own folder; a path that leaves it is refused.
std::filesystem::path inside(const std::filesystem::path& folder, const std::string& file, const std::string& what) {
  RELUME_CHECK(!file.empty() && file != "." && file != ".." && file.find('/') == std::string::npos, what, ": '", file,
               "' is not a plain file name");
  return folder / file;
}

// param.<network>x and buffer.<network>x of a case, as x.
class CaseWeights : public TensorSource {
 public:
  CaseWeights(const Case& reference, const std::string& network) : case_(reference) {
    for (const std::string& prefix : {"param." + network, "buffer." + network})
      for (const std::string& full : reference.names(prefix)) add(full, full.substr(prefix.size()));
  }
  const std::vector<TensorInfo>& tensors() const override { return infos_; }
  const TensorInfo* find(const std::string& name) const override {
    const auto at = index_.find(name);
    return at == index_.end() ? nullptr : &infos_[at->second];
  }
  Tensor read(const std::string& name) const override {
    const auto at = index_.find(name);
    RELUME_CHECK(at != index_.end(), where(), ": no weight named '", name, "'");
    return case_.tensor(full_names_[at->second]).to(infos_[at->second].dtype);
  }
  std::string where() const override { return "case " + case_.name(); }

 private:
  void add(const std::string& full, const std::string& name) {
    RELUME_CHECK(index_.emplace(name, infos_.size()).second, where(), ": '", name, "' is both a parameter and a buffer");
    const TensorInfo info = case_.info(full);
    infos_.push_back({name, info.dtype == DType::f16 ? DType::f32 : info.dtype, info.shape});
    full_names_.push_back(full);
  }
  const Case& case_;
  std::vector<TensorInfo> infos_;
  std::vector<std::string> full_names_;
  std::unordered_map<std::string, size_t> index_;
};

// [outer, a, b] -> [outer, b, a] for elements of one size.
template <class T> void swap_inner(T* out, const T* in, int64_t outer, int64_t a, int64_t b) {
  for (int64_t n = 0; n < outer; ++n, in += a * b, out += a * b)
    for (int64_t i = 0; i < a; ++i)
      for (int64_t j = 0; j < b; ++j) out[j * a + i] = in[i * b + j];
}
Tensor swap_inner(const Tensor& x, const Shape& shape, int64_t a, int64_t b) {
  const Tensor in = x.to(Device{}).contiguous(), out = Tensor::empty(shape, x.dtype());
  const auto run = [&]<class T>(T*) {
    swap_inner(static_cast<T*>(out.raw()), static_cast<const T*>(in.raw()), shape[0], a, b);
  };
  switch (size_of(x.dtype())) {
    case 1: run(static_cast<uint8_t*>(nullptr)); break;
    case 2: run(static_cast<uint16_t*>(nullptr)); break;
    case 4: run(static_cast<uint32_t*>(nullptr)); break;
    default: run(static_cast<uint64_t*>(nullptr)); break;
  }
  return out;
}

}  // namespace

Case::Case(std::filesystem::path folder, Json entry) : folder_(std::move(folder)), entry_(std::move(entry)) {
  const std::string manifest = (folder_ / "manifest.json").string();
  RELUME_CHECK(entry_.is_object(), manifest, ": an entry of 'cases' is not an object");
  name_ = text_field(entry_, "name", manifest + ": an entry of 'cases'");
  const std::string what = manifest + ": case '" + name_ + "'";
  kind_ = text_field(entry_, "kind", what);
  file_ = text_field(entry_, "file", what);
  loss_ = text_field(entry_, "loss", what, false);
  RELUME_CHECK(entry_.contains("config") && entry_["config"].is_object(), what, ": 'config' is missing or not an object");
}

void Case::load() {
  const std::string what = "case " + name_;
  const std::filesystem::path main = inside(folder_, file_, what);
  if (main.extension() == ".safetensors") stored_ = std::make_unique<SafetensorsFile>(main);
  if (config().contains("procedural"))
    generated_ = std::make_unique<ProceduralSource>(inside(folder_, option<std::string>("procedural"), what));
  check_listed_tensors();
}

// The manifest lists what the file holds: a file that lost an output would otherwise pass unseen.
void Case::check_listed_tensors() const {
  const auto list = entry_.find("tensors");
  if (!stored_ || list == entry_.end()) return;
  RELUME_CHECK(list->is_array(), "case ", name_, ": 'tensors' is not a list");
  for (const Json& listed : *list) {
    RELUME_CHECK(listed.is_object(), "case ", name_, ": an entry of 'tensors' is not an object");
    const auto tensor_name = option_in<std::string>(listed, "name");
    const TensorInfo* info = stored_->find(tensor_name);
    RELUME_CHECK(info, "case ", name_, ": the manifest lists '", tensor_name, "', which ", file_, " does not hold");
    const auto sizes = option_in<std::vector<int64_t>>(listed, "shape");
    RELUME_CHECK(std::ranges::equal(info->shape.sizes(), sizes), "case ", name_, ": '", tensor_name, "' is ", info->shape,
                 " in ", file_, ", the manifest lists ", listed.at("shape").dump());
  }
}

std::filesystem::path Case::path(const std::string& file) const { return inside(folder_, file, "case " + name_); }

const TensorInfo* Case::find(const std::string& full_name) const {
  const TensorInfo* info = stored_ ? stored_->find(full_name) : nullptr;
  return info || !generated_ ? info : generated_->find(full_name);
}

const TensorInfo& Case::info(const std::string& full_name) const {
  const TensorInfo* found = find(full_name);
  if (!found) throw InputError("case " + name_ + ": no tensor named '" + full_name + "'" + did_you_mean(full_name, names("")));
  return *found;
}

Tensor Case::tensor(const std::string& full_name) const {
  info(full_name);
  return stored_ && stored_->find(full_name) ? stored_->read(full_name) : generated_->read(full_name);
}

std::vector<std::string> Case::names(std::string_view prefix) const {
  std::vector<std::string> found;
  if (stored_)
    for (const TensorInfo& i : stored_->tensors())
      if (i.name.starts_with(prefix)) found.push_back(i.name);
  if (generated_)
    for (const TensorInfo& i : generated_->tensors())
      if (i.name.starts_with(prefix) && !(stored_ && stored_->find(i.name))) found.push_back(i.name);
  return found;
}

std::unique_ptr<TensorSource> Case::weights(const std::string& network) const {
  return std::make_unique<CaseWeights>(*this, network);
}

void Case::wrong_option(const std::string& key, const Json* value, const char* why) const {
  throw InputError("case " + name_ + ": '" + key + "'" + (value ? " = " + value->dump() + ": " : " ") + why);
}

Tensor to_channels_last(const Tensor& x) {
  RELUME_CHECK(x.rank() == 4, "to_channels_last: ", x, " given, [N, C, H, W] expected");
  const int64_t n = x.shape(0), c = x.shape(1), h = x.shape(2), w = x.shape(3);
  return swap_inner(x, {n, h, w, c}, c, h * w);
}

Tensor to_channels_first(const Tensor& x) {
  RELUME_CHECK(x.rank() == 4, "to_channels_first: ", x, " given, [N, H, W, C] expected");
  const int64_t n = x.shape(0), h = x.shape(1), w = x.shape(2), c = x.shape(3);
  return swap_inner(x, {n, c, h, w}, h * w, c);
}

}  // namespace relume::parity
