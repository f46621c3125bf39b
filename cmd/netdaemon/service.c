/*
 * service.c - netdaemon --service FILE.so: a service built as a shared object, in any mode.
 *
 * Happy path: service_main() finds the file, sees that nobody else could have written it, loads it,
 * takes its struct netd_service, adds the option --service to its own, and the news of the master
 * of several services to its configure, and hands it to netd_main(). Failure modes: whatever is
 * wrong with the file is told in one line, exit 2, nothing is bound. The file is code that runs
 * with all rights of the start: it has to belong to root or to who starts netdaemon, and nobody
 * else may be able to write it (security rule 23) nor, since the loader takes a path and no
 * descriptor, any folder above it. A version that does not fit is told by the library.
 */
#include "commands.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <netdaemon.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYMBOL "netdaemon_service"

enum { EXIT_RUN = 1, EXIT_USAGE = 2 };

static const struct netd_option loading = OPTION_SERVICE;

__attribute__((format(printf, 2, 3))) static int refuse(const char *path, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "netdaemon: --service: %s: ", path);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return -EINVAL;
}

/* ---------------------------------------------------------------------------------------- trust */

/* Only root and we may have the say over it. sticky: a folder where others cannot touch what is not
 * theirs, such as /tmp. */
static int check_owner(const char *path, const char *part, const struct stat *st, bool sticky)
{
	if (st->st_uid != 0 && st->st_uid != geteuid())
		return refuse(path,
			      "found owner %lld of %s, expected root or the user that starts "
			      "netdaemon (%lld)",
			      (long long)st->st_uid, part, (long long)geteuid());
	if ((st->st_mode & (S_IWGRP | S_IWOTH)) && !(sticky && (st->st_mode & S_ISVTX)))
		return refuse(path,
			      "found mode %04o of %s, expected that neither group nor others can "
			      "write: run chmod go-w %s",
			      (unsigned)st->st_mode & 07777, part, part);
	return 0;
}

/* The file and every folder above it. real: without links; it is cut to pieces. */
static int check_trust(const char *path, char *real)
{
	struct stat st;
	char *slash;
	int rc;

	if (lstat(real, &st) < 0)
		return refuse(path, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return refuse(path, "no regular file, expected a shared object");
	rc = check_owner(path, real, &st, false);
	while (rc == 0 && (slash = strrchr(real, '/')) && real[1]) {
		slash[slash == real] = '\0'; /* the last one is "/" */
		if (lstat(real, &st) < 0)
			return refuse(path, "%s: %s", real, strerror(errno));
		rc = check_owner(path, real, &st, true);
	}
	return rc;
}

/* ---------------------------------------------------------------------------------------- loading
 */

/* The real path of the file: freed by the caller. NULL: there is none, which has been told. */
static char *find_file(const char *path)
{
	char installed[PATH_MAX];
	size_t length = strlen(path);
	bool ending = length > 3 && strcmp(path + length - 3, ".so") == 0;
	const char *file = path;
	char *real;

	if (!length) {
		refuse("no value given", "expected --service FILE.so");
		return NULL;
	}
	if (!strchr(path, '/')) {
		snprintf(installed, sizeof installed, "%s/%s%s", SERVICE_FOLDER, path,
			 ending ? "" : ".so");
		file = installed;
	}
	real = realpath(file, NULL);
	if (!real && file == installed && errno == ENOENT)
		refuse(path, "not found in %s; a file elsewhere is named with a slash, as in ./%s",
		       SERVICE_FOLDER, path);
	else if (!real)
		refuse(path, "%s", strerror(errno));
	return real;
}

/* What the loader says, without the path, which it does not always begin with. */
static const char *loader_words(const char *real)
{
	const char *words = dlerror();
	size_t length = strlen(real);

	if (!words)
		return "cannot be loaded";
	return strncmp(words, real, length) == 0 && strncmp(words + length, ": ", 2) == 0
		   ? words + length + 2
		   : words;
}

/* The object stays loaded as long as the process. */
static const struct netd_service *load(const char *path)
{
	char *real = find_file(path);
	char *pieces = real ? strdup(real) : NULL;
	const struct netd_service *service = NULL;
	void *object;

	if (pieces && check_trust(path, pieces) == 0) {
		/* NOW: a function that is missing is told here, not in the middle of a connection.
		 */
		object = dlopen(real, RTLD_NOW | RTLD_LOCAL);
		if (!object)
			refuse(path, "%s", loader_words(real));
		else if (!(service = dlsym(object, SYMBOL)))
			refuse(path, "no service in it: there is no " SYMBOL
				     ", which NETD_EXPORT_SERVICE() makes");
	}
	free(pieces);
	free(real);
	return service;
}

/* ---------------------------------------------------------------------------------------- serving
 */

/* The service's own options and --service in front of them. Freed by the caller. */
static struct netd_option *add_option(const struct netd_service *service)
{
	struct netd_option *options;
	size_t count = 0;

	while (service->options && service->options[count].name)
		count++;
	options = calloc(count + 2, sizeof *options);
	if (!options)
		return NULL;
	options[0] = loading;
	if (count)
		memcpy(options + 1, service->options, count * sizeof *options);
	return options;
}

/* Can its fields be read? */
static bool fits(const struct netd_service *service)
{
	return service->abi == NETD_ABI &&
	       service->size >= offsetof(struct netd_service, run) + sizeof service->run;
}

/* What the service itself does before it is served; of this process, for as long as it lasts. */
static int (**own_configure(void))(struct netd_server *)
{
	static int (*configure)(struct netd_server *);

	return &configure;
}

static int configure(struct netd_server *server)
{
	int (*own)(struct netd_server *) = *own_configure();

	handover_tell_news(server);
	return own ? own(server) : 0;
}

/* The library has the words about one that does not fit. */
static int refuse_misfit(const char *path, const struct netd_service *service)
{
	struct netd_server *server = netd_server_new(service, NULL, 0, NULL);

	if (server && netd_server_load(server) < 0)
		refuse(path, "%s", netd_server_error(server));
	else
		refuse(path, "it does not fit this netdaemon");
	netd_server_free(server);
	return EXIT_USAGE;
}

int service_main(const char *path, int argc, char **argv)
{
	const struct netd_service *found = load(path);
	struct netd_service *service;
	struct netd_option *options;
	int status = EXIT_RUN;

	if (!found)
		return EXIT_USAGE;
	if (!fits(found) || !found->run || !found->name)
		return refuse_misfit(path, found);
	service = malloc(found->size); /* of whatever size: it is the library that knows its end */
	options = add_option(found);
	if (service && options) {
		memcpy(service, found, found->size);
		service->options = options;
		*own_configure() = service->configure;
		service->configure = configure;
		status = netd_main(service, NULL, argc, argv);
	} else {
		fprintf(stderr, "netdaemon: out of memory\n");
	}
	free(options);
	free(service);
	return status;
}
