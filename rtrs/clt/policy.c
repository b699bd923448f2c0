/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which path takes the next request. All policies give CONNECTED paths only,
 * each at most once per request; ties go to the path that was added first.
 */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static const struct {
	const char *name, *abbr, *number;
} names[] = {
	[RTRS_MP_ROUND_ROBIN] = {"round-robin", "rr", "0"},
	[RTRS_MP_MIN_INFLIGHT] = {"min-inflight", "mi", "1"},
	[RTRS_MP_MIN_LATENCY] = {"min-latency", "ml", "2"},
};

int
rtrs_mp_policy_parse(const char *s)
{
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcasecmp(s, names[i].name) ||
		    !strcasecmp(s, names[i].abbr) ||
		    !strcmp(s, names[i].number))
			return (int)i;
	return -EINVAL;
}

const char *
rtrs_mp_policy_name(enum rtrs_mp_policy policy)
{
	return names[policy].name;
}

static bool
was_tried(const struct clt_tried *t, unsigned i)
{
	return t->map[i / 64] >> (i % 64) & 1;
}

/* The successor of the path that was used last. */
static struct rtrs_clt_path *
round_robin(struct rtrs_clt *clt, const struct clt_tried *tried)
{
	for (unsigned k = 0; k < clt->n_paths; k++) {
		unsigned i = (clt->rr_next + k) % clt->n_paths;

		if (clt->paths[i]->state != RTRS_CLT_CONNECTED ||
		    was_tried(tried, i))
			continue;
		clt->rr_next = (i + 1) % clt->n_paths;
		return clt->paths[i];
	}
	return NULL;
}

static uint64_t
cost(const struct rtrs_clt_path *path, enum rtrs_mp_policy policy)
{
	/* A path that was not measured yet has latency 0 and wins. */
	return policy == RTRS_MP_MIN_LATENCY ? path->hb.latency_ns
					     : path->stats.inflight;
}

static struct rtrs_clt_path *
cheapest(struct rtrs_clt *clt, const struct clt_tried *tried)
{
	struct rtrs_clt_path *best = NULL;

	for (unsigned i = 0; i < clt->n_paths; i++) {
		struct rtrs_clt_path *path = clt->paths[i];

		if (path->state != RTRS_CLT_CONNECTED || was_tried(tried, i))
			continue;
		if (!best || cost(path, clt->policy) < cost(best, clt->policy))
			best = path;
	}
	return best;
}

struct rtrs_clt_path *
clt_policy_next(struct rtrs_clt *clt, struct clt_tried *tried)
{
	struct rtrs_clt_path *path;

	if (clt->policy == RTRS_MP_ROUND_ROBIN)
		path = round_robin(clt, tried);
	else
		path = cheapest(clt, tried);
	if (path)
		tried->map[path->idx / 64] |= UINT64_C(1) << (path->idx % 64);
	return path;
}

void
rtrs_clt_set_policy(struct rtrs_clt *clt, enum rtrs_mp_policy policy)
{
	clt->policy = policy;
}

enum rtrs_mp_policy
rtrs_clt_policy(const struct rtrs_clt *clt)
{
	return clt->policy;
}
