/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/preflight.h"

#include <errno.h>
#include <string.h>

#include "gateway/os.h"

/* The first listener whose fabric pins memory, as RDMA does. */
static const struct listen_addr *
first_rdma(const struct options *o)
{
	for (unsigned i = 0; i < o->n_listen; i++)
		if (!(o->listen[i].fabric->caps & FABRIC_CAP_LAZY_MEM))
			return &o->listen[i];
	return NULL;
}

static int
check_memlock(const struct options *o, const struct listen_addr *la,
	      const struct log *log)
{
	const struct rtrs_srv_params p = {
		.queue_depth = o->queue_depth,
		.chunk_size = o->chunk_size,
		.always_invalidate = o->always_invalidate,
	};
	/* A kernel client has a connection for each of its CPUs, and one. */
	size_t need = rtrs_srv_path_mem(&p, os_cpus() + 1);
	size_t limit = verbs_memlock_limit(), pinned = verbs_memlock_pinned();
	size_t left = limit > pinned ? limit - pinned : 0;

	if (limit == SIZE_MAX)
		return 0;
	if (left < need) {
		log_err(log,
			"--listen %s: one session of --queue-depth %u and "
			"--chunk-size %u pins %zu KiB of memory, %zu KiB are "
			"in use and the limit is %zu KiB; raise it (ulimit -l, "
			"LimitMEMLOCK=), grant CAP_IPC_LOCK, or lower "
			"--queue-depth",
			la->text, o->queue_depth, o->chunk_size, need / 1024,
			pinned / 1024, limit / 1024);
		return -ENOMEM;
	}
	if (left / need < o->max_sessions)
		log_info(log,
			 "the limit of pinned memory, %zu KiB, holds %zu RDMA "
			 "paths of %zu KiB; --max-sessions is %u",
			 limit / 1024, left / need, need / 1024,
			 o->max_sessions);
	return 0;
}

int
preflight(const struct options *o, const char *root, const struct log *log)
{
	const struct listen_addr *la = first_rdma(o);
	char why[256];
	int r;

	if (!la)
		return 0;
	r = verbs_check(root, why, sizeof(why));
	if (r < 0) {
		log_err(log, "--listen %s: %s", la->text, why);
		return r;
	}
	return check_memlock(o, la, log);
}
