/* test_read_perl.c - Perl literals: what is read, what is warned about, what is refused and how. */
#include "conf/value.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tree.h"

#define NO_CODE "a config file is data, code is not run"
#define NO_WORD NO_CODE " (text stands in quotes)"

struct sample {
	const char *text, *meaning;
};

/* Read text that must be good; returns it as one line, warnings gathered when asked for. */
static char *meaning(const char *text, size_t length, struct strlist *warnings)
{
	const struct value_warn warn = {tree_warn, warnings};
	struct value *tree = NULL;
	struct err err = {0};

	if (value_read_perl(&tree, text, length, warnings ? &warn : NULL, &err) != 0)
		fail_msg("%s: %s", text, err.text);
	return tree_text(tree);
}

static void means(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct strlist warnings = {0};
		char *found = meaning(samples[i].text, strlen(samples[i].text), &warnings);

		assert_string_equal(found, samples[i].meaning);
		assert_int_equal(warnings.count, 0);
		strlist_finish(&warnings);
		free(found);
	}
}

/* Must be refused with these words, nothing touched. */
static void refused(const char *text, size_t length, const char *words)
{
	struct value *const before = (struct value *)(void *)&length;
	struct value *tree = before;
	struct err err = {0};

	assert_int_equal(value_read_perl(&tree, text, length, NULL, &err), -EINVAL);
	assert_string_equal(err.text, words);
	assert_int_equal(err.code, -EINVAL);
	assert_ptr_equal(tree, before);
	assert_int_equal(value_read_perl(&tree, text, length, NULL, NULL), -EINVAL);
}

static void refuses(const struct sample *samples, size_t count)
{
	for (size_t i = 0; i < count; i++)
		refused(samples[i].text, strlen(samples[i].text), samples[i].meaning);
}

static void warns(const char *text, const char *means_text, const char *warning)
{
	struct strlist warnings = {0};
	char *found = meaning(text, strlen(text), &warnings);

	assert_string_equal(found, means_text);
	assert_int_equal(warnings.count, 1);
	assert_string_equal(warnings.items[0], warning);
	strlist_finish(&warnings);
	free(found);
	free(meaning(text, strlen(text), NULL));
}

