#include "data/checkpoint/torch_checkpoint.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "data/checkpoint/torch_file.h"

namespace relume {
namespace {

constexpr size_t max_listed = 8;               // keys in a message
constexpr size_t max_key = 4096;               // bytes: many entries may share one long key, and each is compared
constexpr size_t max_texts = size_t(4) << 20;  // bytes of all texts that count as metadata

// An entry of a dict of the pickle whose key is a text.
struct Item {
  std::string key;
  PickleValue value;
};

// The entries of a dict in the order of their keys' first mention; a later value replaces an earlier one, as in Python.
std::vector<Item> items_of(const PickleDocument& d, const PickleValue& dict, const std::string& where) {
  const std::vector<PickleValue>& flat = d.items_of(dict);
  std::vector<Item> items;
  std::unordered_map<std::string_view, size_t> known;
  for (size_t i = 0; i < flat.size(); i += 2) {
    if (flat[i].kind != PickleKind::text) {
      RELUME_CHECK(flat[i + 1].kind != PickleKind::tensor, where, ": a tensor under the key ", describe(d, flat[i]),
                   ", which is no text");
      continue;
    }
    RELUME_CHECK(flat[i].text.size() <= max_key, where, ": a key of ", flat[i].text.size(), " bytes, at most ", max_key,
                 " are read");
    const auto [at, fresh] = known.emplace(flat[i].text, items.size());
    if (fresh)
      items.push_back({std::string(flat[i].text), flat[i + 1]});
    else
      items[at->second].value = flat[i + 1];
  }
  return items;
}

bool holds_tensors(const PickleDocument& d, const PickleValue& dict) {
  const std::vector<PickleValue>& flat = d.items_of(dict);
  for (size_t i = 0; i < flat.size(); i += 2)
    if (flat[i].kind == PickleKind::text && flat[i + 1].kind == PickleKind::tensor) return true;
  return false;
}

std::string keys_text(const PickleDocument& d, const std::vector<Item>& items) {
  std::vector<std::string> parts;
  for (size_t i = 0; i < std::min(items.size(), max_listed); ++i)
    parts.push_back(printable(items[i].key) + " (" + describe(d, items[i].value) + ")");
  if (items.size() > max_listed) parts.push_back(fmt::format("and {} more", items.size() - max_listed));
  return join(parts, ", ");
}

// The key of the dict that holds the network's tensors; none when the root itself does.
std::optional<std::string> wrapper_of(const PickleDocument& d, const std::vector<Item>& root, const std::string& where,
                                      const CheckpointOptions& options) {
  std::vector<Item> wrappers;
  std::unordered_map<int64_t, bool> looked_into;  // a hostile file has many keys for one large dict
  for (const Item& item : root) {
    if (item.value.kind != PickleKind::dict) continue;
    const auto [at, fresh] = looked_into.emplace(item.value.number, false);
    if (fresh) at->second = holds_tensors(d, item.value);
    if (at->second) wrappers.push_back(item);
  }
  const auto has = [&](const std::string& key) {
    return std::ranges::any_of(wrappers, [&](const Item& i) { return i.key == key; });
  };
  std::vector<std::string> published{"state_dict", "params_ema", "params", "model"};
  if (options.raw_weights) std::swap(published[1], published[2]);
  for (const std::string& key : published)
    if (has(key)) return key;
  if (std::ranges::any_of(root, [](const Item& i) { return i.value.kind == PickleKind::tensor; })) return {};
  RELUME_CHECK(!wrappers.empty(), where, ": holds no dict of tensors, only ",
               root.empty() ? "an empty dict" : keys_text(d, root));
  RELUME_CHECK(wrappers.size() == 1, where, ": holds several dicts of tensors, ", keys_text(d, wrappers),
               "; save the one that is meant on its own");
  return wrappers[0].key;
}

// What stands beside the network's tensors: plain values as metadata, the rest by what it is.
class Beside {
 public:
  Beside(const PickleDocument& document, Checkpoint& checkpoint) : document_(document), checkpoint_(checkpoint) {}

  void note(const Item& item) {
    const PickleValue& v = item.value;
    switch (v.kind) {
      case PickleKind::none: return;
      case PickleKind::boolean:
      case PickleKind::integer:
      case PickleKind::floating: checkpoint_.metadata[item.key] = describe(document_, v); return;
      case PickleKind::text:
        texts_ += v.text.size();  // many keys may share one text
        if (texts_ > max_texts) break;
        checkpoint_.metadata[item.key] = v.text;
        return;
      default: break;
    }
    checkpoint_.beside.push_back(printable(item.key) + ": " + describe(document_, v));
  }

 private:
  const PickleDocument& document_;
  Checkpoint& checkpoint_;
  size_t texts_ = 0;
};

}  // namespace

Checkpoint open_torch(MappedFile mapped, const std::string& where, const CheckpointOptions& options) {
  const auto file = std::make_shared<const TorchFile>(std::move(mapped), where);
  const PickleDocument& d = file->document();
  RELUME_CHECK(d.root.kind == PickleKind::dict, where, ": holds ", describe(d, d.root), ", a dict of tensors expected");
  Checkpoint c{.format = file->layout() == TorchLayout::zip ? "PyTorch" : "PyTorch before 1.6"};
  Beside beside(d, c);
  std::vector<Item> chosen = items_of(d, d.root, where);
  if (const std::optional<std::string> key = wrapper_of(d, chosen, where, options)) {
    std::string line = "the dict under '" + printable(*key) + "'";
    PickleValue wrapped;
    for (const Item& item : chosen) {
      if (item.key == *key)
        wrapped = item.value;
      else if (*key == "params_ema" && item.key == "params")
        line += ", the averaged weights, not 'params'";
      else
        beside.note(item);
    }
    c.taken.push_back(line);
    chosen = items_of(d, wrapped, where);
  }
  std::vector<std::pair<std::string, size_t>> names;
  for (const Item& item : chosen) {
    if (item.value.kind == PickleKind::tensor)
      names.emplace_back(item.key, size_t(item.value.number));
    else
      beside.note(item);
  }
  c.tensors = std::make_shared<TorchTensors>(file, names);
  return c;
}

}  // namespace relume
