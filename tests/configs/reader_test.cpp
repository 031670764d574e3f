#include "configs/reader.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <random>

#include "base/error.h"
#include "base/files.h"

namespace relume {
namespace {

struct ModelConfig {
  int embed_dim = 180, window_size = 8;
  std::vector<int> depths{6, 6}, num_heads{6, 6};
  std::string upsampler = "nearest+conv";
  void fields(auto&& v) {
    v("embed_dim", embed_dim, Range{1, 4096}, "width of the network");
    v("window_size", window_size, Range{1, 64});
    v("depths", depths, Range{1, 64}, "blocks of each group");
    v("num_heads", num_heads, Range{1, 64});
    v("upsampler", upsampler, OneOf{{"nearest+conv", "pixelshuffle", ""}}, "how the picture is enlarged");
  }
  void validate() const {
    RELUME_CHECK(depths.size() == num_heads.size(), "depths has ", depths.size(), " entries, num_heads ", num_heads.size());
  }
  bool operator==(const ModelConfig&) const = default;
};

struct StageConfig {
  std::string name;
  std::array<double, 2> sigma{0.1, 12};
  void fields(auto&& v) {
    v("name", name, Required{});
    v("sigma", sigma, Range{0, 100});
  }
  bool operator==(const StageConfig&) const = default;
};

struct TrainConfig {
  int steps = 100;
  int64_t images = 0;
  double rate = 1e-4;
  bool ema = true;
  std::vector<double> betas{0.9, 0.999};
  std::optional<double> clip;
  void fields(auto&& v) {
    v("steps", steps, "how long", Range{1});
    v("images", images);
    v("rate", rate, Range{0, 1});
    v("ema", ema);
    v("betas", betas);
    v("clip", clip, Range{0, 10});
  }
  bool operator==(const TrainConfig&) const = default;
};

struct DataConfig {
  std::string folder;
  std::vector<std::string> extensions{".jpg"};
  void fields(auto&& v) {
    v("folder", folder, Required{}, "a folder of pictures");
    v("extensions", extensions);
  }
  bool operator==(const DataConfig&) const = default;
};

struct RunConfig {
  std::string output = "out";
  ModelConfig model;
  DataConfig data;
  TrainConfig train;
  std::vector<StageConfig> stages;
  std::optional<ModelConfig> teacher;
  void fields(auto&& v) {
    v("output", output);
    v("model", model, "the network");
    v("data", data);
    v("train", train);
    v("stages", stages, "degradations in order");
    v("teacher", teacher);
  }
  bool operator==(const RunConfig&) const = default;
};

template <class C> std::string error_of(const std::string& text, const std::vector<std::string>& overrides = {},
                                        const std::string& name = "x.yaml") {
  try {
    read_config_text<C>(text, name, overrides);
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::string run_error(const std::string& text, std::vector<std::string> overrides = {}) {
  overrides.insert(overrides.begin(), "data.folder=photos");
  return error_of<RunConfig>(text, overrides);
}

RunConfig run_config(const std::string& text, std::vector<std::string> overrides = {}) {
  overrides.insert(overrides.begin(), "data.folder=photos");
  return read_config_text<RunConfig>(text, "x.yaml", overrides);
}

TEST(Reader, NothingGivenIsTheDefaults) {
  for (const char* text : {"", "# nothing\n", "---\n", "null\n", "{}\n"}) {
    EXPECT_EQ(read_config_text<ModelConfig>(text, "x.yaml"), ModelConfig{}) << text;
  }
}

TEST(Reader, ReadsEveryKind) {
  const RunConfig c = run_config(R"(
output: "runs/a: b"
model: {embed_dim: 60, depths: [2, 3, 4], num_heads: [1, 1, 1], upsampler: ''}
train:
  steps: +7
  images: 9007199254740993
  rate: 2.5e-5
  ema: false
  betas: []
  clip: 1
stages:
  - name: 007
    sigma: [0.2, 3]
  - {name: true}
teacher:
)");
  EXPECT_EQ(c.output, "runs/a: b");
  EXPECT_EQ(c.model.depths, (std::vector<int>{2, 3, 4}));
  EXPECT_EQ(c.model.upsampler, "");
  EXPECT_EQ(c.model.window_size, 8);
  EXPECT_EQ(c.train.steps, 7);
  EXPECT_EQ(c.train.images, 9007199254740993);
  EXPECT_EQ(c.train.rate, 2.5e-5);
  EXPECT_FALSE(c.train.ema);
  EXPECT_TRUE(c.train.betas.empty());
  EXPECT_EQ(c.train.clip, 1.0);
  ASSERT_EQ(c.stages.size(), 2u);
  EXPECT_EQ(c.stages[0].name, "007");
  EXPECT_EQ(c.stages[0].sigma, (std::array<double, 2>{0.2, 3}));
  EXPECT_EQ(c.stages[1].name, "true");
  EXPECT_EQ(c.stages[1].sigma, (std::array<double, 2>{0.1, 12}));
  EXPECT_FALSE(c.teacher);
}

TEST(Reader, NamesTheNearestKeyAndTheRange) {
  EXPECT_EQ(error_of<ModelConfig>("embed_dim: 60\nwindow_sise: 8\n", {}, "swinir.yaml"),
            "swinir.yaml:2: unknown key 'window_sise' (did you mean 'window_size'?)");
  EXPECT_EQ(error_of<ModelConfig>("window_size: 800\n", {}, "swinir.yaml"),
            "swinir.yaml:1: window_size is 800, expected 1..64");
  EXPECT_EQ(run_error("train:\n  rate: 0.1\n  steps: many\n"), "x.yaml:3: train.steps is 'many', expected an integer");
  EXPECT_EQ(run_error("train:\n  steps: 0"), "x.yaml:2: train.steps is 0, expected at least 1");
  EXPECT_EQ(run_error("train:\n\n  stepz: 5\n"), "x.yaml:3: unknown key 'train.stepz' (did you mean 'train.steps'?)");
  EXPECT_EQ(run_error("steps: 5\n"), "x.yaml:1: unknown key 'steps' (did you mean 'train.steps'?)");
  EXPECT_EQ(run_error("data: {colour: red}\n"), "x.yaml:1: unknown key 'data.colour'; known in data: folder, extensions");
  EXPECT_EQ(run_error("train.steps: 5\n"),
            "x.yaml:1: unknown key 'train.steps' (dots are for the command line; in a file, indent the key under its section)");
  EXPECT_EQ(run_error("model: {depths: [1,\n 99], num_heads: [1, 1]}"), "x.yaml:2: model.depths.1 is 99, expected 1..64");
  EXPECT_EQ(run_error("model: {upsampler: pixelshufle}"),
            "x.yaml:1: model.upsampler is 'pixelshufle', expected 'nearest+conv', 'pixelshuffle' or '' "
            "(did you mean 'pixelshuffle'?)");
}

TEST(Reader, TakesTruthInPythonsSpelling) {
  EXPECT_FALSE(read_config_text<TrainConfig>("ema: False", "x.yaml").ema);
  EXPECT_TRUE(read_config_text<TrainConfig>("ema: True", "x.yaml").ema);
}

TEST(Reader, RefusesWrongTypes) {
  const std::pair<const char*, const char*> cases[] = {
      {"train: {steps: 1.5}", "x.yaml:1: train.steps is '1.5', expected an integer"},
      {"train: {steps: 1e3}", "x.yaml:1: train.steps is '1e3', expected an integer"},
      {"train: {steps: 0x10}", "x.yaml:1: train.steps is '0x10', expected an integer"},
      {"train: {steps: '5'}", "x.yaml:1: train.steps is \"5\" in quotes, expected an integer"},
      {"train: {steps: }", "x.yaml:1: train.steps is empty, expected an integer"},
      {"train: {steps: +-5}", "x.yaml:1: train.steps is '+-5', expected an integer"},
      {"train: {steps: [5]}", "x.yaml:1: train.steps is a list of 1, expected an integer"},
      {"train: {steps: 99999999999}", "x.yaml:1: train.steps is 99999999999, expected at least 1"},
      {"train: {images: 9223372036854775808}",
       "x.yaml:1: train.images is 9223372036854775808, expected an integer that 64 bits can hold"},
      {"train: {rate: fast}", "x.yaml:1: train.rate is 'fast', expected a number"},
      {"train: {rate: nan}", "x.yaml:1: train.rate is 'nan', expected a number"},
      {"train: {rate: .inf}", "x.yaml:1: train.rate is '.inf', expected a number"},
      {"train: {betas: [inf]}", "x.yaml:1: train.betas.0 is 'inf', expected a number"},
      {"train: {betas: [1e999]}", "x.yaml:1: train.betas.0 is 1e999, expected a number that 64 bits can hold"},
      {"train: {ema: yes}", "x.yaml:1: train.ema is 'yes', expected true or false"},
      {"train: {ema: 1}", "x.yaml:1: train.ema is '1', expected true or false"},
      {"train: {betas: 0.9}", "x.yaml:1: train.betas is '0.9', expected a list [a, b, ...]"},
      {"train: {clip: 11}", "x.yaml:1: train.clip is 11, expected 0..10"},
      {"train: 5", "x.yaml:1: train is '5', expected a section of key: value lines"},
      {"train:\n  - 5", "x.yaml:1: train is a list of 1, expected a section of key: value lines"},
      {"output:\n  a: 5", "x.yaml:1: output is a section, expected text"},
      {"output:\nmodel: {}", "x.yaml:1: output is empty, expected text"},
      {"stages: [{name: a, sigma: [1, 2, 3]}]", "x.yaml:1: stages.0.sigma is a list of 3, expected a list of 2"},
      {"stages: [a]", "x.yaml:1: stages.0 is 'a', expected a section of key: value lines"},
      {"hello", "x.yaml:1: the configuration is 'hello', expected a section of key: value lines"},
      {"- a\n- b", "x.yaml:1: the configuration is a list of 2, expected a section of key: value lines"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(run_error(text), message) << text;
}

TEST(Reader, ListsAllProblemsInOrder) {
  EXPECT_EQ(
      error_of<RunConfig>("train:\n  stepz: 1\n  ema: maybe\nmodel:\n  window_size: 0\n", {"train.rate=2", "train.rat=0.1"}),
      "x.yaml:2: unknown key 'train.stepz' (did you mean 'train.steps'?)\n"
      "x.yaml:3: train.ema is 'maybe', expected true or false\n"
      "x.yaml:5: model.window_size is 0, expected 1..64\n"
      "command line: train.rate=2: train.rate is 2, expected 0..1\n"
      "command line: train.rat=0.1: unknown key 'train.rat' (did you mean 'train.rate'?)\n"
      "x.yaml: missing key 'data.folder' (a folder of pictures)");
}

TEST(Reader, RequiresKeys) {
  EXPECT_EQ(error_of<RunConfig>(""), "x.yaml: missing key 'data.folder' (a folder of pictures)");
  EXPECT_EQ(error_of<RunConfig>("output: a\ndata:\n  extensions: [.png]\n"),
            "x.yaml:2: missing key 'data.folder' (a folder of pictures)");
  EXPECT_EQ(error_of<RunConfig>("", {"data.folder=x"}), "no error");
  EXPECT_EQ(run_error("data: 5"), "x.yaml:1: data is '5', expected a section of key: value lines");
  EXPECT_EQ(run_error("stages:\n- name: a\n- sigma: [1, 2]\n"), "x.yaml:3: missing key 'stages.1.name'");
  // A list of the command line replaces the file's, and with it what the file gave.
  EXPECT_EQ(run_error("stages: [{name: a}]", {"stages=[{sigma: [1, 2]}]"}), "x.yaml: missing key 'stages.0.name'");
}

TEST(Reader, ChecksRulesBetweenFieldsAfterOverrides) {
  EXPECT_EQ(error_of<ModelConfig>("depths: [1, 2, 3]"), "x.yaml: depths has 3 entries, num_heads 2");
  EXPECT_EQ(error_of<ModelConfig>("depths: [1, 2, 3]", {"num_heads=[1, 1, 1]"}), "no error");
  EXPECT_EQ(run_error("output: a\nmodel:\n  depths: [1]\n"),
            "x.yaml:2: model: depths has 1 entries, num_heads 2 (with data.folder=photos from the command line)");
  EXPECT_EQ(error_of<ModelConfig>("", {"depths=[5]"}),
            "x.yaml: depths has 1 entries, num_heads 2 (with depths=[5] from the command line)");
  // Not in addition to a problem that may have caused it.
  EXPECT_EQ(error_of<ModelConfig>("depths: [1, 2, 300]"), "x.yaml:1: depths.2 is 300, expected 1..64");
  EXPECT_NE(run_error("teacher: {depths: [1]}").find("teacher: depths has 1"), std::string::npos);
}

TEST(Overrides, SetAnyKey) {
  const RunConfig c = run_config("train: {steps: 5}\nstages: [{name: a}, {name: b}]",
                                 {"train.steps=1000", "train.betas=[0.5]", "train.clip=0.5", "model={window_size: 16}",
                                  "model.embed_dim=96", "stages.1.sigma.0=7", "teacher.window_size=4", "train.steps=2000"});
  EXPECT_EQ(c.train.steps, 2000);
  EXPECT_EQ(c.train.betas, std::vector<double>{0.5});
  EXPECT_EQ(c.train.clip, 0.5);
  EXPECT_EQ(c.model.window_size, 16);
  EXPECT_EQ(c.model.embed_dim, 96);
  EXPECT_EQ(c.stages[1].sigma, (std::array<double, 2>{7, 12}));
  ASSERT_TRUE(c.teacher);
  EXPECT_EQ(c.teacher->window_size, 4);
  EXPECT_FALSE(run_config("train: {clip: 1}", {"train.clip=null"}).train.clip);
}

TEST(Overrides, TakeTextAsItStands) {
  const std::pair<const char*, const char*> cases[] = {
      {"output=", ""},         {"output=a: b # c", "a: b # c"}, {"output=*.jpg", "*.jpg"},  {"output=x=y", "x=y"},
      {"output=null", "null"}, {"output=\"a\\n\"", "a\n"},      {"output='it''s'", "it's"}, {"output=5", "5"},
  };
  for (const auto& [text, value] : cases) EXPECT_EQ(run_config("", {text}).output, value) << text;
}

TEST(Overrides, NameThemselvesInErrors) {
  EXPECT_EQ(run_error("", {"train.stepz=5"}),
            "command line: train.stepz=5: unknown key 'train.stepz' (did you mean 'train.steps'?)");
  EXPECT_EQ(run_error("", {"train.steps=x"}), "command line: train.steps=x: train.steps is 'x', expected an integer");
  EXPECT_EQ(run_error("", {"train.steps="}), "command line: train.steps=: train.steps is '', expected an integer");
  EXPECT_EQ(run_error("", {"train"}), "command line: train: expected key=value");
  EXPECT_EQ(run_error("", {"=5"}), "command line: =5: expected key=value");
  EXPECT_EQ(run_error("", {"train.steps.x=5"}), "command line: train.steps.x=5: train.steps is an integer, not a section");
  EXPECT_EQ(run_error("", {"train.betas.2=5"}), "command line: train.betas.2=5: '2' is no element of train.betas, which has 2");
  EXPECT_EQ(run_error("", {"train.betas.-1=5"}),
            "command line: train.betas.-1=5: '-1' is no element of train.betas, which has 2");
  EXPECT_EQ(run_error("", {"train..steps=5"}).substr(0, 51), "command line: train..steps=5: unknown key 'train.';");
  EXPECT_EQ(run_error("", {"train={steps: 1, steps: 2}"}),
            "command line: train={steps: 1, steps: 2}: key 'steps' stands twice");
  EXPECT_EQ(run_error("", {"train.betas=[1, 2"}),
            "command line: train.betas=[1, 2: a key must be plain text, not a list or a map; or a bracket is not closed");
}

TEST(Hostile, RefusesWhatAConfigurationHasNoUseFor) {
  const std::pair<std::string, const char*> cases[] = {
      {"output: a\noutput: b\n", "x.yaml:2: key 'output' stands twice, first in line 1"},
      {"a: &x [1]\nb: *x\n",
       "x.yaml:1: anchors and aliases (& and *) are not supported; write the value out, in quotes if it is text"},
      {"output: *x\n", "x.yaml:1: not valid YAML: the referenced anchor is not defined"},
      {"train:\n  steps: !!int 5\n",
       "x.yaml:2: tags (here 'tag:yaml.org,2002:int') are not supported; put text that begins with ! in quotes"},
      {"output: a\n---\noutput: b\n", "x.yaml:2: a second document begins here; a configuration is one"},
      {"? [a, b]\n: c\n", "x.yaml:1: a key must be plain text, not a list or a map; or a bracket is not closed"},
      {"~: c\n", "x.yaml:1: a key must be plain text, not empty"},
      {"output: [1, 2\n", "x.yaml:2: not valid YAML: end of sequence flow not found"},
      {std::string("a\0b", 3), "x.yaml: is not text in UTF-8"},
      {"output: \xff\xfe", "x.yaml: is not text in UTF-8"},
      {"output: \xc0\x80", "x.yaml: is not text in UTF-8"},
      {"output: \xed\xa0\x80", "x.yaml: is not text in UTF-8"},
      {"output: \"a\\0b\"\n", "x.yaml:1: output contains a NUL character"},
  };
  for (const auto& [text, message] : cases) EXPECT_EQ(run_error(text), message) << text;
}

TEST(Hostile, RefusesDeepNesting) {
  const auto nested = [](int levels) { return std::string(levels, '[') + std::string(levels, ']'); };
  EXPECT_EQ(run_error("train: {betas: " + nested(40) + "}"), "x.yaml:1: nested deeper than 32 levels");
  EXPECT_EQ(run_error(nested(33)), "x.yaml:1: nested deeper than 32 levels");
  EXPECT_EQ(run_error(nested(32)), "x.yaml:1: the configuration is a list of 1, expected a section of key: value lines");
  EXPECT_EQ(run_error("train: {betas: [[0.9]]}"), "x.yaml:1: train.betas.0 is a list of 1, expected a number");
}

TEST(Hostile, NoTerminalObeysAMessage) {
  EXPECT_EQ(run_error("\"\\e[2J\\u009b\": 1\n").substr(0, 40), "x.yaml:1: unknown key '\\x1b[2J\\x9b'; kno");
  const std::string error = run_error("train: {steps: " + std::string(100000, 'a') + "}");
  EXPECT_LT(error.size(), 200u);
}

TEST(Hostile, BigFilesEndSoon) {
  const auto repeat = [](const std::string& text, size_t bytes) {
    std::string result;
    while (result.size() < bytes) result += text;
    return result;
  };
  const size_t size = 1 << 18;  // enough to show what grows with the square
  std::string many_keys;
  for (int i = 0; many_keys.size() < size; ++i) many_keys.append("k").append(std::to_string(i)).append(": 1\n");
  const auto begin = std::chrono::steady_clock::now();
  for (const std::string& text :
       {many_keys,          repeat("[", size),     repeat("{", size),     repeat("- ", size),
        repeat("? ", size), repeat("{a: ", size),  repeat("a", size),     repeat("\"", size),
        repeat("[]", size), repeat("- a\n", size), repeat("a: ", size),   repeat("\n", size),
        repeat("!", size),  repeat("&", size),     repeat("a\n", size),   "[" + repeat("1,", size) + "]",
        repeat("#", size),  repeat("%", size),     repeat("---\n", size), repeat("|", size),
        repeat("\t", size)}) {
    const std::string error = run_error(text);
    EXPECT_LT(error.size(), 6000u);
    EXPECT_LE(std::count(error.begin(), error.end(), '\n'), 20) << error;
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count(), 30);
  const std::string error = run_error(many_keys);
  EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 20);
  EXPECT_NE(error.find("x.yaml: more problems follow"), std::string::npos);
}

TEST(Hostile, MutationsEndInAConfigurationOrAnInputError) {
  const std::string base = to_yaml(run_config("stages: [{name: a}, {name: 'b: c'}]\nteacher: {}"), true);
  std::mt19937 random(1);
  const std::string alphabet = "{}[]:,-?&*!|>'\"%@`#\n\t \\~aZ09.<=\xc3\xa9";
  int refused = 0;
  for (int round = 0; round < 3000; ++round) {
    std::string text = base;
    for (int edits = 1 + int(random() % 4); edits > 0; --edits) {
      const size_t at = random() % text.size();
      switch (random() % 3) {
        case 0: text[at] = alphabet[random() % alphabet.size()]; break;
        case 1: text.insert(at, 1 + random() % 3, alphabet[random() % alphabet.size()]); break;
        case 2: text.erase(at, 1 + random() % 20); break;
      }
    }
    refused += run_error(text) != "no error";
  }
  EXPECT_GT(refused, 500);
}

TEST(Writer, WritesReadably) {
  const RunConfig c = run_config("stages: [{name: a}]");
  EXPECT_EQ(to_yaml(c),
            "output: out\n"
            "model:\n"
            "  embed_dim: 180\n"
            "  window_size: 8\n"
            "  depths: [6, 6]\n"
            "  num_heads: [6, 6]\n"
            "  upsampler: nearest+conv\n"
            "data:\n"
            "  folder: photos\n"
            "  extensions: [\".jpg\"]\n"
            "train:\n"
            "  steps: 100\n"
            "  images: 0\n"
            "  rate: 0.0001\n"
            "  ema: true\n"
            "  betas: [0.9, 0.999]\n"
            "  clip: null\n"
            "stages:\n"
            "  - name: a\n"
            "    sigma: [0.1, 12]\n"
            "teacher: null\n");
  const std::string with_help = to_yaml(c, true);
  EXPECT_NE(with_help.find("  embed_dim: 180  # width of the network; 1..4096\n"), std::string::npos) << with_help;
  EXPECT_NE(with_help.find("model:  # the network\n"), std::string::npos);
  EXPECT_NE(with_help.find("  steps: 100  # how long; at least 1\n"), std::string::npos);
}

TEST(Writer, RoundTripsExactly) {
  std::mt19937_64 random(2);
  const auto random_text = [&] {
    static const std::vector<std::string> pieces{
        "a",    " ",    "\n",       "\t",           "\"",   "\\",           "'", "#", ": ", "- ", "é", "日", "😀", "{",   "]",
        "\r",   "\x1b", "\xc2\x85", "\xe2\x80\xa8", "null", "\xef\xbb\xbf", "~", "&", "*",  "!",  "%", "@",  "0", "---", "...",
        "\x7f", ",",    ">"};
    std::string text;
    for (size_t n = random() % 6; n > 0; --n) text += pieces[random() % pieces.size()];
    return text;
  };
  const auto random_double = [&] {
    double x = 0;
    do {
      const uint64_t bits = random();
      std::memcpy(&x, &bits, sizeof x);
    } while (!std::isnormal(x));
    return x;
  };
  for (int round = 0; round < 500; ++round) {
    RunConfig c;
    c.output = random_text();
    c.data.folder = random_text();
    c.data.extensions.resize(random() % 3);
    for (std::string& e : c.data.extensions) e = random_text();
    c.train.images = int64_t(random());
    c.train.rate = double(random() >> 11) * 0x1p-53;
    c.train.betas.resize(random() % 4);
    for (double& b : c.train.betas) b = random_double();
    if (random() % 2) c.train.clip = 10 * double(random() >> 11) * 0x1p-53;
    c.stages.resize(random() % 3);
    for (StageConfig& s : c.stages) s.name = random_text();
    if (random() % 2) c.teacher.emplace().upsampler = "";
    for (const bool with_help : {false, true}) {
      const std::string yaml = to_yaml(c, with_help);
      const RunConfig back = read_config_text<RunConfig>(yaml, "back.yaml");
      ASSERT_EQ(back, c) << yaml;
      ASSERT_EQ(to_yaml(back, with_help), yaml);
    }
  }
  // Words that mean something else without quotes; numbers at the edges.
  for (const char* word : {"", "true", "null", "~", "no", "5", "-", "1e5", ".inf", "=", "<<", "Null", " a", "a ", "0x1"}) {
    RunConfig c;
    c.data.folder = word;
    EXPECT_EQ(read_config_text<RunConfig>(to_yaml(c), "back.yaml").data.folder, word);
  }
  TrainConfig t;
  t.betas = {5e-324, -0.0, 1.7976931348623157e308, 1e16, 0.1 + 0.2};
  t.images = std::numeric_limits<int64_t>::min();
  const TrainConfig back = read_config_text<TrainConfig>(to_yaml(t), "back.yaml");
  EXPECT_EQ(back, t);
  EXPECT_TRUE(std::signbit(back.betas[1]));
}

TEST(Writer, RefusesWhatYamlCannotHold) {
  TrainConfig c;
  c.rate = std::numeric_limits<double>::infinity();
  EXPECT_THROW(to_yaml(c), InputError);
  DataConfig d;
  d.folder = "\xff";
  EXPECT_THROW(to_yaml(d), InputError);
}

struct Empty {
  void fields(auto&&) {}
  bool operator==(const Empty&) const = default;
};
struct Odd {
  Empty empty;
  std::vector<Empty> list{Empty{}, Empty{}};
  std::vector<std::vector<int>> table{{1, 2}, {}};
  std::vector<StageConfig> nothing;
  std::array<std::string, 2> pair;
  std::vector<std::optional<StageConfig>> maybe;
  void fields(auto&& v) {
    v("empty", empty);
    v("list", list);
    v("table", table);
    v("nothing", nothing);
    v("pair", pair);
    v("maybe", maybe);
  }
  bool operator==(const Odd&) const = default;
};

TEST(Writer, RoundTripsOddShapes) {
  Odd odd;
  odd.maybe = {std::nullopt, StageConfig{"a", {1, 2}}};
  EXPECT_EQ(read_config_text<Odd>(to_yaml(odd, true), "back.yaml"), odd) << to_yaml(odd);
  std::swap(odd.maybe[0], odd.maybe[1]);
  EXPECT_EQ(read_config_text<Odd>(to_yaml(odd), "back.yaml"), odd) << to_yaml(odd);
}

TEST(Describe, ListsEveryKey) {
  const std::string text = describe<RunConfig>();
  for (const char* line :
       {"output = out", "model.embed_dim = 180", "an integer, 1..4096: width of the network", "data.folder (required)",
        "text: a folder of pictures", "one of 'nearest+conv', 'pixelshuffle' or '': how the picture is enlarged",
        "stages.0.name (required)", "a list [a, b, ...], each 1..64: blocks of each group", "an integer, at least 1: how long",
        "teacher.window_size = 8", "train.clip = null"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << "\nin\n" << text;
  }
}

TEST(Section, IsReadOutOfALargerConfiguration) {
  const auto error_of = [](const std::string& text) {
    try {
      read_config_section<ModelConfig>(text, "state", "model");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const std::string text = "output: out\nmodel:\n  embed_dim: 60\n  window_size: 4\ntrain: {steps: 3}\n";
  EXPECT_EQ(read_config_section<ModelConfig>(text, "state", "model").embed_dim, 60);
  EXPECT_EQ(error_of("output: out\n"), "state: has no section 'model'");
  EXPECT_EQ(error_of(""), "state: has no section 'model'");
  EXPECT_EQ(error_of("[model]"), "state: has no section 'model'");
  EXPECT_EQ(error_of("a: 1\nmodel:\n  embed_dim: 9999\n"), "state:3: embed_dim is 9999, expected 1..4096");
  EXPECT_EQ(error_of("model:\n  depths: [1]\n"), "state: depths has 1 entries, num_heads 2");
}

TEST(Files, ReadsAndRefuses) {
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / ("configs_" + std::to_string(::getpid()));
  make_folder(folder);
  const std::filesystem::path file = folder / "c.yaml";
  const auto error_of_file = [&] {
    try {
      read_config<ModelConfig>(file);
    } catch (const InputError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(error_of_file(), file.string() + ": cannot open: No such file or directory");
  write_file_atomically(file, "embed_dim: 60\n");
  EXPECT_EQ(read_config<ModelConfig>(file, {"window_size=4"}).embed_dim, 60);
  write_file_atomically(file, "embed: 60\n");
  EXPECT_EQ(error_of_file().substr(0, file.string().size() + 23), file.string() + ":1: unknown key 'embed'");
  write_file_atomically(file, std::string((1 << 20) + 1, '#'));
  EXPECT_EQ(error_of_file(), file.string() + ": 1048577 bytes, more than the 1048576 allowed here");
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace relume
