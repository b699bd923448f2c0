/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/hb.h"

#include "rtrs/base/util.h"
#include "rtrs/rtrs.h"

void
rtrs_hb_init(struct rtrs_hb *hb, unsigned interval_ms, unsigned missed_max)
{
	*hb = (struct rtrs_hb){
		.interval_ms = interval_ms ? interval_ms : RTRS_HB_INTERVAL_MS,
		.missed_max = missed_max ? missed_max : RTRS_HB_MISSED_MAX,
	};
}

void
rtrs_hb_start(struct rtrs_hb *hb, uint64_t now)
{
	hb->missed = 0;
	hb->waiting_ack = false;
	hb->running = true;
	hb->next_ns = time_after_ms(now, hb->interval_ms);
}

void
rtrs_hb_stop(struct rtrs_hb *hb)
{
	hb->running = false;
	hb->waiting_ack = false;
}

enum rtrs_hb_action
rtrs_hb_tick(struct rtrs_hb *hb, uint64_t now)
{
	if (!hb->running || now < hb->next_ns)
		return RTRS_HB_NONE;
	if (hb->missed > hb->missed_max) {
		rtrs_hb_stop(hb);
		return RTRS_HB_DEAD;
	}
	hb->next_ns = time_after_ms(now, hb->interval_ms);
	if (hb->missed++)
		return RTRS_HB_NONE;
	hb->sent_ns = now;
	hb->waiting_ack = true;
	return RTRS_HB_SEND;
}

uint64_t
rtrs_hb_deadline(const struct rtrs_hb *hb)
{
	return hb->running ? hb->next_ns : TIME_NEVER;
}

void
rtrs_hb_rx(struct rtrs_hb *hb)
{
	hb->missed = 0;
}

void
rtrs_hb_ack(struct rtrs_hb *hb, uint64_t now)
{
	rtrs_hb_rx(hb);
	if (!hb->waiting_ack)
		return;
	hb->waiting_ack = false;
	/* 0 stands for "none": a measured 0 is rounded up. */
	hb->latency_ns = now > hb->sent_ns ? now - hb->sent_ns : 1;
}
