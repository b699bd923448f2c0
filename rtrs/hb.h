/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The heartbeat machine: both sides of a path run one each, independently, on
 * connection 0. Pure: it is told the time and says what to do.
 *
 *   every interval   missed > missed_max: the path is dead
 *                    missed == 0:         send HB_MSG, missed = 1
 *                    else:                missed += 1, send nothing
 *   any immediate received on any connection of the path: missed = 0
 *   HB_MSG received: the owner sends HB_ACK at once
 *   HB_ACK received: latency = now - time of the HB_MSG
 *
 * So a silent peer gets exactly one HB_MSG, and is dead missed_max + 1
 * intervals after it. I/O does not suppress heartbeats.
 */
#ifndef RTRS_HB_H
#define RTRS_HB_H

#include <stdbool.h>
#include <stdint.h>

enum rtrs_hb_action {
	RTRS_HB_NONE,
	RTRS_HB_SEND, /* send HB_MSG now */
	RTRS_HB_DEAD, /* the peer is silent: end the path */
};

struct rtrs_hb {
	unsigned interval_ms;
	unsigned missed_max;
	unsigned missed; /* intervals since something was received */
	bool running;
	bool waiting_ack; /* sent_ns is the time of an HB_MSG under way */
	uint64_t next_ns; /* of the next tick; valid while running */
	uint64_t sent_ns;
	uint64_t latency_ns; /* last measured; 0: none since init */
};

/* 0 takes the default of rtrs.h. */
void rtrs_hb_init(struct rtrs_hb *hb, unsigned interval_ms,
		  unsigned missed_max);
/* The path came up: the first tick is one interval from now. */
void rtrs_hb_start(struct rtrs_hb *hb, uint64_t now);
/* Keeps latency_ns. Fine when it does not run. */
void rtrs_hb_stop(struct rtrs_hb *hb);
/*
 * To be called when the deadline has come (or any time: then it does nothing).
 * However late the call is, it is one tick: a process that was stopped does
 * not hold its own absence against the peer. Call it after what was received
 * has been looked at. DEAD also stops the machine.
 */
enum rtrs_hb_action rtrs_hb_tick(struct rtrs_hb *hb, uint64_t now);
/* When the next tick is due; TIME_NEVER when it does not run. */
uint64_t rtrs_hb_deadline(const struct rtrs_hb *hb);
/* Any immediate (client: any receive) came on any connection of the path. */
void rtrs_hb_rx(struct rtrs_hb *hb);
/* HB_ACK came; implies rtrs_hb_rx(). One that nobody asked for is ignored. */
void rtrs_hb_ack(struct rtrs_hb *hb, uint64_t now);

#endif
