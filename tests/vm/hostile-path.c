/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Between connecting and the first request: what is wrong here ends the path,
 * without a word. The cases that wait for a time-out run one after the other
 * with their waits overlapping: the first of them starts all.
 */
#include "tests/vm/hostile.h"

#include <string.h>

#include "proto/rtrs-imm.h"

static struct peer *
connected(unsigned cid_num)
{
	struct peer *p = peer_new(cid_num);

	peer_connect_all(p);
	peer_recvs(p);
	return p;
}

static void
info_of_len(unsigned len)
{
	struct peer *p = connected(2);
	uint8_t msg[8192] = {0};

	peer_info_req(p, msg);
	peer_send_bytes(p, 0, msg, len);
	peer_ends(p);
}

static void
info_short(void)
{
	info_of_len(0);
	info_of_len(1);
	info_of_len(RTRS_INFO_REQ_LEN - 1);
}

static void
info_long(void)
{
	info_of_len(RTRS_INFO_REQ_LEN + 1);
	info_of_len(8192);
}

static void
info_named(const char *name, size_t len)
{
	struct peer *p = connected(2);
	uint8_t msg[RTRS_INFO_REQ_LEN] = {0};

	memcpy(msg + 2, name, len);
	peer_send_bytes(p, 0, msg, sizeof(msg));
	peer_ends(p);
}

static void
info_names(void)
{
	info_named("a/b", 3);
	info_named("a.b", 3);
	info_named(".", 1);
	info_named("../../etc", 9);
}

static void
info_no_name(void)
{
	char name[RTRS_NAME_LEN];

	info_named("", 0);
	memset(name, 'n', sizeof(name));
	info_named(name, sizeof(name));
}

static void
info_type(void)
{
	static const uint8_t bad[] = {1, 2, 3, 4, 0xff};

	steps(i, ARRAY_SIZE(bad)) {
		struct peer *p = connected(1);
		uint8_t msg[RTRS_INFO_REQ_LEN];

		peer_info_req(p, msg);
		msg[0] = bad[i];
		peer_send_bytes(p, 0, msg, sizeof(msg));
		peer_ends(p);
	}
}

static void
info_early(void)
{
	struct peer *p = peer_new(3);
	uint8_t msg[RTRS_INFO_REQ_LEN];

	peer_connect(p, 0);
	peer_connect(p, 1);
	peer_info_req(p, msg);
	peer_send_bytes(p, 0, msg, sizeof(msg));
	peer_ends(p);
}

static void
info_elsewhere(void)
{
	struct peer *p = connected(2);
	uint8_t msg[RTRS_INFO_REQ_LEN];

	peer_info_req(p, msg);
	peer_send_bytes(p, 1, msg, sizeof(msg));
	peer_ends(p);
}

static void
info_twice(void)
{
	struct peer *p = peer_up(peer_new(2));
	uint8_t msg[RTRS_INFO_REQ_LEN];

	peer_info_req(p, msg);
	peer_send_bytes(p, 0, msg, sizeof(msg));
	peer_ends(p);

	p = connected(2);
	peer_info_req(p, msg);
	peer_send_bytes(p, 0, msg, sizeof(msg));
	peer_send_bytes(p, 0, msg, sizeof(msg));
	peer_ends(p);
}

/* Of a stranger, and of a session of our own. */
static void
info_name_in_use(void)
{
	struct peer *p = connected(2), *q;
	uint8_t msg[RTRS_INFO_REQ_LEN];

	memcpy(p->name, stranger.name, sizeof(p->name));
	peer_info_req(p, msg);
	peer_send_bytes(p, 0, msg, sizeof(msg));
	peer_ends(p);

	p = peer_up(peer_new(2));
	q = connected(2);
	memcpy(q->name, p->name, sizeof(q->name));
	peer_info_req(q, msg);
	peer_send_bytes(q, 0, msg, sizeof(msg));
	peer_ends(q);
	peer_alive(p);
}

