"""Writes data/unicode_tables.cpp, data/normal_form_tables.cpp and data/html_entities.cpp from Python's own tables: the
tokenizer follows what Python does to a text. Run from anywhere; the version of Unicode is that of the interpreter."""
import sys
import unicodedata
from html.entities import html5
from pathlib import Path

OUT = Path(__file__).parent
CODES = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
NOTE = "// Written by data/make_text_tables.py: change that, not this file.\n"
SIGMA, FINAL_SIGMA = "\u03a3", "\u03c2"


def runs(pairs):
    """[(code, value)], increasing, to [(first, last, value)] of neighbours with one value."""
    out = []
    for code, value in pairs:
        if out and out[-1][1] == code - 1 and out[-1][2] == value:
            out[-1][1] = code
        else:
            out.append([code, code, value])
    return out


def lower_runs():
    """[(first, last, step, offset)]: every step-th code from first to last is that much below its lower case."""
    out = []
    for c in CODES:
        low = chr(c).lower()
        if len(low) != 1 or ord(low) == c:  # U+0130 becomes two: code of its own
            continue
        offset = ord(low) - c
        last = out[-1] if out else None
        if last and last[3] == offset and c - last[1] in (1, 2) and last[2] in (0, c - last[1]):
            last[1], last[2] = c, c - last[1]
        else:
            out.append([c, c, 0, offset])
    return [(first, last, step or 1, offset) for first, last, step, offset in out]


def table(kind, name, rows):
    text, line = f"constexpr {kind} {name}_table[] = {{\n", "   "
    for row in rows:
        item = " {" + ",".join(f"{v:#x}" if abs(v) > 9 else str(v) for v in row) + "},"
        if len(line) + len(item) > 128:
            text, line = text + line + "\n", "   "
        line += item
    return text + line + "};\n"


def source_of(tables):
    text = f"{NOTE}// Unicode {unicodedata.unidata_version}.\n#include \"data/unicode_tables.h\"\n\n"
    text += "namespace relume::unicode {\nnamespace {\n\n// clang-format off\n"
    text += "".join(table(*t) for t in tables) + "// clang-format on\n\n}  // namespace\n\n"
    text += "".join(f"constinit const std::span<const {kind}> {name}{{{name}_table}};\n" for kind, name, _ in tables)
    return text + "\n}  // namespace relume::unicode\n"


def unicode_tables():
    ranges = lambda condition: [r[:2] for r in runs([(c, 0) for c in CODES if condition(c)])]
    is_cased = lambda c: (chr(c) + SIGMA).lower()[-1] == FINAL_SIGMA
    is_skipped = lambda c: not is_cased(c) and ("a" + chr(c) + SIGMA).lower()[-1] == FINAL_SIGMA
    widths = [(c, unicodedata.normalize("NFKC", chr(c))) for c in range(0xFF01, 0xFFF0)]
    return source_of([
        ("CodeRange", "letters", ranges(lambda c: unicodedata.category(chr(c))[0] == "L")),
        ("CodeRange", "numbers", ranges(lambda c: unicodedata.category(chr(c))[0] == "N")),
        ("CodeRange", "cased", ranges(is_cased)),
        ("CodeRange", "case_ignorable", ranges(is_skipped)),
        ("LowerRange", "lower_cases", lower_runs()),
        ("ValueRange", "width_offsets", runs([(c, ord(to) - c) for c, to in widths if to != chr(c) and len(to) == 1])),
    ])


def normal_form_tables():
    decompositions = []
    for c in CODES:
        parts = unicodedata.decomposition(chr(c))
        if parts and parts[0] != "<":
            codes = [int(p, 16) for p in parts.split()]
            composes = unicodedata.normalize("NFC", chr(c)) == chr(c)
            decompositions.append((c, codes[0], codes[1] if len(codes) > 1 else 0, int(composes)))
    classes = [(c, unicodedata.combining(chr(c))) for c in CODES if unicodedata.combining(chr(c))]
    return source_of([
        ("ValueRange", "combining_classes", runs(classes)),
        ("Decomposition", "decompositions", decompositions),
    ])


def quoted(text):
    """UTF-8 as a C++ string literal; octal, as it ends after three digits."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and chr(b) not in '"\\' else f"\\{b:03o}" for b in text.encode()) + '"'


def html_entities():
    text = f"{NOTE}#include \"data/html_entities.h\"\n\nnamespace relume {{\nnamespace {{\n\n// clang-format off\n"
    text, line = text + "constexpr HtmlEntity entities[] = {\n", "   "
    for name in sorted(html5):
        item = f" {{{quoted(name)},{quoted(html5[name])}}},"
        if len(line) + len(item) > 128:
            text, line = text + line + "\n", "   "
        line += item
    text += line + "};\n// clang-format on\n\n}  // namespace\n\n"
    return text + "constinit const std::span<const HtmlEntity> html_entities{entities};\n\n}  // namespace relume\n"


def main():
    (OUT / "unicode_tables.cpp").write_text(unicode_tables())
    (OUT / "normal_form_tables.cpp").write_text(normal_form_tables())
    (OUT / "html_entities.cpp").write_text(html_entities())


if __name__ == "__main__":
    sys.exit(main())
