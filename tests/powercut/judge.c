/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/powercut/judge.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct judge {
	const uint32_t *plan;
	size_t n_writes;
	uint64_t *latest; /* the highest number on the disk, for each block */
	uint64_t n_blocks;
	uint64_t checked; /* all up to this one are there, or overwritten */
	struct cut_verdict *v;
};

static bool
is_there(const struct judge *j, uint64_t seq)
{
	return j->latest[j->plan[seq - 1]] >= seq;
}

/* What a block on the disk says was promised is there, as of before it. */
static bool
promises(struct judge *j, size_t point, const struct cut_head *h)
{
	struct cut_verdict *v = j->v;

	if (!h->seq || h->seq > j->n_writes || h->flushed >= h->seq ||
	    h->forced >= h->seq || j->plan[h->seq - 1] != h->block) {
		snprintf(v->text, sizeof(v->text),
			 "entry %zu: block %" PRIu64 " has number %" PRIu64
			 ", which was not written there",
			 point, h->block, h->seq);
		return false;
	}
	for (; j->checked < h->flushed; j->checked++) {
		if (is_there(j, j->checked + 1))
			continue;
		snprintf(v->text, sizeof(v->text),
			 "entry %zu: write %" PRIu64 " of block %" PRIu32
			 " is lost, but a flush of up to %" PRIu64
			 " was answered before write %" PRIu64,
			 point, j->checked + 1, j->plan[j->checked], h->flushed,
			 h->seq);
		return false;
	}
	if (h->flushed > v->flushed) {
		v->flushed = h->flushed;
		v->flushes++;
	}
	if (h->forced && !is_there(j, h->forced)) {
		snprintf(v->text, sizeof(v->text),
			 "entry %zu: write %" PRIu64 " of block %" PRIu32
			 " is lost, but it had FUA and was answered before "
			 "write %" PRIu64,
			 point, h->forced, j->plan[h->forced - 1], h->seq);
		return false;
	}
	if (h->forced)
		v->forced++;
	return true;
}

static bool
judge_entry(struct judge *j, size_t point, const struct cut_entry *e)
{
	const struct cut_block *b = (const void *)e->data;
	uint64_t first = e->offset / CUT_BLOCK, n = e->len / CUT_BLOCK;

	if (e->offset % CUT_BLOCK || e->len % CUT_BLOCK ||
	    first + n > j->n_blocks) {
		snprintf(j->v->text, sizeof(j->v->text),
			 "entry %zu: %" PRIu64 " bytes at %" PRIu64
			 " are no blocks of the disk",
			 point, e->len, e->offset);
		return false;
	}
	for (uint64_t i = 0; i < n; i++) {
		if (!cut_block_whole(&b[i], first + i)) {
			snprintf(j->v->text, sizeof(j->v->text),
				 "entry %zu: block %" PRIu64
				 " is torn, or another's",
				 point, first + i);
			return false;
		}
		if (!promises(j, point, &b[i].head))
			return false;
	}
	for (uint64_t i = 0; i < n; i++) {
		uint64_t *latest = &j->latest[first + i];

		if (b[i].head.seq < *latest) {
			snprintf(j->v->text, sizeof(j->v->text),
				 "entry %zu: block %" PRIu64
				 " falls back from write %" PRIu64
				 " to %" PRIu64,
				 point, first + i, *latest, b[i].head.seq);
			return false;
		}
		*latest = b[i].head.seq;
	}
	j->v->blocks += n;
	return true;
}

int
cut_judge(const struct cut_log *l, const uint32_t *plan, size_t n_writes,
	  uint64_t n_blocks, struct cut_verdict *ret)
{
	struct judge j = {.plan = plan,
			  .n_writes = n_writes,
			  .n_blocks = n_blocks,
			  .v = ret};

	*ret = (struct cut_verdict){.points = 0};
	for (size_t i = 0; i < n_writes; i++) {
		if (plan[i] < n_blocks)
			continue;
		snprintf(ret->text, sizeof(ret->text),
			 "the plan names block %" PRIu32 " of %" PRIu64,
			 plan[i], n_blocks);
		return 0;
	}
	j.latest = calloc(n_blocks, sizeof(*j.latest));
	if (!j.latest)
		return -ENOMEM;
	for (size_t i = 0; i < l->n && !(l->entries[i].flags & CUT_MARK); i++) {
		ret->points++;
		if (l->entries[i].data && l->entries[i].len &&
		    !judge_entry(&j, i, &l->entries[i]))
			break;
	}
	free(j.latest);
	return 0;
}
