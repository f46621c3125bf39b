/*
 * engine_lazy.c - PCRE2 is loaded when the first access rule is read, and stays. The functions of
 * this file have the names of PCRE2's own and hand each call on, so that callers do not know.
 */
#include "access/engine.h"
#include "access/rule.h"
#include "os/os.h"

#define ENGINE_LIBRARY "libpcre2-8.so.0"

static struct {
	void *library;
	__typeof__(&pcre2_compile_8) compile;
	__typeof__(&pcre2_code_free_8) code_free;
	__typeof__(&pcre2_jit_compile_8) jit_compile;
	__typeof__(&pcre2_match_8) match;
	__typeof__(&pcre2_match_data_create_8) match_data_create;
	__typeof__(&pcre2_match_data_free_8) match_data_free;
	__typeof__(&pcre2_match_context_create_8) match_context_create;
	__typeof__(&pcre2_match_context_free_8) match_context_free;
	__typeof__(&pcre2_set_match_limit_8) set_match_limit;
	__typeof__(&pcre2_set_depth_limit_8) set_depth_limit;
	__typeof__(&pcre2_set_heap_limit_8) set_heap_limit;
	__typeof__(&pcre2_get_error_message_8) get_error_message;
} engine;

#define SYMBOL(field)                                                                              \
	{                                                                                          \
		"pcre2_" #field "_8", (void (**)(void))(void *)&engine.field                       \
	}

static const struct os_symbol symbols[] = {
    SYMBOL(compile),
    SYMBOL(code_free),
    SYMBOL(jit_compile),
    SYMBOL(match),
    SYMBOL(match_data_create),
    SYMBOL(match_data_free),
    SYMBOL(match_context_create),
    SYMBOL(match_context_free),
    SYMBOL(set_match_limit),
    SYMBOL(set_depth_limit),
    SYMBOL(set_heap_limit),
    SYMBOL(get_error_message),
};

int engine_load(struct err *err)
{
	int rc = 0;

	if (!engine.library)
		rc = os_library_load(&engine.library, ENGINE_LIBRARY, symbols, ARRAY_LEN(symbols));
	if (rc < 0)
		return err_set(err, rc,
			       "access rules need PCRE2: cannot load " ENGINE_LIBRARY
			       " (Debian: apt-get install libpcre2-8-0)");
	return 0;
}

pcre2_code *pcre2_compile_8(PCRE2_SPTR8 pattern, PCRE2_SIZE length, uint32_t options, int *code,
			    PCRE2_SIZE *offset, pcre2_compile_context *context)
{
	return engine.compile(pattern, length, options, code, offset, context);
}

void pcre2_code_free_8(pcre2_code *code)
{
	if (code)
		engine.code_free(code);
}

int pcre2_jit_compile_8(pcre2_code *code, uint32_t options)
{
	return engine.jit_compile(code, options);
}

int pcre2_match_8(const pcre2_code *code, PCRE2_SPTR8 subject, PCRE2_SIZE length, PCRE2_SIZE start,
		  uint32_t options, pcre2_match_data *data, pcre2_match_context *context)
{
	return engine.match(code, subject, length, start, options, data, context);
}

pcre2_match_data *pcre2_match_data_create_8(uint32_t pairs, pcre2_general_context *context)
{
	return engine.match_data_create(pairs, context);
}

void pcre2_match_data_free_8(pcre2_match_data *data)
{
	if (data)
		engine.match_data_free(data);
}

pcre2_match_context *pcre2_match_context_create_8(pcre2_general_context *context)
{
	return engine.match_context_create(context);
}

void pcre2_match_context_free_8(pcre2_match_context *context)
{
	if (context)
		engine.match_context_free(context);
}

int pcre2_set_match_limit_8(pcre2_match_context *context, uint32_t limit)
{
	return engine.set_match_limit(context, limit);
}

int pcre2_set_depth_limit_8(pcre2_match_context *context, uint32_t limit)
{
	return engine.set_depth_limit(context, limit);
}

int pcre2_set_heap_limit_8(pcre2_match_context *context, uint32_t limit)
{
	return engine.set_heap_limit(context, limit);
}

int pcre2_get_error_message_8(int code, PCRE2_UCHAR8 *words, PCRE2_SIZE size)
{
	return engine.get_error_message(code, words, size);
}
