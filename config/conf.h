/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file: an INI file by inih, read strictly against tables of
 * sections and keys. Whoever owns a noun (listeners, exports, rules) owns the
 * table of its section; this module owns the file: includes, lines, repeated
 * and unknown keys, and what an error looks like.
 */
#ifndef CONFIG_CONF_H
#define CONFIG_CONF_H

#include <stdbool.h>
#include <stddef.h>

#define CONF_TEXT_MAX 1024

/*
 * One key. set() judges and keeps value (it copies what it needs): 0, or a
 * negative errno with err saying what is accepted, without file, line and key,
 * which the caller adds.
 */
struct conf_key {
	const char *name;
	const char *arg;  /* what a value looks like, for help: "N", "yes|no" */
	const char *help; /* one line, the default in parentheses */
	int (*set)(void *obj, const char *value, char err[CONF_TEXT_MAX]);
	bool repeated; /* may stand more than once in a section */
};

/*
 * One kind of section. A repeated one ([export]) is an object each time it
 * begins; any other continues where it stood last, in this file or an included
 * one. begin() gives the object that set() gets; end() judges the whole object
 * when it is complete, and takes it over. After a failure end() is not called:
 * abort() gets the object. begin, end and abort may be NULL: then obj is user.
 * elsewhere(), if not NULL, says of a key that a section has not where it
 * belongs; it returns NULL for any other. at(), if not NULL, is told before
 * each set() and end() where the key or the section stands; path is borrowed
 * until that returns.
 */
struct conf_section {
	const char *name;
	const struct conf_key *keys; /* ended by a NULL name */
	bool repeated;
	int (*begin)(void *user, void **ret_obj, char err[CONF_TEXT_MAX]);
	int (*end)(void *user, void *obj, char err[CONF_TEXT_MAX]);
	void (*abort)(void *user, void *obj);
	void (*at)(void *user, const char *path, unsigned line);
	const char *(*elsewhere)(const char *key);
};

/*
 * The key that every file has besides those of its sections: "include = PATH"
 * reads a file, or all of a directory that are named *.conf, sorted by name, as
 * if they stood there. PATH is relative to the directory of the file that names
 * it. It may stand before the first section and in one that is not repeated.
 */
#define CONF_INCLUDE   "include"
#define CONF_DEPTH_MAX 16 /* files that include one another */

/*
 * Reads path and what it includes; sections is ended by a NULL name. On failure
 * err is one line "FILE:LINE: KEY = VALUE: what is accepted". -EINVAL for what
 * is written there, errors of open(2) and read(2) for a file, -ENOMEM.
 * Blocking; any thread.
 */
int conf_read(const char *path, const struct conf_section *sections, void *user,
	      char err[CONF_TEXT_MAX]);

#endif
