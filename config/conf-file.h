/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The files of a configuration: their lines by inih, and which file includes
 * which. inih tells its handler neither lines nor headers of sections; the
 * reader that feeds it does.
 */
#ifndef CONFIG_CONF_FILE_H
#define CONFIG_CONF_FILE_H

#include <sys/types.h>

#include "config/conf.h"

struct conf_file {
	const char *path;
	unsigned line;                /* that was read last, from 1 */
	const struct conf_file *from; /* that includes it; NULL: none */
	dev_t dev;
	ino_t ino;
};

/*
 * What a file says, in its order. Each returns 0, or a negative errno with err
 * of conf_file_read() filled.
 */
struct conf_events {
	int (*section)(void *user, const struct conf_file *f, const char *name);
	int (*key)(void *user, const struct conf_file *f, const char *name,
		   const char *value);
	int (*end)(void *user, const struct conf_file *f);
	void *user;
	char *err; /* CONF_TEXT_MAX */
};

/* Writes "FILE:LINE: text" to ev->err and returns r. */
int conf_file_fail(const struct conf_events *ev, const char *path,
		   unsigned line, int r, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

int conf_file_read(const char *path, const struct conf_events *ev);
/* Reads the file or the directory that a line of from names. */
int conf_file_include(const struct conf_file *from, const char *path,
		      const struct conf_events *ev);

#endif
