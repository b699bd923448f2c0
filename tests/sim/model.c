/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/sim/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NEVER UINT64_MAX

/* A write whose value the sector may hold. */
struct cand {
	uint64_t tag;
	uint64_t begin, end; /* end NEVER: under way, or failed */
	uint64_t over;       /* overwritten since; NEVER: not known to be */
	enum model_kind kind;
	bool durable;
	bool torn; /* not durable when power was lost: may be gone since */
};

struct sector {
	struct cand *c;
	unsigned n, cap;
};

struct model {
	uint64_t n_sectors, clock;
	uint64_t power_cut; /* when the last one was */
	bool writeback;
	struct sector *sectors;
	/* Begin stamps of reads under way; the least decides what can be
	 * forgotten. */
	uint64_t *reads;
	unsigned n_reads, cap_reads;
};

static void *
grow(void *p, unsigned n, unsigned *cap, size_t size)
{
	if (n < *cap)
		return p;
	*cap = *cap ? 2 * *cap : 4;
	p = realloc(p, *cap * size);
	if (!p)
		abort();
	return p;
}

static void
add(struct sector *s, const struct cand *c)
{
	s->c = grow(s->c, s->n, &s->cap, sizeof(*s->c));
	s->c[s->n++] = *c;
}

/* The zeroes that every disk begins with are a write, too. */
static struct sector *
get(struct model *m, uint64_t i)
{
	struct sector *s = &m->sectors[i];
	const struct cand zero = {
		.over = NEVER, .kind = MODEL_ZERO, .durable = true};

	if (!s->n)
		add(s, &zero);
	return s;
}

struct model *
model_new(uint64_t sectors, bool writeback)
{
	struct model *m = calloc(1, sizeof(*m));

	if (!m)
		abort();
	m->sectors = calloc(sectors, sizeof(*m->sectors));
	if (!m->sectors)
		abort();
	m->n_sectors = sectors;
	m->writeback = writeback;
	m->clock = 1;
	return m;
}

void
model_free(struct model *m)
{
	uint64_t i;

	if (!m)
		return;
	for (i = 0; i < m->n_sectors; i++)
		free(m->sectors[i].c);
	free(m->sectors);
	free(m->reads);
	free(m);
}

/* --- contents */

static uint64_t
word(uint64_t tag, uint64_t index, unsigned i)
{
	return i ? (tag + index * UINT64_C(0x9e3779b97f4a7c15)) *
			       (2 * (uint64_t)i + 1)
		 : tag;
}

void
model_fill(uint8_t *buf, uint64_t tag, uint64_t first, uint64_t n)
{
	uint64_t s, v;
	unsigned i;

	for (s = 0; s < n; s++)
		for (i = 0; i < SECTOR / 8; i++, buf += 8) {
			v = word(tag, first + s, i);
			memcpy(buf, &v, 8);
		}
}

bool
model_tag(const uint8_t *sector, uint64_t index, uint64_t *ret)
{
	uint64_t tag, v;
	unsigned i;

	memcpy(&tag, sector, 8);
	if (!tag)
		return false;
	for (i = 1; i < SECTOR / 8; i++) {
		memcpy(&v, sector + i * 8, 8);
		if (v != word(tag, index, i))
			return false;
	}
	*ret = tag;
	return true;
}

bool
model_is_zero(const uint8_t *sector)
{
	return !sector[0] && !memcmp(sector, sector + 1, SECTOR - 1);
}

/* --- history */

static uint64_t
oldest_read(const struct model *m)
{
	uint64_t t = m->clock;
	unsigned i;

	for (i = 0; i < m->n_reads; i++)
		if (m->reads[i] < t)
			t = m->reads[i];
	return t;
}

/* Could it come back by a loss of power? */
static bool
may_return(const struct sector *s, const struct cand *c)
{
	unsigned i;

	for (i = 0; i < s->n; i++)
		if (s->c[i].durable && c->end < s->c[i].begin)
			return false;
	return true;
}

static void
forget(struct model *m, struct sector *s)
{
	uint64_t oldest = oldest_read(m);
	unsigned i = 0;

	while (i < s->n) {
		if (s->c[i].over <= oldest && !may_return(s, &s->c[i]))
			s->c[i] = s->c[--s->n];
		else
			i++;
	}
}

/* by has taken effect: what ended before it began is gone. */
static void
overwrite(struct model *m, struct sector *s, uint64_t begin)
{
	unsigned i;

	for (i = 0; i < s->n; i++)
		if (s->c[i].end < begin && s->c[i].over == NEVER)
			s->c[i].over = m->clock;
}

