/* SPDX-License-Identifier: BSD-3-Clause */
/* What a seed means. */
#include <stdlib.h>
#include <string.h>

#include "rtrs/rtrs.h"
#include "tests/sim/sim-run.h"

struct dice {
	struct sim_net *net;
};

static uint64_t
pick(struct dice *d, uint64_t n)
{
	return sim_net_below(d->net, n);
}

#define PICK(d, ...)                                                           \
	((const uint64_t[]){__VA_ARGS__}[pick(                                 \
		d, ARRAY_SIZE(((const uint64_t[]){__VA_ARGS__})))])

static void
pick_engines(struct dice *d, struct sim_params *p)
{
	static const struct fabric_ops *const fabrics[] = {
		&fabric_sim, &fabric_sim, &fabric_sim_rdma, &fabric_sim_plain};

	p->fabric = fabrics[pick(d, ARRAY_SIZE(fabrics))];
	p->done_when_sent = p->fabric == &fabric_sim && pick(d, 2);
	p->queue_depth = (unsigned)(pick(d, 4) ? 1 + pick(d, 64)
					       : PICK(d, 1, 2, 3, 4, 64));
	p->chunk_size = (uint32_t)PICK(d, 8192, 16384, 65536, 131072);
	p->always_invalidate = pick(d, 2);
	p->need_inval = pick(d, 2);
	p->n_cons = (unsigned)PICK(d, 2, 2, 3, 5);
	p->n_paths = pick(d, 4) ? 1 : 2;
	p->max_queue_depth = pick(d, 4) ? 0 : (unsigned)(4 + pick(d, 16));
	p->hb_interval_ms = (unsigned)PICK(d, 0, 50, 200, 1000);
	p->peer_timeout_ms = (unsigned)PICK(d, 0, 500, 3000);
	p->srv_peer_timeout_ms = pick(d, 2) ? p->peer_timeout_ms : 0;
	p->quiesce_ms = (unsigned)PICK(d, 0, 0, 30000, 60000);
	p->reconnect_delay_ms = (unsigned)PICK(d, 0, 10, 100, 1000);
	p->connect_timeout_ms = (unsigned)PICK(d, 0, 500, 2000);
	p->io_timeout_ms = (unsigned)PICK(d, 0, 1000, 60000, 300000);
	p->trust_write_zeroes = pick(d, 2);
	p->block_size = (uint32_t)PICK(d, 512, 512, 4096);
	p->disk_bytes = PICK(d, 256, 1024, 2048) << 10;
	p->writeback = pick(d, 2);
	p->fua = p->writeback && pick(d, 2);
	p->discard = pick(d, 2);
	p->write_zeroes = pick(d, 2);
	p->disk_delay_ns = PICK(d, 0, 100, 1000, 5000) * NSEC_PER_USEC;
	p->n_clients = 1 + (unsigned)pick(d, 2);
	p->ios = 10 + (unsigned)pick(d, 60);
	p->depth = 1 + (unsigned)pick(d, 24);
	p->think_ns = PICK(d, 0, 1, 20) * NSEC_PER_MSEC;
	p->faults.delay_min_ns = 1000;
	p->faults.delay_max_ns = PICK(d, 5, 50, 1000) * NSEC_PER_USEC;
	p->faults.notice_max_ns = PICK(d, 0, 1, 200) * NSEC_PER_MSEC;
	p->faults.stall_max_ns = PICK(d, 10, 1000, 8000) * NSEC_PER_MSEC;
	p->faults.late_wc_ppm = (unsigned)PICK(d, 0, 100000);
	p->faults.late_wc_max_ns = PICK(d, 100, 5000) * NSEC_PER_USEC;
}

static void
pick_faults(struct dice *d, struct sim_params *p)
{
	struct sim_faults *f = &p->faults;

	p->fault_ns = PICK(d, 100, 1000, 10000) * NSEC_PER_MSEC;
	p->eio_ppm = (unsigned)PICK(d, 0, 0, 20000);
	f->cut_ppm = (unsigned)PICK(d, 0, 200, 2000, 10000);
	f->lose_ppm = (unsigned)PICK(d, 0, 0, 200, 2000);
	f->stall_ppm = (unsigned)PICK(d, 0, 0, 1000, 10000);
	f->refuse_ppm = (unsigned)PICK(d, 0, 0, 100000);
	f->reject_ppm = (unsigned)PICK(d, 0, 0, 100000);
	f->req_lost_ppm = (unsigned)PICK(d, 0, 0, 50000);
	f->rep_lost_ppm = (unsigned)PICK(d, 0, 0, 50000);
	f->enomem_ppm = (unsigned)PICK(d, 0, 0, 300);
	p->server_kills = (unsigned)PICK(d, 0, 0, 1, 2);
	p->client_kills = (unsigned)PICK(d, 0, 0, 1, 2);
	p->partitions = (unsigned)PICK(d, 0, 0, 0, 1);
	p->power_cuts = pick(d, 2);
	p->server_stops = (unsigned)PICK(d, 0, 0, 0, 1, 2);
	p->resizes = !pick(d, 4);
	p->hangups = (unsigned)PICK(d, 0, 0, 0, 1);
}