/* Requests, heartbeats and nonsense in place of INFO_REQ. */
static void
too_early(void)
{
	static const uint32_t imms[] = {0, 0x80000000, 0x90000000, 0xffffffff};

	steps(i, ARRAY_SIZE(imms)) {
		struct peer *p = connected(2);

		peer_bell(p, 0, imms[i]);
		peer_ends(p);
	}
	steps(i, 2) {
		struct peer *p = connected(2);

		/* On an I/O connection: a request, and then INFO_REQ. */
		peer_bell(p, 1, 0);
		if (i)
			peer_send_bytes(p, 0, (uint8_t[RTRS_INFO_REQ_LEN]){0},
					RTRS_INFO_REQ_LEN);
		peer_ends(p);
	}
}

/* --------------------------------------------------------------- patience */

/* Longer than five heartbeats of 5 s, and than the time for INFO_REQ. */
#define LONG_MS 60000

static void
end_of(struct peer *p, const char *what, uint64_t begun, bool *ended,
       unsigned min_ms)
{
	unsigned took = (unsigned)(rv_now_ms() - begun);
	bool gone = true;

	peer_pump(p);
	for (const struct rv_con *con = p->rv.cons; con; con = con->next)
		gone &= con->gone;
	if (!gone || *ended)
		return;
	*ended = true;
	expect(took >= min_ms, "the path %s ended after %u ms already", what,
	       took);
}

/*
 * At the same time, for each takes half a minute: a path that never says
 * INFO_REQ and one that is not finished, which end; a session that never says
 * a thing, which ends; one that does nothing but answer heartbeats, and one
 * that sends heartbeats of its own, which do not.
 */
static void
patience(void)
{
	/* The server's time runs from here on at the earliest: on a busy
	 * machine what comes first takes seconds. */
	uint64_t begun = rv_now_ms(), start, end;
	struct peer *unnamed = connected(2), *unfinished = peer_new(3);
	struct peer *silent = peer_up(peer_new(2)), *idle, *talker;
	bool ends[3] = {false};
	unsigned said = 0;
	struct peer_reply r;

	peer_connect(unfinished, 0);
	silent->mute = true;
	idle = peer_up(peer_new(2));
	talker = peer_up(peer_new(2));
	talker->mute = true;
	start = rv_now_ms();
	end = start + LONG_MS;
	while (rv_now_ms() < end) {
		end_of(unnamed, "without INFO_REQ", begun, &ends[0], 25000);
		end_of(unfinished, "that is not finished", begun, &ends[1],
		       25000);
		end_of(silent, "of a silent peer", begun, &ends[2], 25000);
		if (rv_now_ms() - start > 2000 * said) {
			peer_bell(talker, 0, rtrs_imm_hb_msg());
			said++;
		}
		peer_pump(talker);
		expect(peer_wait(idle, 200, &r) != PEER_ENDED,
		       "an idle session ended");
		if (ends[0] && ends[1] && ends[2] &&
		    rv_now_ms() - start > 40000)
			break;
	}
	expect(ends[0], "a path without INFO_REQ stays");
	expect(ends[1], "a path that is not finished stays");
	expect(ends[2], "a silent peer stays");
	expect(silent->hb_msgs, "no heartbeat came");
	expect(talker->hb_acks >= 2, "%u of %u heartbeats were acknowledged",
	       talker->hb_acks, said);
	peer_alive(idle);
	peer_alive(talker);
}

const struct hostile_case hostile_path[] = {
	{"info-short", info_short, true},
	{"info-long", info_long, false},
	{"info-names", info_names, true},
	{"info-no-name", info_no_name, false},
	{"info-type", info_type, true},
	{"info-early", info_early, true},
	{"info-elsewhere", info_elsewhere, false},
	{"info-twice", info_twice, false},
	{"info-name-in-use", info_name_in_use, true},
	{"info-too-early", too_early, false},
	{"path-patience", patience, false},
};
const unsigned n_hostile_path = ARRAY_SIZE(hostile_path);
