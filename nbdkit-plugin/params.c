/* SPDX-License-Identifier: BSD-3-Clause */
/* The parameters as a whole: defaults, checks, and the session they ask for. */
#include "nbdkit-plugin/params.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "proto/rnbd-msg.h"
#include "proto/rtrs-msg.h"

/* Time to find out which of several addresses of a name answers. */
#define PROBE_MS 2000

void
params_init(struct params *p)
{
	*p = (struct params){
		.dest_port = RTRS_DEFAULT_PORT,
		.access_mode = RNBD_ACCESS_RW,
		.io_timeout_ms = 60000,
		.open_timeout_ms = 10000,
		.connect_timeout_ms = 5000,
		/*
		 * The kernel waits 30 s, for fabrics where a failed attempt
		 * costs a subnet manager's time. Here it costs a SYN.
		 */
		.quiesce_time_ms = RTRS_QUIESCE_MS,
		.reconnect_delay_ms = 1000,
		.reconnect_delay_max_ms = 2000,
		.mp_policy = RTRS_MP_MIN_INFLIGHT,
		.heartbeat_interval_ms = RTRS_HB_INTERVAL_MS,
		.heartbeat_missed_max = RTRS_HB_MISSED_MAX,
		.max_reconnect_attempts = -1,
		.preflight = true,
	};
}

void
params_deinit(struct params *p)
{
	free(p->sessname);
	free(p->control);
	exports_deinit(&p->exports);
	free(p->paths);
	memset(p, 0, sizeof(*p));
}

int
params_check(const struct params *p, char err[PARAMS_ERR_MAX])
{
	const char *missing = NULL;

	char why[EXPORTS_TEXT_MAX];

	if (!p->sessname)
		missing = "sessname=NAME, a name for this session";
	else if (!p->n_paths)
		missing = "path=ip:ADDR or path=tcp:HOST, a way to the "
			  "server";
	if (!missing) {
		if (!exports_check(&p->exports, why))
			return 0;
		snprintf(err, PARAMS_ERR_MAX, "%s", why);
		return -EINVAL;
	}
	snprintf(err, PARAMS_ERR_MAX, "missing parameter: %s", missing);
	return -EINVAL;
}

int
params_resolve(const struct params *p, struct rtrs_path_addr **ret,
	       char err[PARAMS_ERR_MAX])
{
	struct rtrs_path_addr *addrs = calloc(p->n_paths, sizeof(*addrs));
	char why[PARAMS_ERR_MAX - 16];
	int rc = 0;

	if (!addrs) {
		snprintf(err, PARAMS_ERR_MAX, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	for (unsigned i = 0; i < p->n_paths && !rc; i++)
		rc = path_resolve(&p->paths[i], p->preflight ? PROBE_MS : 0,
				  &addrs[i], why, sizeof(why));
	if (rc) {
		snprintf(err, PARAMS_ERR_MAX, "path=: %s", why);
		free(addrs);
		return rc;
	}
	*ret = addrs;
	return 0;
}

int
params_resolve_path(const struct params *p, const char *text,
		    struct rtrs_path_addr *ret, char *err, size_t err_len)
{
	struct path_spec spec;
	int rc = path_parse(text, (uint16_t)p->dest_port, &spec, err, err_len);

	if (rc)
		return rc;
	if (spec.scheme == PATH_ANY) {
		snprintf(
			err, err_len,
			"'%s' does not name its fabric; write tcp:%s, or ip:%s "
			"for RDMA",
			text, text, text);
		return -EINVAL;
	}
	return path_resolve(&spec, PROBE_MS, ret, err, err_len);
}

static unsigned
default_connections(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return (unsigned)(cpus < 1 ? 1 : cpus > 4 ? 4 : cpus) + 1;
}

/* Only the tcp fabric leads to servers of our own kind for certain. */
static bool
trust_zeroes(const struct params *p)
{
	if (p->zero != PARAMS_ZERO_AUTO)
		return p->zero == PARAMS_ZERO_TRUST;
	for (unsigned i = 0; i < p->n_paths; i++)
		if (p->paths[i].scheme != PATH_TCP)
			return false;
	return true;
}

void
params_session(const struct params *p, struct rnbd_wait_params *ret)
{
	*ret = (struct rnbd_wait_params){
		.clt =
			{
				.rtrs =
					{
						.name = p->sessname,
						.n_paths = p->n_paths,
						.connect = (enum rtrs_connect)
								   p->connect,
						.policy = (enum rtrs_mp_policy)
								  p->mp_policy,
						.n_cons =
							p->connections
								? (unsigned)p
									  ->connections
								: default_connections(),
						.need_inval = p->need_inval,
						.max_queue_depth =
							(unsigned)
								p->queue_depth,
						.hb_interval_ms =
							p->heartbeat_interval_ms,
						.hb_missed_max =
							(unsigned)p
								->heartbeat_missed_max,
						.connect_timeout_ms =
							p->connect_timeout_ms,
						.quiesce_ms =
							p->quiesce_time_ms,
						.reconnect_delay_ms =
							p->reconnect_delay_ms,
						.reconnect_jitter_ms =
							RTRS_RECONNECT_JITTER_MS,
						.reconnect_max_ms =
							p->reconnect_delay_max_ms,
						.max_reconnect_attempts =
							p->max_reconnect_attempts,
					},
				.io_timeout_ms = p->io_timeout_ms,
				.open_timeout_ms = p->open_timeout_ms,
				.trust_write_zeroes = trust_zeroes(p),
			},
		.busy_poll_us = (unsigned)p->busy_poll_us,
	};
}