/*
 * Requests that arrive late, when the client has given up the connection long
 * ago and sent them again on another path: this takes more coincidences than
 * independent choices bring about.
 */
static void
pick_late(struct dice *d, struct sim_params *p)
{
	p->fabric = &fabric_sim;
	p->done_when_sent = true;
	p->n_paths = 2;
	p->peer_timeout_ms = 500;
	p->srv_peer_timeout_ms = 0;
	p->hb_interval_ms = (unsigned)PICK(d, 0, 1000);
	p->io_timeout_ms = 60000;
	p->think_ns = 20 * NSEC_PER_MSEC;
	p->fault_ns = 10 * NSEC_PER_SEC;
	p->faults.lose_ppm = 0;
	p->faults.stall_ppm = (unsigned)PICK(d, 5000, 20000);
	p->faults.stall_max_ns = 4 * NSEC_PER_SEC;
}

/*
 * Paths that are lost one at a time, while another works and there is load on
 * both: what is held up on the lost one arrives when its requests may have
 * been answered on the other, and their blocks written again.
 */
static void
pick_lost_paths(struct dice *d, struct sim_params *p)
{
	p->orphans = (unsigned)(1 + pick(d, 8));
	p->think_ns = 100 * NSEC_PER_MSEC;
	p->fault_ns = 2 * NSEC_PER_SEC;
	p->faults.stall_ppm = 0;
	p->faults.cut_ppm = (unsigned)PICK(d, 0, 0, 200);
	p->faults.refuse_ppm = 0;
	p->faults.reject_ppm = 0;
	p->faults.req_lost_ppm = 0;
	p->faults.rep_lost_ppm = 0;
	p->faults.stall_max_ns = PICK(d, 20, 100, 1000) * NSEC_PER_MSEC;
}

/* What administrators do meanwhile. Behind all else, for the sake of seeds that
 * are written down somewhere. */
static void
pick_admin(struct dice *d, struct sim_params *p)
{
	if (!p->fault_ns)
		return;
	p->revokes = (unsigned)PICK(d, 0, 0, 1, 4);
	p->iops = PICK(d, 0, 0, 0, 50, 1000);
	p->bandwidth = PICK(d, 0, 0, 0, 65536, 4 << 20);
	p->new_limits = (unsigned)PICK(d, 0, 0, 1, 4);
}

/* What was added later. */
static void
pick_more(struct dice *d, struct sim_params *p)
{
	if (!pick(d, 4))
		p->n_clients = MAX_CLIENTS;
	if (p->n_clients > MAX_DISKS)
		p->ios /= 2;
	if (p->n_paths > 1)
		p->n_paths = (unsigned)PICK(d, 2, 2, 3, MAX_PATHS);
	p->srv_hb_interval_ms =
		pick(d, 2) ? p->hb_interval_ms : (unsigned)PICK(d, 0, 50);
	p->policy = (unsigned)pick(d, 3);
	p->connect = (unsigned)pick(d, 3);
	p->max_attempts = p->fault_ns ? (int)PICK(d, -1, -1, -1, 3) : -1;
	p->migration = !pick(d, 4);
	p->idle_ns = PICK(d, 0, 0, 0, 2000) * NSEC_PER_MSEC;
	p->path_ops = (unsigned)PICK(d, 0, 0, 3, 10);
	p->ops_ns = p->fault_ns ? p->fault_ns : 200 * NSEC_PER_MSEC;
	if (!p->fault_ns)
		return;
	p->new_rules = (unsigned)PICK(d, 0, 0, 0, 3);
	p->limits = !pick(d, 6);
	p->reshapes = !pick(d, 6);
	p->enospc_ppm = (unsigned)PICK(d, 0, 0, 0, 20000);
	p->stuck_ppm = (unsigned)PICK(d, 0, 0, 0, 0, 5000);
	p->flaps = (unsigned)PICK(d, 0, 0, 0, 0, 1);
	p->sleeps = (unsigned)PICK(d, 0, 0, 0, 2);
	p->mem_ppm = (unsigned)PICK(d, 0, 0, 0, 3000);
}

/* The same at any time, when the client learns at once that its connections are
 * gone. */
