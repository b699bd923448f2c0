/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/conf-file.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <ini.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "config/conf-line.h"

/* Where the library lets its user choose; else it has 200. */
#define LINE_MAX_LEN 4096

/* One file while inih reads it. */
struct feed {
	struct conf_file file;
	const struct conf_events *ev;
	FILE *stream;
	int r; /* the first failure ends it */
};

int
conf_file_fail(const struct conf_events *ev, const char *path, unsigned line,
	       int r, const char *fmt, ...)
{
	int n = snprintf(ev->err, CONF_TEXT_MAX, "%s:%u: ", path, line);
	va_list ap;

	if (n >= CONF_TEXT_MAX)
		return r;
	va_start(ap, fmt);
	vsnprintf(ev->err + n, CONF_TEXT_MAX - (size_t)n, fmt, ap);
	va_end(ap);
	return r;
}

static int
fail_file(const struct conf_events *ev, const char *path, int r)
{
	snprintf(ev->err, CONF_TEXT_MAX, "%s: %s", path, strerror(-r));
	return r;
}

static int
no_memory(const struct conf_events *ev)
{
	snprintf(ev->err, CONF_TEXT_MAX, "out of memory");
	return -ENOMEM;
}

/* ---------------------------------------------------------------- lines */

/*
 * One line without its end. Positive: there is one. inih throws away what does
 * not fit in size; -EINVAL then, and for a NUL, which would hide what follows.
 */
static int
read_line(struct feed *f, char *buf, size_t size)
{
	const struct conf_file *file = &f->file;
	size_t len = 0;
	int c;

	while ((c = getc(f->stream)) != EOF && c != '\n') {
		if (!c)
			return conf_file_fail(f->ev, file->path, file->line,
					      -EINVAL, "a NUL byte");
		/* As fgets() would: a newline and a NUL have room. */
		if (len + 2 >= size)
			return conf_file_fail(
				f->ev, file->path, file->line, -EINVAL,
				"a line has at most %zu bytes", size - 2);
		buf[len++] = (char)c;
	}
	buf[len] = '\0';
	if (c == EOF && ferror(f->stream))
		return fail_file(f->ev, file->path, errno ? -errno : -EIO);
	return c == '\n' || len;
}

/*
 * Blanks at both ends do not count. To inih those in front would make a line
 * the continuation of the one before it.
 */
static void
trim(char *s, bool first_line)
{
	static const char bom[] = "\xef\xbb\xbf";
	char *start = s;
	size_t len;

	if (first_line && !strncmp(s, bom, strlen(bom)))
		start += strlen(bom);
	start += strspn(start, " \t");
	len = strlen(start);
	while (len && strchr(" \t\r", start[len - 1]))
		len--;
	memmove(s, start, len);
	s[len] = '\0';
}

