#include "data/checkpoint/pickle.h"

#include <ctime>

#include "tests/support/errors.h"
#include "tests/support/pickles.h"

namespace relume::test {
namespace {

using namespace pickles;
using namespace std::string_literals;

PickleDocument parsed(const std::string& pickle) { return read_pickle(pickle, "x.ckpt"); }
std::string refusal(const std::string& pickle) {
  const std::string message = input_error([&] { parsed(pickle); });
  EXPECT_TRUE(message.starts_with("x.ckpt: byte ")) << message;
  EXPECT_EQ(message.find('\n'), std::string::npos) << message;
  return message;
}
// The only value of a pickle, as messages show it.
std::string value(const std::string& opcodes) {
  const std::string pickle = opcodes + ".";
  const PickleDocument d = read_pickle(pickle, "x.ckpt");
  return describe(d, d.root);
}

TEST(Pickle, ReadsNumbersOfEveryProtocol) {
  EXPECT_EQ(value("N"), "None");
  EXPECT_EQ(value("\x88"), "true");
  EXPECT_EQ(value("I01\n"), "true");
  EXPECT_EQ(value("I00\n"), "false");
  EXPECT_EQ(value("I-17\n"), "-17");
  EXPECT_EQ(value("L99L\n"), "99");
  EXPECT_EQ(value(joined({"J", raw(uint32_t(-5), 4)})), "-5");
  EXPECT_EQ(value("K\xff"), "255");
  EXPECT_EQ(value("M\xff\xff"), "65535");
  EXPECT_EQ(value(std::string("\x8a\0", 2)), "0");
  EXPECT_EQ(value("\x8a\x02\x00\x80"s), "-32768");
  EXPECT_EQ(value(integer(INT64_MIN)), std::to_string(INT64_MIN));
  EXPECT_EQ(value(joined({"\x8a\x09", raw(UINT64_MAX, 8), "\0"s})), "an integer of 9 bytes");
  EXPECT_EQ(value("\x8b\x01\0\0\0\x05"s), "5");
  EXPECT_EQ(value("F0.25\n"), "0.25");
  EXPECT_EQ(value("Finf\n"), "inf");
  EXPECT_EQ(value("G\x40\x09\x21\xfb\x54\x44\x2d\x18"), "3.141592653589793");
}

TEST(Pickle, ReadsTextsOfEveryProtocol) {
  EXPECT_EQ(value(text("gr\xC3\xBCn")), "'gr\xC3\xBCn'");
  EXPECT_EQ(value("\x8c\x02hi"), "'hi'");
  EXPECT_EQ(value(joined({"\x8d", raw(2, 8), "hi"})), "'hi'");
  EXPECT_EQ(value("U\x02hi"), "'hi'");
  EXPECT_EQ(value("U\x02\xff\xfe"), "2 bytes");
  EXPECT_EQ(value(joined({"T", raw(2, 4), "hi"})), "'hi'");
  EXPECT_EQ(value("S'hi'\n"), "'hi'");
  EXPECT_EQ(value("Vhi\n"), "'hi'");
  EXPECT_EQ(value("C\x03\x01\x02\x03"), "3 bytes");
  EXPECT_EQ(value(text("\x1b[2J")), "'\\x1b[2J'") << "a terminal obeys nothing";
}

TEST(Pickle, ReadsContainersAndItsMemo) {
  EXPECT_EQ(value("]"), "a list of 0");
  EXPECT_EQ(value("(K\x01K\x02l"), "a list of 2");
  EXPECT_EQ(value("]K\x01"
                  "a(K\x02K\x03"
                  "e"),
            "a list of 3");
  EXPECT_EQ(value("K\x01K\x02K\x03\x87"), "a tuple of 3");
  EXPECT_EQ(value("}K\x01K\x02s(K\x03K\x04K\x05K\x06u"), "a dict of 3");
  EXPECT_EQ(value("(K\x01K\x02"
                  "d"),
            "a dict of 1");
  EXPECT_EQ(value("K\x07q\x05K\x01"
                  "0"
                  "0h\x05"),
            "7");
  EXPECT_EQ(value("K\x07\x94K\x08\x94"
                  "0"
                  "0h\x01"),
            "8");
  EXPECT_EQ(value("K\x07p3\n0g3\n"), "7");
  EXPECT_EQ(value(joined({"K\x07r", raw(300, 4), "0j", raw(300, 4)})), "7");
  EXPECT_EQ(value("K\x01(K\x02K\x03"
                  "1"),
            "1");
  EXPECT_EQ(value(joined({"\x80\x04\x95", raw(2, 8), "K\x02"})), "2");
  const std::string circle = whole(
      "]q\x01h\x01"
      "a");
  const PickleDocument d = parsed(circle);
  EXPECT_EQ(d.items_of(d.root)[0].number, d.root.number) << "a list that holds itself";
}

TEST(Pickle, ReadsTensorsInEveryFormPyTorchWrites) {
  const std::string s = storage("FloatStorage", "0", 6), hooks = ordered_dict();
  const std::string v2 = tensor(s, 1, {2, 2}, {3, 1});
  const auto checked = [](const std::string& opcodes) {
    const std::string pickle = whole(opcodes);
    const PickleDocument d = parsed(pickle);
    ASSERT_EQ(d.root.kind, PickleKind::tensor) << opcodes;
    const TorchTensor& t = d.tensors[size_t(d.root.number)];
    EXPECT_EQ(t.offset, 1);
    EXPECT_EQ(t.sizes, (std::vector<int64_t>{2, 2}));
    EXPECT_EQ(t.strides, (std::vector<int64_t>{3, 1}));
    EXPECT_EQ(t.length, 6);
    EXPECT_EQ(d.storages[t.storage].key, "0");
  };
  checked(v2);
  checked(call(global("torch._utils", "_rebuild_tensor"), {s, integer(1), integers({2, 2}), integers({3, 1})}));
  checked(call(global("torch._utils", "_rebuild_tensor_v2"),
               {s, integer(1), call(global("torch", "Size"), {integers({2, 2})}), integers({3, 1}), "\x89", hooks, "N"}));
  checked(call(global("torch._utils", "_rebuild_tensor_v3"),
               {s, integer(1), integers({2, 2}), integers({3, 1}), "\x89", hooks, global("torch", "float32")}));
  checked(call(global("torch._utils", "_rebuild_parameter"), {v2, "\x88", hooks}));
  checked(call(global("torch._utils", "_rebuild_parameter_with_state"), {v2, "\x88", hooks, dict({{"tag", "N"}})}));
  const std::string arguments = tuple({s, integer(1), integers({2, 2}), integers({3, 1}), "\x89", hooks});
  checked(call(global("torch._tensor", "_rebuild_from_type_v2"),
               {global("torch._utils", "_rebuild_tensor_v2"), global("torch.nn.parameter", "Parameter"), arguments, "}"}));
  checked(text("torch._utils") + text("_rebuild_tensor_v2") + "\x93" + arguments + "R");
}

TEST(Pickle, DropsTheAttributesOfAnOrderedDict) {
  EXPECT_EQ(value(joined({ordered_dict(), dict({{"_metadata", ordered_dict()}}), "b"})), "a dict of 0");
  EXPECT_EQ(value(call(global("collections", "OrderedDict"), {joined({"]", tuple({text("a"), "K\x01"}), "a"})})),
            "a dict of 1");
}

TEST(Pickle, ReadsNumbersOfNumPy) {
  const auto number = [](const std::string& code, const std::string& bytes,
                         const std::string& module = "numpy._core.multiarray") {
    const std::string type = call(global("numpy", "dtype"), {text(code), "\x89", "\x88"}) +
                             tuple({"K\x03", text("<"), "N", "N", "N", integer(-1), integer(-1), "K\x00"s}) + "b";
    return value(call(global(module, "scalar"), {type, call(global("_codecs", "encode"), {text(bytes), text("latin1")})}));
  };
  EXPECT_EQ(number("f8", "\0\0\0\0\0\0\xC3\xB8?"s), "1.5") << "0x3FF8 with 0xF8 as UTF-8";
  EXPECT_EQ(number("f4", "\0\0\0@"s), "2");
  EXPECT_EQ(number("f2", "\0<"s), "1");
  EXPECT_EQ(number("i8", "\xC3\xBE\xC3\xBF\xC3\xBF\xC3\xBF\xC3\xBF\xC3\xBF\xC3\xBF\xC3\xBF", "numpy.core.multiarray"), "-2");
  EXPECT_EQ(number("u1", "\xC3\xBF"), "255");
  EXPECT_EQ(number("b1", "\1"), "true");
  EXPECT_HAS(refusal(whole(call(global("numpy", "dtype"), {text("O8"), "\x89", "\x88"}))), "numpy.dtype: the type 'O8'");
  EXPECT_HAS(input_error([&] { number("f8", "\1"); }), "a NumPy number of type f8 in 1 bytes");
  EXPECT_EQ(value(call(global("__builtin__", "bytes"), {})), "0 bytes");
}

TEST(Pickle, RefusesEveryOtherGlobalByName) {
  for (const auto& [module, name] : std::vector<std::pair<std::string, std::string>>{{"posix", "system"},
                                                                                     {"os", "system"},
                                                                                     {"nt", "system"},
                                                                                     {"builtins", "eval"},
                                                                                     {"builtins", "exec"},
                                                                                     {"builtins", "getattr"},
                                                                                     {"__builtin__", "eval"},
                                                                                     {"subprocess", "Popen"},
                                                                                     {"runpy", "_run_code"},
                                                                                     {"webbrowser", "open"},
                                                                                     {"numpy", "load"},
                                                                                     {"numpy.core.multiarray", "_reconstruct"},
                                                                                     {"torch", "load"},
                                                                                     {"torch", "hub"},
                                                                                     {"torch.storage", "_load_from_bytes"},
                                                                                     {"torch._utils", "_rebuild_sparse_tensor"},
                                                                                     {"collections", "defaultdict"},
                                                                                     {"copyreg", "_reconstructor"}}) {
    const std::string refused = "refuses the global " + module + "." + name + ":";
    EXPECT_HAS(refusal(whole(global(module, name))), refused);
    EXPECT_HAS(refusal(whole(text(module) + text(name) + "\x93")), refused);
    EXPECT_HAS(refusal(whole("(i" + module + "\n" + name + "\n")), refused);
    EXPECT_HAS(refusal(whole(dict({{"a", "N"}, {"b", call(global(module, name), {text("echo")})}}))), refused);
    EXPECT_HAS(refusal(whole("N0" + global(module, name) + "0N")), refused);  // even if it is dropped at once
  }
  EXPECT_HAS(refusal(whole(global("os\x1b[2J", "system"))), "refuses the global os\\x1b[2J.system");
  EXPECT_HAS(refusal(whole("K\x01K\x02\x93")), "a global whose name is no text");
}

TEST(Pickle, RefusesToCallWhatIsNoFunction) {
  EXPECT_HAS(refusal(whole("K\x01)R")), "refuses to call 1");
  EXPECT_HAS(refusal(whole(text("posix.system") + tuple({text("echo")}) + "R")), "refuses to call 'posix.system'");
  EXPECT_HAS(refusal(whole(global("torch", "FloatStorage") + ")R")), "refuses to call torch.FloatStorage");
  EXPECT_HAS(refusal(whole(global("torch", "float32") + ")R")), "refuses to call torch.float32");
  EXPECT_HAS(refusal(whole(global("torch.nn.parameter", "Parameter") + ")R")), "refuses to call torch.nn.parameter.Parameter");
  EXPECT_HAS(refusal(whole(global("collections", "OrderedDict") + "NR")), "is called with None, a tuple of arguments expected");
  EXPECT_HAS(refusal(whole(ordered_dict() + ")R")), "refuses to call a dict of 0");
  const std::string from_type = global("torch._tensor", "_rebuild_from_type_v2");
  EXPECT_HAS(refusal(whole(call(from_type, {from_type, global("torch", "Tensor"), ")", "}"}))),
             "refuses to call torch._tensor._rebuild_from_type_v2");
}

TEST(Pickle, RefusesToSetTheStateOfAnythingElse) {
  const std::string state = dict({{"__setstate__", text("x")}});
  EXPECT_HAS(refusal(whole("]" + state + "b")), "refuses to set the state of a list of 0 to a dict of 1 (opcode BUILD)");
  EXPECT_HAS(refusal(whole(tensor(storage("FloatStorage", "0", 1), 0, {}, {}) + state + "b")), "the state of a tensor");
  EXPECT_HAS(refusal(whole(global("torch", "Tensor") + state + "b")), "the state of a global");
  EXPECT_HAS(refusal(whole(ordered_dict() + "]b")), "the state of a dict of 0 to a list of 0");
  EXPECT_EQ(value(ordered_dict() + state + "b"), "a dict of 0") << "attributes are dropped, never obeyed";
}

TEST(Pickle, RefusesOpcodesByName) {
  EXPECT_HAS(refusal(whole(ordered_dict() + ")\x81")), "refuses the opcode NEWOBJ");
  EXPECT_HAS(refusal(whole(ordered_dict() + ")}\x92")), "refuses the opcode NEWOBJ_EX");
  EXPECT_HAS(refusal(whole("(o")), "refuses the opcode OBJ");
  EXPECT_HAS(refusal(whole("\x82\x01")), "refuses the opcode EXT1");
  EXPECT_HAS(refusal(whole("\x8f")), "refuses the opcode EMPTY_SET");
  EXPECT_HAS(refusal(whole("Pstorage\n")), "refuses the opcode PERSID");
  EXPECT_HAS(refusal(whole("\x97")), "refuses the opcode NEXT_BUFFER");
  EXPECT_HAS(refusal(whole("(icollections\nOrderedDict\n")),
             "refuses to make an object of collections.OrderedDict (opcode INST)");
  EXPECT_HAS(refusal(whole("\xfe")), "unknown opcode 0xfe");
  EXPECT_HAS(refusal(std::string("\x80\x06N.")), "protocol 6, 0 to 5 are read");
}

TEST(Pickle, RefusesWhatMakesNoSense) {
  EXPECT_HAS(refusal(""), "the pickle ends before its STOP");
  EXPECT_HAS(refusal("K\x01"), "the pickle ends before its STOP");
  EXPECT_HAS(refusal("."), "a value is missing on the stack");
  EXPECT_HAS(refusal("0."), "a value is missing on the stack");
  EXPECT_HAS(refusal("K\x01(000."), "a value is missing on the stack");
  EXPECT_HAS(refusal("t."), "a mark is missing on the stack");
  EXPECT_HAS(refusal("K\x01(\x85."), "a value is missing on the stack");  // a mark is a fence
  EXPECT_HAS(refusal("](a."), "a value is missing on the stack");
  EXPECT_HAS(refusal("K\x01K\x02"
                     "a."),
             "adds to 1, which is no list");
  EXPECT_HAS(refusal("]K\x01K\x02s."), "adds to a list of 0, which is no dict");
  EXPECT_HAS(refusal("}(K\x01u."), "a key that has no value");
  EXPECT_HAS(refusal("(K\x01"
                     "d."),
             "a key that has no value");
  EXPECT_HAS(refusal("h\x01."), "memo entry 1 was never stored");
  EXPECT_HAS(refusal("Nr\xff\xff\xff\xff."), "memo entry 4294967295 where there are 0");
  EXPECT_HAS(refusal("q\x01."), "a value is missing on the stack");
  EXPECT_HAS(refusal("Fnonsense\n."), "'nonsense' is not a number");
  EXPECT_HAS(refusal("L99999999999999999999L\n."), "is not a number that is held");
  EXPECT_HAS(refusal("Iabc"), "a line without an end");
  EXPECT_HAS(refusal("X\x02\0\0\0\xff\xff."s), "is not UTF-8");
  EXPECT_HAS(refusal("S'a\\x41'\n."), "has escapes");
  EXPECT_HAS(refusal("S'a\n."), "without its quotes");
  EXPECT_HAS(refusal("X\xff\xff\xff\xff."), "a text of 4294967295 bytes, at most");
  EXPECT_HAS(refusal("X\x10\0\0\0abc."s), "truncated: a text of 16 bytes, 4 follow");
  EXPECT_HAS(refusal("\x8b\xff\xff\xff\x7f."), "an integer of 2147483647 bytes, at most 255");
  EXPECT_HAS(refusal(joined({"\x95", raw(UINT64_MAX, 8)})), "a frame of 18446744073709551615 bytes");
}

TEST(Pickle, RefusesTensorsThatPyTorchDoesNotWrite) {
  const std::string v2 = global("torch._utils", "_rebuild_tensor_v2"), s = storage("FloatStorage", "0", 6);
  EXPECT_HAS(refusal(whole(call(v2, {s, integer(0)}))),
             "torch._utils._rebuild_tensor_v2 is given 2 arguments, 6 to 7 expected");
  EXPECT_HAS(refusal(whole(call(v2, {"N", "N", "N", "N", "N", "N"}))), "argument 1 is None, a storage expected");
  EXPECT_HAS(refusal(whole(call(v2, {s, "N", integers({}), integers({}), "N", "N"}))),
             "argument 2 is None, an integer expected");
  EXPECT_HAS(refusal(whole(call(v2, {s, integer(0), text("x"), integers({}), "N", "N"}))),
             "argument 3 is 'x', a tuple of integers expected");
  EXPECT_HAS(refusal(whole(call(v2, {s, integer(0), tuple({"N"}), integers({}), "N", "N"}))), "argument 3 holds None");
  EXPECT_HAS(refusal(whole(call(v2, {s, integer(0), integers(std::vector<int64_t>(65, 1)), integers({}), "N", "N"}))),
             "argument 3 has 65 numbers");
  EXPECT_HAS(refusal(whole(tuple({text("module"), text("a"), text("b"), text("c"), "N"}) + "Q")),
             "refuses the persistent id of a module");
  EXPECT_HAS(refusal(whole("NQ")), "a persistent id that is None");
  EXPECT_HAS(refusal(whole(storage("FloatStorage", "0", -1))), "storage '0' of -1 elements");
  EXPECT_HAS(refusal(whole(s + storage("FloatStorage", "0", 7) + "\x86")),
             "storage '0' is given as 6 float32 and as 7 float32");
  EXPECT_HAS(refusal(whole(s + storage("LongStorage", "0", 6) + "\x86")), "as 6 float32 and as 6 int64");
}

// Of the processor: the machine may be busy with other things.
double seconds(const std::string& pickle, std::string& message) {
  const std::clock_t begin = std::clock();
  message = refusal(pickle);
  return double(std::clock() - begin) / CLOCKS_PER_SEC;
}

// What is small in the file and large in memory, or takes long: refused soon, or harmless because values are shared.
TEST(Pickle, BombsEndSoon) {
  std::string message, many;
  EXPECT_LT(seconds(std::string(50'000'000, ']'), message), 2);
  EXPECT_HAS(message, "more than 2097152 values");
  EXPECT_LT(seconds(std::string(50'000'000, '('), message), 2);
  EXPECT_HAS(message, "nested more than 1000 deep");
  EXPECT_LT(seconds(std::string(50'000'000, 'N'), message), 2);
  EXPECT_HAS(message, "values on the stack");
  std::string memo = "N";
  for (uint64_t i = 1; i < 10000; ++i) memo += joined({"r", raw(i * 1024, 4)});
  EXPECT_LT(seconds(memo + ".", message), 2);
  EXPECT_HAS(message, "more than 2097152 values");
  // One text encoded again and again: a megabyte each from eight bytes of the file.
  many = text(std::string(1'000'000, 'a')) + "q\1";
  many += text("latin1") + "q\2" + global("_codecs", "encode") + "q\3";
  for (int i = 0; i < 100'000; ++i) many += "h\3h\1h\2\x86R0";
  EXPECT_LT(seconds(whole(many), message), 2);
  EXPECT_HAS(message, "more than 2097152 values");
  // One list of pairs made into dicts again and again.
  many = global("collections", "OrderedDict") + "q\1](";
  for (int i = 0; i < 10'000; ++i) many += "NN\x86";
  many += "eq\2";
  for (int i = 0; i < 100'000; ++i) many += "h\1h\2\x85R0";
  EXPECT_LT(seconds(whole(many), message), 2);
  EXPECT_HAS(message, "more than 2097152 values");

  // A billion laughs: forty lists, each holding the one before twice. And tuples nested a million deep.
  std::string laughs = "]q\1";
  for (int i = 0; i < 40; ++i) laughs += "](h\1h\1eq\1";
  EXPECT_EQ(value(laughs), "a list of 2");
  EXPECT_EQ(value(")" + std::string(1'000'000, '\x85')), "a tuple of 1");
}

TEST(Pickle, EveryTruncationIsNamed) {
  const std::string pickle = whole(dict({{"a", tensor(storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1})}, {"b", "F1.5\n"}}));
  for (size_t length = 0; length < pickle.size(); ++length) refusal(pickle.substr(0, length));
  EXPECT_EQ(value(pickle.substr(2, pickle.size() - 3)), "a dict of 2");
}

}  // namespace
}  // namespace relume::test
