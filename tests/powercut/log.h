/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads what the device-mapper target log-writes recorded: entries in the order
 * in which they were safe on the disk. What was completed and not flushed is in
 * no entry before the next flush's own: so each prefix of the log is the disk
 * that is left when everything volatile is lost there. Format: the
 * documentation of dm-log-writes, version 1.
 */
#ifndef TESTS_POWERCUT_LOG_H
#define TESTS_POWERCUT_LOG_H

#include <stddef.h>
#include <stdint.h>

#define CUT_LOG_MAGIC UINT64_C(0x6a736677736872)

enum {
	CUT_FLUSH = 1,
	CUT_FUA = 2,
	CUT_DISCARD = 4,
	CUT_MARK = 8,
};

struct cut_entry {
	uint64_t flags;
	uint64_t offset; /* bytes */
	uint64_t len;    /* bytes; of a discard too, which has no data */
	const uint8_t *data;
	const char *mark; /* of a mark; ends with a zero byte */
};

struct cut_log {
	uint8_t *map; /* the file, private */
	size_t map_len;
	struct cut_entry *entries;
	size_t n;
};

/* 0, or a negative errno: -EBADMSG it is no such log, or cut short. */
int cut_log_read(const char *path, struct cut_log *ret);
void cut_log_free(struct cut_log *l);

#endif