static void
pick_orphans(struct dice *d, struct sim_params *p)
{
	if (!p->fault_ns || p->fabric != &fabric_sim || p->n_paths < 2 ||
	    p->orphans)
		return;
	p->faults.orphan_ppm = (unsigned)PICK(d, 0, 1000, 10000);
	if (p->faults.orphan_ppm)
		p->done_when_sent = true;
}

void
sim_params_pick(struct sim_params *p, uint64_t seed, enum sim_kind kind)
{
	bool faults = kind != SIM_CALM, late;
	struct dice d;

	memset(p, 0, sizeof(*p));
	p->seed = seed;
	p->max_attempts = -1;
	p->policy = RTRS_MP_MIN_INFLIGHT;
	if (sim_net_new(seed, &d.net))
		abort();
	sim_net_rand(d.net);
	pick_engines(&d, p);
	if (faults && pick(&d, 5))
		pick_faults(&d, p);
	late = kind == SIM_LATE || (faults && !pick(&d, 8));
	if (late)
		pick_late(&d, p);
	if (late && pick(&d, 4))
		pick_lost_paths(&d, p);
	pick_admin(&d, p);
	/* What is late needs quiet around it to be seen, most of the time. */
	if (!late || !pick(&d, 4))
		pick_more(&d, p);
	else
		p->srv_hb_interval_ms = p->hb_interval_ms;
	pick_orphans(&d, p);
	sim_net_free(d.net);
}

void
sim_params_print(const struct sim_params *p, FILE *to)
{
	fprintf(to,
		"seed %llu: fabric %s%s, %u chunks of %u, %s%s%u conns, "
		"%u paths, permits <= %u, hb %u, peer time-out %u/%u, quiesce "
		"%u, "
		"reconnect %u, connect time-out %u, I/O time-out %u\n",
		(unsigned long long)p->seed, p->fabric->name,
		p->done_when_sent ? " (socket)" : "", p->queue_depth,
		p->chunk_size,
		p->always_invalidate ? "always_invalidate, " : "",
		p->need_inval ? "need_inval, " : "", p->n_cons, p->n_paths,
		p->max_queue_depth, p->hb_interval_ms, p->peer_timeout_ms,
		p->srv_peer_timeout_ms, p->quiesce_ms, p->reconnect_delay_ms,
		p->connect_timeout_ms, p->io_timeout_ms);
	fprintf(to,
		"server's hb %u, policy %s, connect %u, attempts %d, %s%sidle "
		"%llu ms, "
		"%u commands on paths, rules %u%s, enospc %u stuck %u memory "
		"%u ppm, flaps %u, sleeps %u, orphans %u\n",
		p->srv_hb_interval_ms,
		rtrs_mp_policy_name((enum rtrs_mp_policy)p->policy), p->connect,
		p->max_attempts, p->migration ? "migration, " : "",
		p->reshapes ? "reshapes, " : "",
		(unsigned long long)(p->idle_ns / NSEC_PER_MSEC), p->path_ops,
		p->new_rules, p->limits ? ", limits" : "", p->enospc_ppm,
		p->stuck_ppm, p->mem_ppm, p->flaps, p->sleeps, p->orphans);
	fprintf(to,
		"disks of %llu K, block %u, %s%s%s%seio %u ppm; %u clients, %u "
		"I/O at depth %u; faults for %llu ms: cut %u lose %u stall %u "
		"orphan %u refuse %u reject %u req lost %u rep lost %u enomem "
		"%u ppm, "
		"kills: server %u client %u%s, partitions %u, server stops "
		"%u%s, hang-ups %u, revokes %u, limits %llu/s %llu bytes/s "
		"(%u new)\n",
		(unsigned long long)p->disk_bytes >> 10, p->block_size,
		p->writeback ? "writeback, " : "", p->fua ? "fua, " : "",
		p->discard ? "discard, " : "",
		p->write_zeroes ? "zeroes, " : "", p->eio_ppm, p->n_clients,
		p->ios, p->depth,
		(unsigned long long)(p->fault_ns / NSEC_PER_MSEC),
		p->faults.cut_ppm, p->faults.lose_ppm, p->faults.stall_ppm,
		p->faults.orphan_ppm, p->faults.refuse_ppm,
		p->faults.reject_ppm, p->faults.req_lost_ppm,
		p->faults.rep_lost_ppm, p->faults.enomem_ppm, p->server_kills,
		p->client_kills, p->power_cuts ? " (power)" : "", p->partitions,
		p->server_stops, p->resizes ? " (resizes)" : "", p->hangups,
		p->revokes, (unsigned long long)p->iops,
		(unsigned long long)p->bandwidth, p->new_limits);
}
