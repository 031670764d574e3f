#include "data/prompt_text.h"

#include <gtest/gtest.h>

#include "tests/support/errors.h"

namespace relume::test {
namespace {

TEST(UnescapeHtml, NamesWithAndWithoutSemicolon) {
  EXPECT_EQ(unescape_html("&lt;b&gt; &amp &eacute;&hearts;"), "<b> & \u00E9\u2665");
  EXPECT_EQ(unescape_html("&notit;"), "\u00ACit;") << "the longest name that HTML knows";
  EXPECT_EQ(unescape_html("&notin;"), "\u2209");
  EXPECT_EQ(unescape_html("&NotEqualTilde;"), "\u2242\u0338");
  EXPECT_EQ(unescape_html("&amp;amp;"), "&amp;") << "once";
  EXPECT_EQ(unescape_html("& &; &x; &nosuchname; &"), "& &; &x; &nosuchname; &");
}

TEST(UnescapeHtml, Numbers) {
  EXPECT_EQ(unescape_html("&#39;&#x41;&#X42;&#67 &#x1F5FC;"), "'ABC \U0001F5FC");
  EXPECT_EQ(unescape_html("&#150;&#x80;"), "\u2013\u20AC") << "Windows-1252";
  EXPECT_EQ(unescape_html("&#0;&#xD800;&#x110000;&#99999999999999999999;"), "\uFFFD\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(unescape_html("a&#1;b&#xFFFE;&#127;c"), "abc") << "no characters";
  EXPECT_EQ(unescape_html("&#;&#x;&#xg;"), "&#;&#x;&#xg;");
}

TEST(CleanPrompt, SpacesCaseAndReferences) {
  EXPECT_EQ(clean_prompt("  A  Photo\n\tof&nbsp;\u3000a CAT "), "a photo of a cat");
  EXPECT_EQ(clean_prompt("&amp;lt;"), "<") << "unescaped twice";
  EXPECT_EQ(clean_prompt(""), "");
  EXPECT_EQ(clean_prompt(" \n "), "");
}

TEST(CleanPrompt, Mends) {
  EXPECT_EQ(clean_prompt("\u201Ccan\u2019t\u201D \u02BCs"), "\"can't\" 's");
  EXPECT_EQ(clean_prompt("\uFB01ne \uFB03 \u01C5"), "fine ffi d\u017E");
  EXPECT_EQ(clean_prompt("\uFF28\uFF45\uFF4C\uFF4C\uFF4F"), "hello");
  EXPECT_EQ(clean_prompt("\uFEFFa\x01\x07z\x7F"), "az");
  EXPECT_EQ(clean_prompt("cafe\u0301"), "caf\u00E9");
}

TEST(CleanPrompt, DecodesWhatWasReadAsWindows1252) {
  EXPECT_EQ(clean_prompt("sch\u00C3\u00B6n"), "sch\u00F6n");
  EXPECT_EQ(clean_prompt("\u00E2\u20AC\u0153quoted\u00E2\u20AC\u009D"), "\"quoted\"");
  EXPECT_EQ(clean_prompt("na\u00EFve caf\u00E9"), "na\u00EFve caf\u00E9") << "not UTF-8 as bytes";
  EXPECT_EQ(clean_prompt("\u6771 sch\u00C3\u00B6n"), "\u6771 sch\u00E3\u00B6n") << "no Windows-1252 as a whole";
}

TEST(CleanPrompt, RefusesWhatIsNotUtf8) {
  EXPECT_HAS(input_error([] { clean_prompt("a\xFF"); }), "prompt 'a\\xff' is not UTF-8; convert it");
}

}  // namespace
}  // namespace relume::test
