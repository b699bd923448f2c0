/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a read of a disk may return, per 512-byte sector, while any number of
 * clients write to it.
 *
 * Each write has a tag that is stored in every sector it writes. A sector may
 * hold the value of each write that was begun and is not known to be
 * overwritten: a write is overwritten by one that was begun after it had ended,
 * once that one succeeded, or was seen by a read. A write that failed may take
 * effect at any time after it began. After a loss of power what was
 * overwritten is back, unless the overwriting write was durable.
 */
#ifndef TESTS_SIM_MODEL_H
#define TESTS_SIM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECTOR 512

enum model_kind {
	MODEL_ZERO, /* all bytes zero */
	MODEL_DATA, /* model_fill() of the tag */
	MODEL_ANY,  /* undefined: discarded */
};

struct model;

/* writeback: only FUA and flushes make writes durable. */
struct model *model_new(uint64_t sectors, bool writeback);
void model_free(struct model *m);

/* The content of n sectors from first, written by tag (not 0). */
void model_fill(uint8_t *buf, uint64_t tag, uint64_t first, uint64_t n);
/* The tag of a sector's content; false if it is none that was filled. */
bool model_tag(const uint8_t *sector, uint64_t index, uint64_t *ret);
bool model_is_zero(const uint8_t *sector);

void model_write_begin(struct model *m, uint64_t tag, enum model_kind kind,
		       uint64_t first, uint64_t n);
/* ok: it was acknowledged; durable: by FUA. */
void model_write_end(struct model *m, uint64_t tag, uint64_t first, uint64_t n,
		     bool ok, bool durable);

/* Stamps; each begin has one end. */
uint64_t model_read_begin(struct model *m);
/* data NULL: it failed. False: not a value that the sector may have; why. */
bool model_read_end(struct model *m, uint64_t begin, uint64_t first, uint64_t n,
		    const uint8_t *data, char *why, size_t why_len);
uint64_t model_flush_begin(struct model *m);
void model_flush_end(struct model *m, uint64_t begin, bool ok);

/* What was not durable may be lost. */
void model_power_cut(struct model *m);

#endif
