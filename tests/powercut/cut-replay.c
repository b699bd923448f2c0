/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a disk of SIZE bytes may hold after a power cut, by the record LOG of
 * dm-log-writes.
 *
 *   cut-replay judge LOG SIZE PLAN   every prefix up to the first mark keeps
 * the promises that were made (plan.h) cut-replay count LOG             entries
 * before the first mark, and in all cut-replay image LOG SIZE IMAGE POINT SEED
 *                                    the disk after POINT entries; of those up
 * to the next flush, which may have got there or not, some, one perhaps in part
 * (SEED 0: none)
 *
 * Exit status 1 and a line if a promise was broken, 2 if it cannot tell.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rtrs/base/util.h"
#include "tests/powercut/judge.h"

static int
fail(const char *what, int err)
{
	fprintf(stderr, "cut-replay: %s: %s\n", what, strerror(-err));
	return 2;
}

static size_t
first_mark(const struct cut_log *l)
{
	size_t i = 0;

	while (i < l->n && !(l->entries[i].flags & CUT_MARK))
		i++;
	return i;
}

static int
read_plan(const char *path, uint32_t **ret, size_t *n)
{
	FILE *f = fopen(path, "re");
	struct stat st;
	int r = 0;

	if (!f)
		return -errno;
	if (fstat(fileno(f), &st)) {
		r = -errno;
	} else {
		*n = (size_t)st.st_size / sizeof(**ret);
		*ret = calloc(*n + 1, sizeof(**ret));
		if (!*ret)
			r = -ENOMEM;
		else if (fread(*ret, sizeof(**ret), *n, f) != *n)
			r = -EIO;
	}
	fclose(f);
	return r;
}

static int
judge(const struct cut_log *l, uint64_t size, const char *path)
{
	struct cut_verdict v;
	uint32_t *plan = NULL;
	size_t n = 0;
	int r = read_plan(path, &plan, &n);

	if (!r)
		r = cut_judge(l, plan, n, size / CUT_BLOCK, &v);
	free(plan);
	if (r)
		return fail(path, r);
	if (v.text[0]) {
		printf("cut-replay: %s\n", v.text);
		return 1;
	}
	printf("%zu cut points, %" PRIu64 " blocks of %zu writes, %" PRIu64
	       " flushes; the last promised up to %" PRIu64
	       "; FUA promised %" PRIu64 " times\n",
	       v.points, v.blocks, n, v.flushes, v.flushed, v.forced);
	return 0;
}

static bool
inside(const struct cut_entry *e, uint64_t size)
{
	return e->offset <= size && e->len <= size - e->offset;
}

static int
apply(int fd, const struct cut_entry *e, uint64_t size, uint64_t len)
{
	uint64_t at = 0;
	ssize_t r;

	if (!e->data)
		return 0;
	if (!inside(e, size))
		return -ERANGE;
	while (at < len) {
		r = pwrite(fd, e->data + at, len - at, (off_t)(e->offset + at));
		if (r < 0)
			return -errno;
		at += (uint64_t)r;
	}
	return 0;
}

static int
image(const struct cut_log *l, uint64_t size, const char *path, size_t point,
      unsigned seed)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	bool torn = false;
	int r;

	if (fd < 0)
		return fail(path, -errno);
	r = ftruncate(fd, (off_t)size) ? -errno : 0;
	for (size_t i = 0; !r && i < l->n && i < point; i++)
		r = apply(fd, &l->entries[i], size, l->entries[i].len);
	srandom(seed);
	for (size_t i = point; !r && seed && i < l->n; i++) {
		const struct cut_entry *e = &l->entries[i];

		if (e->flags & CUT_FLUSH)
			break;
		if (random() % 2)
			continue;
		if (!torn && random() % 4 == 0) {
			torn = true;
			r = apply(fd, e, size, e->len / 512 / 2 * 512);
		} else {
			r = apply(fd, e, size, e->len);
		}
	}
	if (close(fd) && !r)
		r = -errno;
	return r ? fail(path, r) : 0;
}

static int
usage(void)
{
	fprintf(stderr, "usage: cut-replay judge LOG SIZE PLAN\n"
			"       cut-replay count LOG\n"
			"       cut-replay image LOG SIZE IMAGE POINT SEED\n");
	return 2;
}

int
main(int argc, char **argv)
{
	const char *verb = argc > 2 ? argv[1] : "";
	struct cut_log l;
	int r;

	if (!(!strcmp(verb, "judge") && argc == 5) &&
	    !(!strcmp(verb, "count") && argc == 3) &&
	    !(!strcmp(verb, "image") && argc == 7))
		return usage();
	r = cut_log_read(argv[2], &l);
	if (r)
		return fail(argv[2], r);
	if (verb[0] == 'j') {
		r = judge(&l, strtoull(argv[3], NULL, 0), argv[4]);
	} else if (verb[0] == 'i') {
		r = image(&l, strtoull(argv[3], NULL, 0), argv[4],
			  strtoull(argv[5], NULL, 0),
			  (unsigned)strtoul(argv[6], NULL, 0));
	} else {
		printf("%zu %zu\n", first_mark(&l), l.n);
		r = 0;
	}
	cut_log_free(&l);
	return r;
}
