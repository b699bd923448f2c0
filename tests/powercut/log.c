/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/powercut/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u

/* Where what lies in the log, in bytes from the start of its sector. */
enum {
	SB_MAGIC = 0,
	SB_VERSION = 8,
	SB_ENTRIES = 16,
	SB_SECTOR = 24
};
enum {
	E_SECTOR = 0,
	E_COUNT = 8,
	E_FLAGS = 16,
	E_DATA_LEN = 24,
	E_TEXT = 32
};

static uint64_t
get(const uint8_t *p, unsigned bytes)
{
	uint64_t v = 0;

	while (bytes--)
		v = v << 8 | p[bytes];
	return v;
}

/* Entry at *at, which is moved behind it. */
static int
entry(struct cut_log *l, uint64_t unit, size_t *at, struct cut_entry *e)
{
	uint8_t *p = l->map + *at;
	uint64_t text_len;

	if (l->map_len - *at < unit)
		return -EBADMSG;
	e->flags = get(p + E_FLAGS, 8);
	e->offset = get(p + E_SECTOR, 8) * unit;
	e->len = get(p + E_COUNT, 8) * unit;
	*at += unit;
	if (e->flags & CUT_MARK) {
		text_len = get(p + E_DATA_LEN, 8);
		if (text_len >= unit - E_TEXT)
			return -EBADMSG;
		p[E_TEXT + text_len] = '\0';
		e->mark = (char *)p + E_TEXT;
		e->len = 0;
	} else if (!(e->flags & CUT_DISCARD)) {
		if (l->map_len - *at < e->len)
			return -EBADMSG;
		e->data = l->map + *at;
		*at += e->len;
	}
	return 0;
}

static int
parse(struct cut_log *l)
{
	uint64_t unit, n;
	size_t at;
	int r;

	if (l->map_len < SECTOR || get(l->map + SB_MAGIC, 8) != CUT_LOG_MAGIC ||
	    get(l->map + SB_VERSION, 8) != 1)
		return -EBADMSG;
	n = get(l->map + SB_ENTRIES, 8);
	unit = get(l->map + SB_SECTOR, 4);
	if (unit < SECTOR || unit > 65536 || unit % SECTOR ||
	    l->map_len < unit || n > l->map_len / unit)
		return -EBADMSG;
	l->entries = calloc(n ? n : 1, sizeof(*l->entries));
	if (!l->entries)
		return -ENOMEM;
	for (at = unit; l->n < n; l->n++) {
		r = entry(l, unit, &at, &l->entries[l->n]);
		if (r)
			return r;
	}
	return 0;
}

int
cut_log_read(const char *path, struct cut_log *ret)
{
	struct cut_log l = {NULL, 0, NULL, 0};
	struct stat st;
	int fd, r;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = fstat(fd, &st) ? -errno : st.st_size ? 0 : -EBADMSG;
	if (!r) {
		l.map_len = (size_t)st.st_size;
		/* Private: the texts of marks get an end. */
		l.map = mmap(NULL, l.map_len, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE, fd, 0);
		r = l.map == MAP_FAILED ? -errno : 0;
	}
	close(fd);
	if (r)
		return r;
	r = parse(&l);
	if (r) {
		cut_log_free(&l);
		return r;
	}
	*ret = l;
	return 0;
}

void
cut_log_free(struct cut_log *l)
{
	if (l->map)
		munmap(l->map, l->map_len);
	free(l->entries);
	*l = (struct cut_log){NULL, 0, NULL, 0};
}
