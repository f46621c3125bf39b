/* yaml_linked.c - libyaml is linked with the library, or not used at all: nothing to load. */
#include "conf/yaml_library.h"

int yaml_library_load(struct err *err)
{
	(void)err;
	return 0;
}

void yaml_library_unload(void)
{
}