static void hashes_lists_and_scalars_are_read(void **state)
{
	static const struct sample samples[] = {
	    {"{}", "{}"},
	    {" { } ; ; ", "{}"},
	    {"[]", "[]"},
	    {"{a=>1}", "{a=<1>}"},
	    {"{'a','b',\"c\",'d',}", "{a=<b>,c=<d>}"},
	    {"{a=>[1,[2,[]],{b=>{}}],}", "{a=[<1>,[<2>,[]],{b={}}]}"},
	    {"{a=>undef,undef=>undef}", "{a=undef,undef=undef}"},
	    {"{a=>1,,b=>2,,}", "{a=<1>,b=<2>}"},
	    {"{a=>1=>b=>2}", "{a=<1>,b=<2>}"},
	    {"{a\n=>\n1}", "{a=<1>}"},
	    {"{a # why\n => # so\n 1}", "{a=<1>}"},
	    {"{_x9=>1,if=>2,q=>3,qw=>4,__END__=>5}", "{_x9=<1>,if=<2>,q=<3>,qw=<4>,__END__=<5>}"},
	    {"{-base=>-foo,b=>-e}", "{-base=<-foo>,b=<-e>}"},
	    {"[a=>b=>1]", "[<a>,<b>,<1>]"},
	    {"{7=>1,0x10=>2,''=>3}", "{7=<1>,16=<2>,=<3>}"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void single_quotes_know_two_escapes(void **state)
{
	static const struct sample samples[] = {
	    {"['']", "[<>]"},
	    {"['a\\'b\\\\c\\d\\n\\\\']", "[<a'b\\c\\d\\n\\>]"},
	    {"['^192\\.168\\.1\\.\\d+$']", "[<^192\\.168\\.1\\.\\d+$>]"},
	    {"['$x @y #z =>']", "[<$x @y #z =>>]"},
	    {"['a\nb']", "[<a\nb>]"},
	    {"['\xC3\xA9\xFF']", "[<\xC3\xA9\xFF>]"},
	    {"[q(a(b)c\\)\\(),q{},q<x>,q/y/,q!z\\!!,q (w),q'v']",
	     "[<a(b)c)(>,<>,<x>,<y>,<z!>,<w>,<v>]"},
	    {"[q{a\\\\b\\c}]", "[<a\\b\\c>]"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void double_quotes_know_escapes(void **state)
{
	static const struct sample samples[] = {
	    {"[\"\"]", "[<>]"},
	    {"[\"a\\n\\t\\r\\e\\a\\f\\b\"]", "[<a\n\t\r\033\a\f\b>]"},
	    {"[\"\\\\ \\\" \\$x \\@y \\. \\'\"]", "[<\\ \" $x @y . '>]"},
	    {"[\"\\x41\\x4a\\x4A\\x7\\x{263a}\\x{1F600}\\xe9\"]",
	     "[<AJJ\a\xE2\x98\xBA\xF0\x9F\x98\x80\xC3\xA9>]"},
	    {"[\"\\101\\012\\0018\"]", "[<A\n\1"
				       "8>]"},
	    {"[\"^10\\\\.1$\"]", "[<^10\\.1$>]"},
	    {"[\"a @ b\", \"a@.\", \"@\", \"x$\"]", "[<a @ b>,<a@.>,<@>,<x$>]"},
	    {"[\"'#=\"]", "[<'#=>]"},
	    {"[qq{a\\n{b}\\}}, qq(c)]", "[<a\n{b}}>,<c>]"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
	refused("[\"\\08\"]", 7, "1:3: found a NUL character, expected text without");
}

static void qw_is_a_list_of_words(void **state)
{
	static const struct sample samples[] = {
	    {"[qw(a b c)]", "[<a>,<b>,<c>]"},
	    {"[qw( a\n\tb ),]", "[<a>,<b>]"},
	    {"[1, qw/x $y @z #w/, 2]", "[<1>,<x>,<$y>,<@z>,<#w>,<2>]"},
	    {"[qw [^10\\. \\\\ \\[\\]]]", "[<^10\\.>,<\\>,<[]>]"},
	    {"{qw(a 1 b 2)}", "{a=<1>,b=<2>}"},
	    {"{m => [qw(x)], n => 1}", "{m=[<x>],n=<1>}"},
	};
	static const struct sample wrong[] = {
	    {"[qw()]", "1:2: found qw without words, expected some"},
	    {"[qw( \n)]", "1:2: found qw without words, expected some"},
	    {"[qw(a) 'b' 'c']", "1:8: found 'b', expected ',' or ']'"},
	    {"[qw(", "1:5: found the end of the file in qw, expected )"},
	    {"[qw(a b", "1:7: found the end of the file in qw, expected )"},
	    {"[qw(a ", "1:7: found the end of the file in qw, expected )"},
	    {"[qw", "1:2: found 'qw', expected a value: " NO_WORD},
	    {"[qw(a) 'b']", "1:8: found 'b', expected ',' or ']'"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
	refuses(wrong, ARRAY_LEN(wrong));
}

static void numbers_keep_their_meaning(void **state)
{
	static const struct sample samples[] = {
	    {"[0,123,-4,1.5,-0.25]", "[<0>,<123>,<-4>,<1.5>,<-0.25>]"},
	    {"[-0,0.0,-0.0,1.50,10,100.0]", "[<0>,<0>,<0>,<1.5>,<10>,<100>]"},
	    {"[.5,-.5]", "[<0.5>,<-0.5>]"},
	    {"[1_000_000,0xFF_ff]", "[<1000000>,<65535>]"},
	    {"[0x1F,0X1f,-0x10,0b101,0B1,0o7,00,007]", "[<31>,<31>,<-16>,<5>,<1>,<07>,<0>,<07>]"},
	    {"{localmode => 0660}", "{localmode=<0660>}"}, /* octal stays octal */
	    {"[-0_755]", "[<-0755>]"},
	    {"[0xFFFFFFFFFFFFFFFF]", "[<18446744073709551615>]"},
	    {"[99999999999999999999]", "[<99999999999999999999>]"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void odd_numbers_are_refused(void **state)
{
	static const struct sample samples[] = {
	    {"[127.0.0.1]", "1:2: found '127.0.0.1', expected a number, or text in quotes"},
	    {"[1e3]", "1:2: found '1e3', expected a number, or text in quotes"},
	    {"[12abc]", "1:2: found '12abc', expected a number, or text in quotes"},
	    {"[5.]", "1:2: found '5.', expected a number, or text in quotes"},
	    {"[1..5]", "1:2: found '1..5', expected a number, or text in quotes"},
	    {"[1_]", "1:2: found '1_', expected a number, or text in quotes"},
	    {"[08]", "1:2: found '08', expected a number, or text in quotes"},
	    {"[0x]", "1:2: found '0x', expected a number, or text in quotes"},
	    {"[0xG]", "1:2: found '0xG', expected a number, or text in quotes"},
	    {"[0b12]", "1:2: found '0b12', expected a number, or text in quotes"},
	    {"[0x10000000000000000]",
	     "1:2: found '0x10000000000000000', expected a number of at most 64 bits"},
	    {"[+1]", "1:2: found '+1', expected a value or punctuation: " NO_CODE},
	    {"[- 1]", "1:2: found '-', expected a value or punctuation: " NO_CODE},
	    {"[--1]", "1:2: found '--1', expected a value or punctuation: " NO_CODE},
	};

	(void)state;
	refuses(samples, ARRAY_LEN(samples));
}

static void comments_pod_and_line_ends_are_passed_over(void **state)
{
	static const struct sample samples[] = {
	    {"# top\n{ # in\n a=>1 # after\n} # end", "{a=<1>}"},
	    {"=head1 NAME\n\n{bad\n\n=cut\n{a=>1}", "{a=<1>}"},
	    {"{a=>1,\n=pod\n'\n=cuttle\n$x\n=cut here too\nb=>2}", "{a=<1>,b=<2>}"},
	    {"\xEF\xBB\xBF{a=>1}", "{a=<1>}"},
	    {"\xEF\xBB\xBF=pod\n\n=cut\n{a=>1}", "{a=<1>}"},
	    {"{\r\n# c\r\na=>'x\r\ny',\r\n=pod\r\n$\r\n=cut\r\nb=>\"u\r\nv\"}\r\n",
	     "{a=<x\ny>,b=<u\nv>}"},
	    {"{a=>1}\n__END__\nsystem 'x' \\ `", "{a=<1>}"},
	    {"{a=>1};__DATA__", "{a=<1>}"},
	    {"{a=>1}\n=pod\n\nno end", "{a=<1>}"},
	    {"\f\v\t {}", "{}"},
	};

	(void)state;
	means(samples, ARRAY_LEN(samples));
}

static void places_are_lines_and_bytes_from_1(void **state)
{
	static const char text[] = "\xEF\xBB\xBF{ a => '\xC3\xA9', b => [\n\t1,\r\n  {}]}";
	struct value *tree;
	const struct value *b;

	(void)state;
	assert_int_equal(value_read_perl(&tree, text, strlen(text), NULL, NULL), 0);
	assert_int_equal(tree->line, 1);
	assert_int_equal(tree->column, 1);
	assert_int_equal(value_get(tree, "a")->column, 8);
	b = value_get(tree, "b");
	assert_int_equal(b->line, 1);
	assert_int_equal(b->column, 19);
	assert_int_equal(b->items[0]->line, 2);
	assert_int_equal(b->items[0]->column, 2);
	assert_int_equal(b->items[1]->line, 3);
	assert_int_equal(b->items[1]->column, 3);
	value_free(tree);
}

static void rule3_code_is_refused(void **state)
{
	static const struct sample samples[] = {
	    {"{ a => $x }", "1:8: found '$x', expected a value or punctuation: " NO_CODE},
	    {"{ a => $ENV{HOME} }", "1:8: found '$ENV', expected a value or punctuation: " NO_CODE},
	    {"{ a => `id` }", "1:8: found '`id', expected a value or punctuation: " NO_CODE},
	    {"{ a => system('id') }", "1:8: found 'system', expected a value: " NO_WORD},
	    {"{\n a => getppid }", "2:7: found 'getppid', expected a value: " NO_WORD},
	    {"{ a => 'b' . 'c' }", "1:12: found '.', expected a value or punctuation: " NO_CODE},
	    {"{ a => 'b' x 3 }", "1:12: found 'x', expected ',' or '}': " NO_WORD},
	    {"{ a => 1 + 1 }", "1:10: found '+', expected a value or punctuation: " NO_CODE},
	    {"{ a => <<EOF }", "1:8: found '<<EOF', expected a value or punctuation: " NO_CODE},
	    {"{ a => qr/x/ }", "1:8: found 'qr', expected a value: " NO_WORD},
	    {"{ a => /x/ }", "1:8: found '/x', expected a value or punctuation: " NO_CODE},
	    {"{ a => \\1 }", "1:8: found '\\1', expected a value or punctuation: " NO_CODE},
	    {"{ a => sub {} }", "1:8: found 'sub', expected a value: " NO_WORD},
	    {"{ a => do {1} }", "1:8: found 'do', expected a value: " NO_WORD},
	    {"{ a => Foo::Bar }", "1:8: found 'Foo', expected a value: " NO_WORD},
	    {"{ a => (1) }", "1:8: found '(1', expected a value or punctuation: " NO_CODE},
	    {"{ %h }", "1:3: found '%h', expected a value or punctuation: " NO_CODE},
	    {"{ a => -f() }", "1:10: found '()', expected a value or punctuation: " NO_CODE},
	    {"{ a => fork }", "1:8: found 'fork', expected a value: " NO_WORD},
	    {"{ mode 'fork' }", "1:3: found 'mode', expected a key: " NO_WORD},
	    {"{ a = 1 }", "1:3: found 'a', expected a key: " NO_WORD},
	    {"use strict; {}", "1:1: found 'use', expected '{': " NO_WORD},
	    {"return {}", "1:1: found 'return', expected '{': " NO_WORD},
	    {"my $c = {};", "1:1: found 'my', expected '{': " NO_WORD},
	    {"require 'x.pl';", "1:1: found 'require', expected '{': " NO_WORD},
	    {"{} ; system 'id'",
	     "1:6: found 'system', expected ';' or the end of the file: " NO_WORD},
	    {"{ a => \xC3\xA9 }",
	     "1:8: found '\\xC3\\xA9', expected a value or punctuation: " NO_CODE},
	    {"{ a => \x04 }", "1:8: found '\\x04', expected a value or punctuation: " NO_CODE},
	};

	(void)state;
	refuses(samples, ARRAY_LEN(samples));
}

static void rule3_interpolation_is_refused(void **state)
{
	static const struct sample samples[] = {
	    {"[\"a$x\"]", "1:4: found '$x' in a string, expected '\\$x': " NO_CODE},
	    {"[\"${x}\"]", "1:3: found '${x' in a string, expected '\\${x': " NO_CODE},
	    {"[\"$$\"]", "1:3: found '$$' in a string, expected '\\$$': " NO_CODE},
	    {"[\"a$|b\"]", "1:4: found '$|b' in a string, expected '\\$|b': " NO_CODE},
	    {"[\"$ \"]", "1:3: found '$ ' in a string, expected '\\$ ': " NO_CODE},
	    {"[\"me@host\"]", "1:5: found '@host' in a string, expected '\\@host': " NO_CODE},
	    {"[\"@{[1]}\"]", "1:3: found '@{' in a string, expected '\\@{': " NO_CODE},
	    {"[\"@$x\"]", "1:3: found '@$x' in a string, expected '\\@$x': " NO_CODE},
	    {"[\"@-\"]", "1:3: found '@-' in a string, expected '\\@-': " NO_CODE},
	    {"[\"@::x\"]", "1:3: found '@:' in a string, expected '\\@:': " NO_CODE},
	    {"[qq(a$x)]", "1:6: found '$x' in a string, expected '\\$x': " NO_CODE},
	    {"[\"$", "1:3: found '$' in a string, expected '\\$': " NO_CODE},
	};

	(void)state;
	refuses(samples, ARRAY_LEN(samples));
}

static void bad_strings_are_refused(void **state)
{
	static const struct sample samples[] = {
	    {"['a", "1:2: found the end of the file in the string that begins here, expected '"},
	    {"['a\\'", "1:2: found the end of the file in the string that begins here, expected '"},
	    {"[\n \"a\n\n",
	     "2:2: found the end of the file in the string that begins here, expected \""},
	    {"[\"a\\",
	     "1:2: found the end of the file in the string that begins here, expected \""},
	    {"[q(a(b)",
	     "1:2: found the end of the file in the string that begins here, expected )"},
	    {"[\"\\d+\"]",
	     "1:3: found \\d in a string that knows escapes, expected \\n \\t \\r \\e \\a \\f "
	     "\\b \\xHH \\x{...} or a doubled backslash"},
	    {"[\"\\0\"]", "1:3: found a NUL character, expected text without"},
	    {"[\"\\x00\"]", "1:3: found a NUL character, expected text without"},
	    {"[\"\\x\"]", "1:3: found a NUL character, expected text without"},
	    {"[\"\\x{}\"]", "1:3: found a NUL character, expected text without"},
	    {"[\"\\x{D800}\"]", "1:3: found \\x{D800}, expected a Unicode character"},
	    {"[\"\\x{110000}\"]", "1:3: found \\x{110000}, expected a Unicode character"},
	    {"[\"\\x{1234567}\"]",
	     "1:3: found an unfinished \\x{, expected up to 6 hex digits and }"},
	    {"[\"\\x{41\"]", "1:3: found an unfinished \\x{, expected up to 6 hex digits and }"},
	};

	(void)state;
	refuses(samples, ARRAY_LEN(samples));
}

static void bad_structure_is_refused(void **state)
{
	static const struct sample samples[] = {
	    {"", "1:1: found the end of the file, expected '{'"},
	    {" # nothing\n", "2:1: found the end of the file, expected '{'"},
	    {"=cut\n{}", "2:3: found the end of the file, expected '{'"},
	    {"__END__ {}", "1:1: found the end of the file, expected '{'"},
	    {"'a'", "1:1: found 'a', expected '{'"},
	    {"17", "1:1: found '17', expected '{'"},
	    {";{}", "1:1: found ';', expected '{'"},
	    {"{", "1:2: found the end of the file, expected a key"},
	    {"{a=>1", "1:6: found the end of the file, expected ',' or '}'"},
	    {"{a=>", "1:5: found the end of the file, expected a value"},
	    {"[1", "1:3: found the end of the file, expected ',' or ']'"},
	    {"{a=>1]", "1:6: found ']', expected ',' or '}'"},
	    {"[1}", "1:3: found '}', expected ',' or ']'"},
	    {"{}}", "1:3: found '}', expected ';' or the end of the file"},
	    {"{}{}", "1:3: found '{', expected ';' or the end of the file"},
	    {"{,}", "1:2: found ',', expected a key"},
	    {"[,1]", "1:2: found ',', expected a value"},
	    {"{a=>,1}", "1:5: found ',', expected a value"},
	    {"{a=>=>1}", "1:5: found '=>', expected a value"},
	    {"{a=>1;}", "1:6: found ';', expected ',' or '}'"},
	    {"{[]=>1}", "1:2: found '[', expected a key"},
	    {"{undef, 1}", "1:2: found 'undef', expected a key"},
	    {"{'a' 'b'}", "1:6: found 'b', expected '=>' after the key"},
	    {"{'a'\n'b'}", "2:1: found 'b', expected '=>' after the key"},
	    {"{'a'}",
	     "1:5: found '}', expected a value for the key 'a' (an odd number of elements)"},
	    {"{x=>1,\"a\\n\",}",
	     "1:13: found '}', expected a value for the key 'a\\x0A' (an odd number of elements)"},
	    {"{a=>}",
	     "1:5: found '}', expected a value for the key 'a' (an odd number of elements)"},
	};

	(void)state;
	refuses(samples, ARRAY_LEN(samples));
}

static void comma_may_miss_only_at_the_end_of_a_line(void **state)
{
	static const struct sample wrong[] = {
	    {"{a=>1 b=>2}", "1:7: found 'b', expected ',' or '}'"},
	    {"['a' 'b']", "1:6: found 'b', expected ',' or ']'"},
	    {"[{} {}]", "1:5: found '{', expected ',' or ']'"},
	    {"[1\n-2]", "2:1: found '-2', expected ',' or ']'"},
	    {"[1\n-x]", "2:1: found '-x', expected ',' or ']'"},
	    {"[1\n.5]", "2:1: found '.5', expected ',' or ']'"},
	    {"[1\nx 3]", "2:1: found 'x', expected ',' or ']': " NO_WORD},
	    {"['a\n' 'b']", "2:3: found 'b', expected ',' or ']'"},
	    {"{a=>1\n;b=>2}", "2:1: found ';', expected ',' or '}'"},
	};

	(void)state;
	warns("{a=>1\nb=>2}", "{a=<1>,b=<2>}", "1:6: a comma is missing here");
	warns("{a=>1 # why\n\n  'b'=>2}", "{a=<1>,b=<2>}", "1:6: a comma is missing here");
	warns("[\n 'x'\n [1]\n]", "[<x>,[<1>]]", "2:5: a comma is missing here");
	warns("[{}\n{}]", "[{},{}]", "1:4: a comma is missing here");
	warns("[qw(a b)\n2]", "[<a>,<b>,<2>]", "1:9: a comma is missing here");
	refuses(wrong, ARRAY_LEN(wrong));
}

static void later_of_two_keys_wins_with_a_warning(void **state)
{
	(void)state;
	warns("{a=>1,b=>2,\n a=>[3]}", "{a=[<3>],b=<2>}",
	      "2:2: the key 'a' is set twice, this later one counts");
	warns("{7=>1,'7'=>2}", "{7=<2>}", "1:7: the key '7' is set twice, this later one counts");
	warns("{\"\\n\"=>1,\"\\n\"=>2}", "{\n=<2>}",
	      "1:10: the key '\\x0A' is set twice, this later one counts");
}

static void hand_written_file_draws_two_warnings(void **state)
{
	struct strlist warnings = {0};
	const char *root = getenv("SOURCE_ROOT");
	char path[4096], text[4096];
	FILE *file;
	size_t length;
	char *found;

	(void)state;
	assert_non_null(root);
	snprintf(path, sizeof path, "%s/tests/data/two-missing-commas.conf", root);
	file = fopen(path, "r");
	assert_non_null(file);
	length = fread(text, 1, sizeof text, file);
	fclose(file);
	found = meaning(text, length, &warnings);
	assert_string_equal(found, "{localport=<2000>,user=<daemon>,mode=<threads>,clients=["
				   "{mask=<^10\\.1\\.\\d+\\.\\d+$>,accept=<1>},"
				   "{mask=<^friend\\.example\\.org$>,accept=<1>},{accept=<0>}]}");
	assert_int_equal(warnings.count, 2);
	assert_string_equal(warnings.items[0], "5:24: a comma is missing here");
	assert_string_equal(warnings.items[1], "10:51: a comma is missing here");
	strlist_finish(&warnings);
	free(found);
}

static void nul_bytes_are_refused(void **state)
{
	(void)state;
	refused("{a=>1}\n# \0", 10, "2:3: found a NUL byte, expected text");
	refused("\0", 1, "1:1: found a NUL byte, expected text");
	refused("['a\0b']", 7, "1:4: found a NUL byte, expected text");
	refused("\xEF\xBB\xBF\0", 4, "1:1: found a NUL byte, expected text");
}

/* The length counts, not a NUL after it. */
static void text_ends_where_it_ends(void **state)
{
	char *text = malloc(2);
	char *found;

	(void)state;
	memcpy(text, "[]", 2);
	found = meaning(text, 2, NULL);
	assert_string_equal(found, "[]");
	refused(text, 1, "1:2: found the end of the file, expected a value");
	refused("", 0, "1:1: found the end of the file, expected '{'");
	refused(NULL, 0, "1:1: found the end of the file, expected '{'");
	free(found);
	free(text);
}

static void limits_hold(void **state)
{
	char *text, *good;
	struct value *tree;

	(void)state;
	good = tree_repeat("", "[", VALUE_DEPTH_MAX, "");
	text = tree_repeat(good, "]", VALUE_DEPTH_MAX, "");
	assert_int_equal(value_read_perl(&tree, text, strlen(text), NULL, NULL), 0);
	value_free(tree);
	free(text);
	free(good);

	text = tree_repeat("", "{a=>", 500000, "");
	refused(text, strlen(text), "1:129: found one more nesting, expected at most 32");
	free(text);

	text = tree_repeat("[", "1,", VALUE_COUNT_MAX - 1, "]");
	assert_int_equal(value_read_perl(&tree, text, strlen(text), NULL, NULL), 0);
	assert_int_equal(tree->count, VALUE_COUNT_MAX - 1);
	value_free(tree);
	free(text);

	text = tree_repeat("[", "1,", VALUE_COUNT_MAX, "]");
	refused(text, strlen(text), "1:400000: found one more value, expected at most 200000");
	free(text);

	text = tree_repeat("{}", " ", VALUE_FILE_MAX, "");
	refused(text, strlen(text), "1:1: found 4194306 bytes, expected at most 4194304");
	assert_int_equal(value_read_perl(&tree, text, VALUE_FILE_MAX, NULL, NULL), 0);
	value_free(tree);
	free(text);
}

/* Whatever is cut off: an error in words, or a shorter file that is good by itself. */
static void every_prefix_is_read_or_refused(void **state)
{
	static const char text[] = "# c\n{a=>'x\\'y',\"b\"=>\"\\x{41}\\n\",\n=pod\n\n=cut\n"
				   "c=>[qw(u v),q{w},-4,0x1F,undef,{}]};\n__END__\n";

	(void)state;
	for (size_t n = 0; n <= strlen(text); n++) {
		struct value *tree = NULL;
		struct err err = {0};
		char *copy = malloc(n + 1); /* so that a sanitizer sees a byte too many */

		memcpy(copy, text, n);
		if (value_read_perl(&tree, copy, n, NULL, &err) < 0) {
			assert_null(tree);
			assert_true(strncmp(err.text, "1:", 2) != 0 || n < 5);
			assert_non_null(strstr(err.text, ": found "));
		}
		value_free(tree);
		free(copy);
	}
}

static void running_out_of_memory_is_an_error(void **state)
{
	static const char text[] = "{a=>[1,undef,{b=>[qw(c \\d)]}],a=>\"x\\n\\x41\\101\",-d=>-0x1F,"
				   "e=>1.50,f=>.5,g=>q(y\\)),h=>-.25,i=>1_0,j=>2,k=>3,l=>4}";

	(void)state;
	assert_in_range(tree_without_memory(value_read_perl, text), 50, 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(hashes_lists_and_scalars_are_read),
	    cmocka_unit_test(single_quotes_know_two_escapes),
	    cmocka_unit_test(double_quotes_know_escapes),
	    cmocka_unit_test(qw_is_a_list_of_words),
	    cmocka_unit_test(numbers_keep_their_meaning),
	    cmocka_unit_test(odd_numbers_are_refused),
	    cmocka_unit_test(comments_pod_and_line_ends_are_passed_over),
	    cmocka_unit_test(places_are_lines_and_bytes_from_1),
	    cmocka_unit_test(rule3_code_is_refused),
	    cmocka_unit_test(rule3_interpolation_is_refused),
	    cmocka_unit_test(bad_strings_are_refused),
	    cmocka_unit_test(bad_structure_is_refused),
	    cmocka_unit_test(comma_may_miss_only_at_the_end_of_a_line),
	    cmocka_unit_test(later_of_two_keys_wins_with_a_warning),
	    cmocka_unit_test(hand_written_file_draws_two_warnings),
	    cmocka_unit_test(nul_bytes_are_refused),
	    cmocka_unit_test(text_ends_where_it_ends),
	    cmocka_unit_test(limits_hold),
	    cmocka_unit_test(every_prefix_is_read_or_refused),
	    cmocka_unit_test(running_out_of_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