static int
bad_line(struct feed *f, char *line, const char *err)
{
	for (char *s = line; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
	return conf_file_fail(f->ev, f->file.path, f->file.line, -EINVAL,
			      "%.80s: %s", line, err);
}

/* The reader of ini_parse_stream(). */
static char *
next_line(char *buf, int size, void *stream)
{
	struct feed *f = stream;
	char section[CONF_NAME_MAX], err[CONF_TEXT_MAX];
	enum conf_line_kind kind;
	int r;

	if (f->r)
		return NULL;
	f->file.line++;
	r = read_line(f, buf, (size_t)size);
	if (r <= 0) {
		f->r = r;
		return NULL;
	}
	trim(buf, f->file.line == 1);
	if (conf_line_judge(buf, &kind, section, err))
		f->r = bad_line(f, buf, err);
	else if (kind == CONF_LINE_SECTION)
		f->r = f->ev->section(f->ev->user, &f->file, section);
	return f->r ? NULL : buf;
}

static int
on_key(void *user, const char *section, const char *name, const char *value)
{
	struct feed *f = user;

	f->r = f->ev->key(f->ev->user, &f->file, name, value);
	return !f->r;
}

/* ---------------------------------------------------------------- files */

static int
check_depth(struct feed *f)
{
	const struct conf_file *from = f->file.from;
	unsigned depth = 1;

	for (const struct conf_file *p = from; p; p = p->from, depth++)
		if (p->dev == f->file.dev && p->ino == f->file.ino)
			return conf_file_fail(
				f->ev, from->path, from->line, -EINVAL,
				CONF_INCLUDE " = %s: the file includes itself",
				f->file.path);
	if (depth > CONF_DEPTH_MAX)
		return conf_file_fail(
			f->ev, from->path, from->line, -EINVAL,
			CONF_INCLUDE
			" = %s: more than %d files include one another",
			f->file.path, CONF_DEPTH_MAX);
	return 0;
}

static int
parse(struct feed *f)
{
	int r;

#ifdef HAVE_INI_MAX_LINE
	ini_max_line = LINE_MAX_LEN;
#endif
	r = ini_parse_stream(next_line, f, on_key, f);
	if (f->r)
		return f->r;
	if (r == -2)
		return no_memory(f->ev);
	/* Each line was judged, so that inih finds no fault. */
	if (r)
		return conf_file_fail(f->ev, f->file.path, (unsigned)r, -EINVAL,
				      "cannot be read");
	return f->ev->end(f->ev->user, &f->file);
}

static int
read_file(const char *path, const struct conf_file *from,
	  const struct conf_events *ev)
{
	struct feed f = {.file = {.path = path, .from = from}, .ev = ev};
	struct stat st;
	int r;

	f.stream = fopen(path, "re");
	if (!f.stream)
		return fail_file(ev, path, -errno);
	if (fstat(fileno(f.stream), &st) < 0)
		r = fail_file(ev, path, -errno);
	else if (S_ISDIR(st.st_mode))
		r = fail_file(ev, path, -EISDIR);
	else {
		f.file.dev = st.st_dev;
		f.file.ino = st.st_ino;
		r = check_depth(&f);
	}
	if (!r)
		r = parse(&f);
	fclose(f.stream);
	return r;
}

int
conf_file_read(const char *path, const struct conf_events *ev)
{
	return read_file(path, NULL, ev);
}

/* ------------------------------------------------------------- includes */

static int
is_conf(const struct dirent *d)
{
	return d->d_name[0] != '.' && !fnmatch("*.conf", d->d_name, 0);
}

/* By bytes: alphasort() would depend on the locale. */
static int
by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int
read_dir(const char *dir, const struct conf_file *from,
	 const struct conf_events *ev)
{
	struct dirent **names;
	int n = scandir(dir, &names, is_conf, by_name), r = 0;

	if (n < 0)
		return fail_file(ev, dir, -errno);
	for (int i = 0; i < n; i++) {
		char *path = NULL;

		if (!r && asprintf(&path, "%s/%s", dir, names[i]->d_name) < 0)
			r = no_memory(ev);
		else if (!r)
			r = read_file(path, from, ev);
		free(path);
		free(names[i]);
	}
	free(names);
	return r;
}

int
conf_file_include(const struct conf_file *from, const char *path,
		  const struct conf_events *ev)
{
	const char *slash = strrchr(from->path, '/');
	struct stat st;
	char *full;
	int r;

	if (!*path)
		return conf_file_fail(ev, from->path, from->line, -EINVAL,
				      CONF_INCLUDE
				      " =: give a file or a directory");
	if (*path == '/' || !slash)
		full = strdup(path);
	else if (asprintf(&full, "%.*s/%s", (int)(slash - from->path),
			  from->path, path) < 0)
		full = NULL;
	if (!full)
		return no_memory(ev);
	if (stat(full, &st) < 0)
		r = conf_file_fail(ev, from->path, from->line, -errno,
				   CONF_INCLUDE " = %s: %s", path,
				   strerror(errno));
	else if (S_ISDIR(st.st_mode))
		r = read_dir(full, from, ev);
	else
		r = read_file(full, from, ev);
	free(full);
	return r;
}