void
model_write_begin(struct model *m, uint64_t tag, enum model_kind kind,
		  uint64_t first, uint64_t n)
{
	struct cand c = {.tag = tag,
			 .begin = ++m->clock,
			 .end = NEVER,
			 .over = NEVER,
			 .kind = kind};
	uint64_t i;

	for (i = first; i < first + n; i++)
		add(get(m, i), &c);
}

void
model_write_end(struct model *m, uint64_t tag, uint64_t first, uint64_t n,
		bool ok, bool durable)
{
	struct sector *s;
	uint64_t i;
	unsigned k;

	++m->clock;
	if (!ok)
		return;
	for (i = first; i < first + n; i++) {
		s = get(m, i);
		for (k = 0; k < s->n && s->c[k].tag != tag; k++)
			;
		if (k == s->n)
			abort();
		s->c[k].end = m->clock;
		s->c[k].durable = (durable && !s->c[k].torn) || !m->writeback;
		if (!s->c[k].torn)
			overwrite(m, s, s->c[k].begin);
		forget(m, s);
	}
}

uint64_t
model_read_begin(struct model *m)
{
	m->reads = grow(m->reads, m->n_reads, &m->cap_reads, sizeof(*m->reads));
	m->reads[m->n_reads++] = ++m->clock;
	return m->clock;
}

static bool
check_sector(struct model *m, uint64_t begin, uint64_t i, const uint8_t *data,
	     char *why, size_t why_len)
{
	struct sector *s = get(m, i);
	bool zero = model_is_zero(data), known = zero;
	const struct cand *hit = NULL;
	uint64_t tag = 0;
	unsigned k, hits = 0;
	int at;

	if (!zero)
		known = model_tag(data, i, &tag);
	for (k = 0; k < s->n; k++) {
		const struct cand *c = &s->c[k];

		if (c->over <= begin)
			continue;
		if (c->kind == MODEL_ANY ||
		    (known && zero && c->kind == MODEL_ZERO) ||
		    (known && !zero && c->kind == MODEL_DATA &&
		     c->tag == tag)) {
			hit = c;
			hits++;
		}
	}
	/* What was read before a loss of power may be lost since. */
	if (hits == 1 && hit->kind != MODEL_ANY && begin > m->power_cut)
		overwrite(m, s, hit->begin);
	if (hits)
		return true;
	at = snprintf(why, why_len, "sector %llu holds %s %llu, may hold",
		      (unsigned long long)i,
		      zero    ? "zeroes"
		      : known ? "the value of write"
			      : "garbage, first word",
		      (unsigned long long)(zero    ? 0
					   : known ? tag
						   : *data));
	for (k = 0; k < s->n && at > 0 && (size_t)at < why_len; k++)
		at += snprintf(why + at, why_len - (size_t)at, " %s%llu%s",
			       s->c[k].kind == MODEL_ZERO  ? "zero:"
			       : s->c[k].kind == MODEL_ANY ? "any:"
							   : "",
			       (unsigned long long)s->c[k].tag,
			       s->c[k].over <= begin ? "(overwritten)" : "");
	return false;
}

bool
model_read_end(struct model *m, uint64_t begin, uint64_t first, uint64_t n,
	       const uint8_t *data, char *why, size_t why_len)
{
	uint64_t i;
	unsigned k;

	++m->clock;
	for (k = 0; m->reads[k] != begin; k++)
		;
	m->reads[k] = m->reads[--m->n_reads];
	for (i = 0; data && i < n; i++)
		if (!check_sector(m, begin, first + i, data + i * SECTOR, why,
				  why_len))
			return false;
	return true;
}

uint64_t
model_flush_begin(struct model *m)
{
	return ++m->clock;
}

void
model_flush_end(struct model *m, uint64_t begin, bool ok)
{
	struct sector *s;
	uint64_t i;
	unsigned k;

	++m->clock;
	if (!ok || !m->writeback)
		return;
	for (i = 0; i < m->n_sectors; i++) {
		s = &m->sectors[i];
		for (k = 0; k < s->n; k++)
			if (s->c[k].end < begin && !s->c[k].torn)
				s->c[k].durable = true;
		if (s->n > 1)
			forget(m, s);
	}
}

void
model_power_cut(struct model *m)
{
	struct sector *s;
	uint64_t i;
	unsigned k;

	m->power_cut = ++m->clock;
	for (i = 0; i < m->n_sectors; i++) {
		s = &m->sectors[i];
		for (k = 0; k < s->n; k++) {
			s->c[k].torn |= !s->c[k].durable;
			if (may_return(s, &s->c[k]))
				s->c[k].over = NEVER;
		}
	}
}
