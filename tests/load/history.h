/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Judges what a disk returned while many wrote to the same blocks at once.
 *
 * Each block is a register of its own. Each write has a version of its own, so
 * a read says by its data which write it saw, and it can be decided whether
 * some order of all operations, in which none precedes one that had ended
 * before it began, explains every read. So these are found: a value that was
 * overwritten by a write which had been acknowledged before the read began; a
 * write that is lost; an older one that comes back; two values that take turns
 * when both writes are over.
 *
 * A write that is sent again on another path may take effect more than once
 * before it is acknowledged, and be overwritten and seen again in between.
 * With `once` that is a violation too.
 *
 * A write that failed may take effect at any time, or never. One thread; stamps
 * are the order of the calls. Time is on the side of the disk: an end that is
 * noticed late is never a violation.
 */
#ifndef TESTS_LOAD_HISTORY_H
#define TESTS_LOAD_HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Content of a block. */
enum block_is {
	BLOCK_WHOLE, /* of one version; all zeroes are version 0 */
	BLOCK_TORN,  /* parts of it are as they were written */
	BLOCK_ALIEN, /* another block's, or nobody has written this */
};

#define VERSION(writer, seq) ((uint64_t)(writer) << 40 | (seq))
#define VERSION_WRITER(v)    ((unsigned)((v) >> 40))
#define VERSION_SEQ(v)       ((v) & ((UINT64_C(1) << 40) - 1))

/* size: a multiple of 64. The block knows version, its number and a sum. */
void block_fill(void *buf, size_t size, uint64_t version, uint64_t block);
enum block_is block_check(const void *buf, size_t size, uint64_t block,
			  uint64_t *ret_version);

struct history;

/* Every block begins with version 0. Aborts when there is no memory. */
struct history *history_new(uint64_t n_blocks, bool once);
void history_free(struct history *h);

/* One write of n blocks; each begin has one end. ok: it was acknowledged. */
void history_write_begin(struct history *h, uint64_t version, uint64_t first,
			 uint64_t n);
void history_write_end(struct history *h, uint64_t version, uint64_t first,
		       uint64_t n, bool ok);

/* Returns the stamp for the end. */
uint64_t history_read_begin(struct history *h, uint64_t first, uint64_t n);
/*
 * One block of a read, before history_read_end(). NULL, or what is wrong, in
 * words that live until the next call.
 */
const char *history_saw(struct history *h, uint64_t begin, uint64_t block,
			uint64_t version);
/* The same for a torn block: only where a write was under way meanwhile. */
const char *history_saw_torn(struct history *h, uint64_t begin, uint64_t block);
void history_read_end(struct history *h, uint64_t first, uint64_t n);

/* Versions that are remembered, for tests of how much memory that takes. */
uint64_t history_remembered(const struct history *h);

#endif
