/*
 * yaml_lazy.c - libyaml is loaded while a YAML file is read. The functions of this file have the
 * names of libyaml's own and hand each call on, so that callers do not know.
 */
#include "conf/yaml_library.h"
#include "os/os.h"

#include <yaml.h>

#define YAML_LIBRARY "libyaml-0.so.2"

static struct {
	void *library;
	__typeof__(&yaml_parser_initialize) parser_initialize;
	__typeof__(&yaml_parser_delete) parser_delete;
	__typeof__(&yaml_parser_set_encoding) parser_set_encoding;
	__typeof__(&yaml_parser_set_input_string) parser_set_input_string;
	__typeof__(&yaml_parser_parse) parser_parse;
	__typeof__(&yaml_event_delete) event_delete;
} yaml;

#define SYMBOL(field)                                                                              \
	{                                                                                          \
		"yaml_" #field, (void (**)(void))(void *)&yaml.field                               \
	}

static const struct os_symbol symbols[] = {
    SYMBOL(parser_initialize),       SYMBOL(parser_delete), SYMBOL(parser_set_encoding),
    SYMBOL(parser_set_input_string), SYMBOL(parser_parse),  SYMBOL(event_delete),
};

int yaml_library_load(struct err *err)
{
	int rc = os_library_load(&yaml.library, YAML_LIBRARY, symbols, ARRAY_LEN(symbols));

	if (rc < 0)
		return err_set(err, rc,
			       "a YAML file needs libyaml: cannot load " YAML_LIBRARY
			       " (Debian: apt-get install libyaml-0-2)");
	return 0;
}

void yaml_library_unload(void)
{
	yaml.library = os_library_unload(yaml.library);
}

int yaml_parser_initialize(yaml_parser_t *parser)
{
	return yaml.parser_initialize(parser);
}

void yaml_parser_delete(yaml_parser_t *parser)
{
	yaml.parser_delete(parser);
}

void yaml_parser_set_encoding(yaml_parser_t *parser, yaml_encoding_t encoding)
{
	yaml.parser_set_encoding(parser, encoding);
}

void yaml_parser_set_input_string(yaml_parser_t *parser, const unsigned char *input, size_t size)
{
	yaml.parser_set_input_string(parser, input, size);
}

int yaml_parser_parse(yaml_parser_t *parser, yaml_event_t *event)
{
	return yaml.parser_parse(parser, event);
}

void yaml_event_delete(yaml_event_t *event)
{
	yaml.event_delete(event);
}
