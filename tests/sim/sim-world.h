/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole stack in one thread: client sessions, the simulated network, a
 * gateway with simulated disks, on one fake clock and one seed. This file is
 * the clock and the loop; sim-server, sim-client and sim-backend are what turns
 * in it.
 */
#ifndef TESTS_SIM_SIM_WORLD_H
#define TESTS_SIM_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "rtrs/base/log.h"
#include "rtrs/fabric/sim/sim.h"

#define MAX_CLIENTS 4
#define MAX_DISKS   2
#define MAX_PATHS   4 /* of a client */
#define SRV_HOST    1
#define SRV_PORT    1234

/* What a seed means. Printed in front of a trace. */
struct sim_params {
	uint64_t seed;
	const struct fabric_ops *fabric;
	bool done_when_sent;
	/* RTRS */
	unsigned queue_depth;
	uint32_t chunk_size;
	bool always_invalidate, need_inval;
	unsigned n_cons, n_paths, max_queue_depth;
	unsigned hb_interval_ms, peer_timeout_ms, srv_peer_timeout_ms;
	unsigned quiesce_ms;
	unsigned reconnect_delay_ms, connect_timeout_ms;
	/* RNBD */
	unsigned io_timeout_ms;
	bool trust_write_zeroes;
	/* disks */
	uint64_t disk_bytes;
	uint32_t block_size;
	bool writeback, fua, discard, write_zeroes;
	unsigned eio_ppm;
	uint64_t disk_delay_ns;
	/* load */
	unsigned n_clients, ios, depth;
	uint64_t think_ns;
	/* faults, but for those that sim_faults has */
	struct sim_faults faults;
	unsigned server_kills, client_kills, partitions, server_stops;
	bool power_cuts;
	bool resizes;     /* a server that comes back has other chunks */
	unsigned hangups; /* clients that close with I/O under way */
	unsigned revokes; /* devices that the server closes */
	/* Limits of each disk while there are faults, changed so often. */
	uint64_t iops, bandwidth;
	unsigned new_limits;
	uint64_t fault_ns; /* how long there are faults */
	/* What was added later, and is chosen last. */
	unsigned srv_hb_interval_ms;
	unsigned policy, connect; /* rtrs_mp_policy, rtrs_connect */
	int max_attempts;
	bool migration; /* two clients may write a disk at once */
	uint64_t idle_ns;
	unsigned path_ops; /* commands on paths of clients */
	uint64_t ops_ns;   /* how long there are such */
	unsigned new_rules;
	bool limits;   /* of what an address may have, while there are faults */
	bool reshapes; /* disks shrink and grow while the server is away */
	unsigned enospc_ppm, stuck_ppm; /* of a disk's operations */
	unsigned flaps, sleeps;
	unsigned orphans; /* paths lost at work, their last bytes late */
	unsigned mem_ppm; /* allocations of the engines that fail */
};

struct world;

struct world_timer {
	struct world *w; /* filled in when it is set */
	uint64_t at, seq;
	void (*fire)(struct world_timer *t);
	bool armed;
	struct world_timer *prev, *next;
};

/* An answer of an engine, while nothing has happened to it. */
struct actor_known {
	bool known;
	uint64_t changes, arrivals; /* of the world and of the node, then */
	uint64_t value;
};

/* Something with an engine in it. */
struct actor {
	struct world *w;
	/* True if progress is due, whatever the time. */
	bool (*ready)(struct actor *a);
	/* When it is due in any case. */
	uint64_t (*deadline)(struct actor *a);
	void (*progress)(struct actor *a);
	/* Its progress is seen by others over the net alone. */
	bool alone;
	struct sim_node *node;
	struct actor_known is_ready, due_at;
	/* It does not run before; its clock jumps. */
	uint64_t asleep_until;
	struct actor *prev, *next;
};

struct world {
	struct sim_params p;
	struct sim_net *net;
	struct log log;
	struct actor *actors;
	uint64_t changes;           /* of anything but by the net */
	struct world_timer *timers; /* by time */
	uint64_t timer_seq;
	struct sim_disk *disks[MAX_DISKS];
	struct sim_server *server;  /* the one that listens, or NULL */
	struct sim_server *servers; /* all, those that are ending too */
	struct sim_client *clients[MAX_CLIENTS];
	struct world_timer server_restart;
	struct world_timer plan[64]; /* kills and the like */
	struct world_timer flap;
	unsigned flaps_left, orphans_left;
	unsigned n_plan, n_servers;
	uint64_t faults_end;
	uint64_t iops, bandwidth; /* of each disk, now */
	uint32_t block_size;      /* now */
	/* The disks (bits) that access rules deny each client, now. */
	unsigned denied[MAX_CLIENTS];
	bool limited;    /* by address, now */
	bool step_fault; /* one fault is planned */
	unsigned idle_rounds;
	/* The first broken invariant; the run ends there. */
	bool failed;
	char why[512];
	/* Per write tag. */
	uint8_t *tags;
	uint64_t n_tags, cap_tags;
	uint64_t digest; /* of everything that happened */
	struct {
		uint64_t ios, ios_failed, opens, lost_sessions;
	} stats;
};

enum tag_state {
	TAG_PENDING,
	TAG_OK,
	TAG_FAILED
};

void world_init(struct world *w, const struct sim_params *p, FILE *trace);
/* Turns once; false when nothing can ever happen again. */
bool world_turn(struct world *w);
void world_deinit(struct world *w);

uint64_t world_now(const struct world *w);
uint64_t world_below(struct world *w, uint64_t n);
bool world_chance(struct world *w, unsigned percent);
void world_note(struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* An invariant is broken. */
void world_fail(struct world *w, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

void world_timer_set(struct world *w, struct world_timer *t, uint64_t at);
void world_timer_cancel(struct world *w, struct world_timer *t);

uint64_t world_tag_new(struct world *w);

#endif
