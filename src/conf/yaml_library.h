/*
 * yaml_library.h - libyaml, linked with the library or loaded while a YAML file is read. Most
 * servers have none to read.
 */
#ifndef CONF_YAML_LIBRARY_H
#define CONF_YAML_LIBRARY_H

#include "base/base.h"

/* Before any function of libyaml is called. 0, or -ENOENT with words. */
int yaml_library_load(struct err *err);

/* After the last one. */
void yaml_library_unload(void);

#endif
