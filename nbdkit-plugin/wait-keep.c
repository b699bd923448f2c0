/* SPDX-License-Identifier: BSD-3-Clause */
/* What was changed by command outlives the client that it was said to. */
#include <errno.h>
#include <stdlib.h>

#include "nbdkit-plugin/waiter.h"

int
rnbd_wait_keep(struct rnbd_wait *s)
{
	struct rtrs_path_addr *paths = calloc(RTRS_MAX_PATHS, sizeof(*paths));
	struct rtrs_path_addr *old = paths;
	struct rtrs_clt_params *p = &s->params.rtrs;
	struct wakes wk = {0};
	struct rtrs_clt_path_info info;
	unsigned n = 0;

	if (!paths)
		return -ENOMEM;
	futex_lock(&s->lock);
	if (s->clt) {
		const struct rtrs_clt *rtrs = rnbd_clt_rtrs(s->clt);

		while (n < RTRS_MAX_PATHS &&
		       !rtrs_clt_path_info(rtrs, n, &info))
			paths[n++] = info.addr;
		p->policy = rtrs_clt_policy(rtrs);
	}
	/* A session cannot be made without one. */
	if (n) {
		old = s->kept;
		s->kept = paths;
		p->paths = paths;
		p->n_paths = n;
	}
	wait_unlock(s, &wk, NULL);
	free(old);
	return 0;
}
