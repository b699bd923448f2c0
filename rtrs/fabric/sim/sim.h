/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The simulated fabric: a whole network in one thread, on a fake clock, with
 * one seed that decides everything. It keeps the contract of fabric.h, uses
 * every liberty that the contract leaves, and breaks what it is told to break.
 *
 *   sim_net    clock, randomness, wire, faults. Owns the nodes.
 *   sim_node   a process on a host; fabric_ctx_params.priv of its contexts.
 *              Nodes of one host share its address, so a process can be
 *              killed and started again.
 *
 * Nothing moves by itself: sim_net_step() and sim_net_advance() run what is
 * due. After that, contexts have something to poll (ctx_arm tells).
 *
 * Where it is harsher than a real fabric: posted work does not move before it
 * is flushed; send queue room comes back when completions are polled; source
 * bytes are read as late as at delivery; work posted on a connection that died
 * unnoticed is sometimes refused and sometimes taken and flushed. A caller that
 * breaks the contract (dead MR, buffer outside its MR) aborts the process.
 */
#ifndef RTRS_FABRIC_SIM_SIM_H
#define RTRS_FABRIC_SIM_SIM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "rtrs/base/util.h"
#include "rtrs/fabric/fabric.h"

/* Every capability, as tcp has them. */
extern const struct fabric_ops fabric_sim;
/* As verbs: memory must be registered, windows, private data padded. */
extern const struct fabric_ops fabric_sim_rdma;
/* No capability at all. */
extern const struct fabric_ops fabric_sim_plain;

struct sim_net;
struct sim_node;

enum sim_fault {
	SIM_FAULT_NONE,
	SIM_FAULT_CUT,   /* transport error; both ends notice, in their time */
	SIM_FAULT_LOSE,  /* one or both directions fall silent for good */
	SIM_FAULT_STALL, /* nothing passes for up to stall_max_ns */
	/* On all connections of the same two addresses: the client sees a
	 * reset; the server gets what is under way up to stall_max_ns later,
	 * and sees one then. */
	SIM_FAULT_ORPHAN,
	SIM_FAULT_HOOK, /* calls hook(): restart a process, ... */
	SIM_N_FAULTS,
};
const char *sim_fault_name(unsigned fault);

/*
 * All zero is a perfect network without delays. May be changed at any time.
 * Rates are chances in a million: per wire event, or per call or connect.
 */
struct sim_faults {
	/* Each message of a connection takes this long; order is kept on a
	 * connection, not between connections. */
	uint64_t delay_min_ns, delay_max_ns;

	/*
	 * Success of a send tells only that it left, as on a socket. Else it
	 * tells that the peer has it, as on a queue pair.
	 */
	bool done_when_sent;

	unsigned cut_ppm, lose_ppm, stall_ppm, orphan_ppm;
	uint64_t stall_max_ns;
	uint64_t notice_max_ns; /* until an end sees a cut or a killed peer */
	/* Of connects: nobody there; rejected without private data; the
	 * request is lost; the answer is lost. */
	unsigned refuse_ppm, reject_ppm, req_lost_ppm, rep_lost_ppm;
	/* Completions that come this much later than they happened. */
	unsigned late_wc_ppm;
	uint64_t late_wc_max_ns;
	/* -ENOMEM from connect, accept, listen, mr_reg, mw_new, post_recv,
	 * post_send: by chance, and at the n-th call (0: never). */
	unsigned enomem_ppm;
	uint64_t enomem_at;

	/* Random faults end here, so that a run can; 0: they never end. */
	uint64_t until_ns;
	/* One fault at one wire event (counted from 1; 0: none), on the
	 * connection of that event or on all connections. */
	uint64_t at_step;
	enum sim_fault at_fault;
	bool at_all;
	void (*hook)(void *user);
	void *hook_user;
};

int sim_net_new(uint64_t seed, struct sim_net **ret);
/* All contexts were freed. NULL is fine. */
void sim_net_free(struct sim_net *net);
struct sim_faults *sim_net_faults(struct sim_net *net);
/* One line per wire event and per fault; NULL: off. */
void sim_net_trace(struct sim_net *net, FILE *to);
/* A line of the caller's, with the time in front. */
void sim_net_note(struct sim_net *net, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sim_net_vnote(struct sim_net *net, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

uint64_t sim_net_now(const struct sim_net *net);
/* When the next event is due; TIME_NEVER when nothing is under way. */
uint64_t sim_net_next_time(const struct sim_net *net);
/* Runs the next event, whenever it is due; false if there is none. */
bool sim_net_step(struct sim_net *net);
/* Runs all events up to t; it is t then. */
void sim_net_advance(struct sim_net *net, uint64_t t);
/* Wire events so far. */
uint64_t sim_net_steps(const struct sim_net *net);
/* Calls so far that enomem_at counts. */
uint64_t sim_net_calls(const struct sim_net *net);
/* Faults of this kind so far. */
uint64_t sim_net_fault_count(const struct sim_net *net, enum sim_fault fault);

/* Random faults have not ended yet. */
bool sim_faults_on(const struct sim_net *net);

uint64_t sim_net_rand(struct sim_net *net);
/* 0..n-1; 0 when n is 0 */
uint64_t sim_net_below(struct sim_net *net, uint64_t n);
bool sim_net_chance(struct sim_net *net, unsigned ppm);
/* For the parameters of engines; draws from the same seed. */
struct rng sim_net_rng(struct sim_net *net);

/* host 1..65535; its address is 10.0.host. The net frees the node. */
int sim_node_new(struct sim_net *net, const char *name, unsigned host,
		 struct sim_node **ret);
/* 10.0.host:port as sockaddr_in; its length. */
socklen_t sim_node_addr(const struct sim_node *node, unsigned port,
			struct sockaddr_storage *ret);
/*
 * As kill -9: peers see their connections reset, listeners are gone, nothing
 * leaves the node or arrives any more. Its own objects remain to be freed:
 * their connections are dead and close at once, confirmed.
 */
void sim_node_kill(struct sim_node *node);
bool sim_node_killed(const struct sim_node *node);
/*
 * How often something arrived at a context of the node, or was taken away
 * again: until this changes, no ctx_arm() there answers anything new by itself.
 */
uint64_t sim_node_arrivals(const struct sim_node *node);
/* Nothing passes between the two hosts until then. */
void sim_net_partition(struct sim_net *net, const struct sim_node *a,
		       const struct sim_node *b, uint64_t until);
/* SIM_FAULT_ORPHAN between the two, but the client sees its reset so much later
 * only: until then it sends, and none of it arrives. */
void sim_net_orphan(struct sim_net *net, const struct sim_node *clt,
		    const struct sim_node *srv, uint64_t hold_ns);
/* The fault now, on every connection of the net. */
void sim_net_fault_all(struct sim_net *net, enum sim_fault fault);

/* Objects that exist now: all zero when nothing leaked. */
struct sim_counts {
	unsigned ctxs, listeners, conns, pds, mrs, mws;
};
void sim_net_counts(const struct sim_net *net, struct sim_counts *ret);

#endif
