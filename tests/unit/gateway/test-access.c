/* SPDX-License-Identifier: BSD-3-Clause */
/* The holder: rules that change, limits one by one, and what is logged. */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/access-conf.h"
#include "tests/unit/gateway/access-rig.h"

#define MIB (UINT64_C(1) << 20)

static struct gw_access *a;
static struct gw_access_limits limits;
static unsigned wakes;

static void
on_wake(void *user)
{
	wakes++;
}

static void
setup(void)
{
	const struct gw_access_params p = {
		.log = &rig_log,
		.now = rig_now,
		.wake = on_wake,
	};

	rig_n_lines = 0;
	wakes = 0;
	rig_time = 1000 * NSEC_PER_SEC;
	ck_assert_int_eq(gw_access_new(&p, &a), 0);
	limits = (struct gw_access_limits){.addr_bits4 = 32, .addr_bits6 = 64};
	gw_access_set_limits(a, &limits);
}

static void
teardown(void)
{
	gw_access_free(a);
}

static int
connect_from(const char *addr)
{
	struct sockaddr_storage ss = rig_address(addr);

	return gw_access_check_connect(a, &ss);
}

static int
charge(const char *addr, const char *sess, const char *path, unsigned n_cons,
       uint64_t memory)
{
	struct sockaddr_storage ss = rig_address(addr);
	const struct gw_charge c = {
		.sess_uuid = rig_uuid(sess),
		.path_uuid = rig_uuid(path),
		.n_cons = n_cons,
		.memory = memory,
	};

	return gw_access_charge(a, &ss, &c);
}

static void
discharge(const char *sess, const char *path)
{
	gw_access_discharge(a, rig_uuid(sess), rig_uuid(path));
}

static uint64_t
refused(enum gw_access_reason reason)
{
	struct gw_access_stats st;

	gw_access_stats(a, &st);
	return st.refused[reason];
}

static void
assert_logged(const char *line)
{
	ck_assert_uint_gt(rig_n_lines, 0);
	ck_assert_str_eq(rig_lines[rig_n_lines - 1], line);
}

/* ----------------------------------------------------------------- rules */

START_TEST(nobody_is_asked)
{
	struct sockaddr_storage ss = rig_address("10.0.0.1");
	struct gw_access_stats st;
	char err[GW_TEXT_MAX];

	ck_assert_int_eq(gw_access_check_connect(NULL, &ss), 0);
	ck_assert_int_eq(gw_access_check_session(NULL, &ss, "s", err), 0);
	ck_assert_int_eq(gw_access_check_open(NULL, &ss, 1, "s", "d", 1, err),
			 0);
	ck_assert_int_eq(gw_access_check_path(NULL, &ss, "s", "d", 1, err), 0);
	ck_assert(gw_access_allows_session(NULL, &ss, "s"));
	ck_assert(gw_access_allows_open(NULL, &ss, "s", "d", 1));
	ck_assert_int_eq(gw_access_charge(NULL, &ss, NULL), 0);
	gw_access_discharge(NULL, NULL, NULL);
	gw_access_stats(NULL, &st);
	ck_assert_uint_eq(st.rules, 0);
	ck_assert(gw_access_deadline(NULL) == TIME_NEVER);
}
END_TEST

START_TEST(rules_change)
{
	struct sockaddr_storage ss = rig_address("10.0.0.1");
	struct gw_access_stats st;

	ck_assert_int_eq(connect_from("10.0.0.1"), 0);
	gw_access_replace(a, rig_rules("allow address=11.0.0.0/8"));
	ck_assert_int_eq(connect_from("10.0.0.1"), -EACCES);
	ck_assert(!gw_access_allows_session(a, &ss, "s"));
	ck_assert(!gw_access_allows_open(a, &ss, "s", "d", RNBD_ACCESS_RO));
	assert_logged("refused 1 connection of 10.0.0.1: no rule allows it");
	/* An empty set of rules is none. */
	gw_access_replace(a, rig_rules(""));
	ck_assert_int_eq(connect_from("10.0.0.1"), 0);
	gw_access_replace(a, rig_rules("allow mode=ro;deny"));
	ck_assert(gw_access_allows_open(a, &ss, "s", "d", RNBD_ACCESS_RO));
	ck_assert(!gw_access_allows_open(a, &ss, "s", "d", RNBD_ACCESS_RW));
	gw_access_stats(a, &st);
	ck_assert_uint_eq(st.rules, 2);
	gw_access_replace(a, NULL);
	ck_assert_int_eq(connect_from("10.0.0.1"), 0);
	/* Those who only looked were not refused anything. */
	ck_assert_uint_eq(refused(GW_ACCESS_CONNECT_RULE), 1);
	ck_assert_uint_eq(refused(GW_ACCESS_SESSION_RULE), 0);
	ck_assert_uint_eq(refused(GW_ACCESS_OPEN_RULE), 0);
}
END_TEST

START_TEST(session_is_refused_in_words)
{
	struct sockaddr_storage ss = rig_address("10.0.0.1");
	char err[GW_TEXT_MAX] = "";

	gw_access_replace(a, rig_rules("bind session=vm-2 address=10.0.0.2;"
				       "deny session=x;allow session=vm-*"));
	ck_assert_int_eq(gw_access_check_session(a, &ss, "vm-1", err), 0);
	ck_assert_int_eq(gw_access_check_session(a, &ss, "vm-2", err), -EACCES);
	ck_assert_str_eq(err,
			 "session name 'vm-2' is bound to other addresses");
	assert_logged("refused 1 session of 10.0.0.1: rule 1 binds the "
		      "session name to other addresses (the last: 'vm-2')");
	ck_assert_int_eq(gw_access_check_session(a, &ss, "x\n", err), -EACCES);
	ck_assert_str_eq(err, "no access for session 'x?' from this address");
	ck_assert_uint_eq(refused(GW_ACCESS_SESSION_RULE), 2);
}
END_TEST

START_TEST(open_is_refused_in_words)
{
	const struct sockaddr_storage peers[] = {
		rig_address("10.0.0.1"),
		rig_address("10.0.0.2"),
	};
	char err[GW_TEXT_MAX] = "";

	gw_access_replace(a, rig_rules("allow export=both;"
				       "allow address=10.0.0.1 export=one;"
				       "allow export=r mode=ro;"
				       "allow export=m mode=ro,migration"));
	ck_assert_int_eq(gw_access_check_open(a, peers, 2, "s", "both",
					      RNBD_ACCESS_RW, err),
			 0);
	/* Each path must be allowed. */
	ck_assert_int_eq(gw_access_check_open(a, peers, 1, "s", "one",
					      RNBD_ACCESS_RW, err),
			 0);
	ck_assert_int_eq(gw_access_check_open(a, peers, 2, "s", "one",
					      RNBD_ACCESS_RW, err),
			 -EACCES);
	ck_assert_str_eq(err, "no access to 'one' for session 's'");
	assert_logged("refused 1 open of 10.0.0.2: no rule allows it (the "
		      "last: 'one' by session 's')");
	ck_assert_int_eq(gw_access_check_path(a, &peers[1], "s", "one",
					      RNBD_ACCESS_RW, err),
			 -EACCES);
	ck_assert_uint_eq(refused(GW_ACCESS_PATH_RULE), 1);
	ck_assert_uint_eq(refused(GW_ACCESS_OPEN_RULE), 1);
	/* What is allowed instead is said. */
	ck_assert_int_eq(gw_access_check_open(a, peers, 2, "s", "r",
					      RNBD_ACCESS_RO, err),
			 0);
	ck_assert_int_eq(gw_access_check_open(a, peers, 2, "s", "r",
					      RNBD_ACCESS_RW, err),
			 -EACCES);
	ck_assert_str_eq(err, "session 's' may open 'r' with access_mode ro "
			      "only");
	assert_logged("refused 1 open of 10.0.0.1: rule 3 allows access mode "
		      "ro only (the last: 'r' by session 's')");
	ck_assert_int_eq(gw_access_check_open(a, peers, 2, "s", "m",
					      RNBD_ACCESS_RW, err),
			 -EACCES);
	ck_assert_str_eq(err, "session 's' may open 'm' with access_mode ro or "
			      "migration only");
	ck_assert_uint_eq(refused(GW_ACCESS_MODE_RULE), 2);
}
END_TEST

START_TEST(longest_names_fit)
{
	struct sockaddr_storage ss = rig_address("10.0.0.1");
	char name[RNBD_NAME_LEN], err[GW_TEXT_MAX];

	memset(name, 'n', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	gw_access_replace(a, rig_rules("allow mode=migration"));
	ck_assert_int_eq(gw_access_check_open(a, &ss, 1, name, name,
					      RNBD_ACCESS_RO, err),
			 -EACCES);
	ck_assert_ptr_nonnull(strstr(err, "access_mode migration only"));
	gw_access_replace(a, rig_rules("deny"));
	ck_assert_int_eq(gw_access_check_session(a, &ss, name, err), -EACCES);
	ck_assert_ptr_nonnull(strstr(err, "from this address"));
}
END_TEST

/* ------------------------------------------------------------------- log */

START_TEST(refusals_are_logged_once_per_interval)
{
	gw_access_replace(a, rig_rules("deny"));
	for (unsigned i = 0; i < 133; i++)
		ck_assert_int_eq(connect_from("10.0.0.7"), -EACCES);
	ck_assert_uint_eq(rig_n_lines, 1);
	assert_logged("refused 1 connection of 10.0.0.7: rule 1 denies it");
	/* Another address has a line of its own. */
	ck_assert_int_eq(connect_from("10.0.0.8"), -EACCES);
	ck_assert_uint_eq(rig_n_lines, 2);
	ck_assert_uint_eq(wakes, 1);
	ck_assert(gw_access_deadline(a) ==
		  time_after_ms(rig_time, GW_ACCESS_LOG_MS));
	gw_access_tick(a);
	ck_assert_uint_eq(rig_n_lines, 2);
	rig_time += 10 * NSEC_PER_SEC;
	gw_access_tick(a);
	ck_assert_uint_eq(rig_n_lines, 3);
	assert_logged("refused 132 connections of 10.0.0.7 in 10 s: rule 1 "
		      "denies it");
	/* Nothing more to say: nobody needs to wake up. */
	ck_assert(gw_access_deadline(a) == TIME_NEVER);
	ck_assert_int_eq(connect_from("10.0.0.7"), -EACCES);
	ck_assert_uint_eq(rig_n_lines, 3);
	ck_assert_uint_eq(wakes, 2);
	rig_time += 10 * NSEC_PER_SEC;
	gw_access_tick(a);
	ck_assert_uint_eq(rig_n_lines, 4);
	assert_logged("refused 1 connection of 10.0.0.7 in 10 s: rule 1 "
		      "denies it");
	/* After a pause it is news again. */
	rig_time += 20 * NSEC_PER_SEC;
	gw_access_tick(a);
	ck_assert_int_eq(connect_from("10.0.0.7"), -EACCES);
	assert_logged("refused 1 connection of 10.0.0.7: rule 1 denies it");
	ck_assert_uint_eq(refused(GW_ACCESS_CONNECT_RULE), 136);
}
END_TEST

START_TEST(nothing_is_lost_at_the_end)
{
	gw_access_replace(a, rig_rules("deny"));
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(connect_from("10.0.0.7"), -EACCES);
	rig_time += NSEC_PER_SEC;
	gw_access_free(a);
	assert_logged("refused 2 connections of 10.0.0.7 in 1 s: rule 1 denies "
		      "it");
	a = NULL;
}
END_TEST

/* ---------------------------------------------------------------- limits */

START_TEST(connect_rate)
{
	unsigned n = 0;

	limits.addr_connect_rate = 10;
	limits.addr_connect_burst = 5;
	gw_access_set_limits(a, &limits);
	while (connect_from("10.0.0.1") == 0)
		n++;
	ck_assert_uint_eq(n, 5);
	ck_assert_int_eq(connect_from("10.0.0.1"), -EAGAIN);
	assert_logged("refused 1 connection of 10.0.0.1: it connects faster "
		      "than address-connect-rate allows");
	/* Others are not harmed. */
	ck_assert_int_eq(connect_from("10.0.0.2"), 0);
	rig_time += NSEC_PER_SEC / 10;
	ck_assert_int_eq(connect_from("10.0.0.1"), 0);
	ck_assert_int_eq(connect_from("10.0.0.1"), -EAGAIN);
	/* The rate in the long run, whatever is refused between. */
	for (n = 0; n < 1000; n++) {
		rig_time += NSEC_PER_SEC / 100;
		if (connect_from("10.0.0.1") == 0)
			continue;
		ck_assert_int_eq(connect_from("10.0.0.1"), -EAGAIN);
	}
	rig_time += NSEC_PER_SEC;
	for (n = 0; connect_from("10.0.0.1") == 0; n++)
		;
	ck_assert_uint_eq(n, 5);
	/* 0: at most as many as in a second. */
	limits.addr_connect_burst = 0;
	gw_access_set_limits(a, &limits);
	rig_time += 10 * NSEC_PER_SEC;
	for (n = 0; connect_from("10.0.0.1") == 0; n++)
		;
	ck_assert_uint_eq(n, 10);
}
END_TEST

START_TEST(connect_rate_in_the_mean)
{
	unsigned n = 0;

	limits.addr_connect_rate = 10;
	limits.addr_connect_burst = 5;
	gw_access_set_limits(a, &limits);
	for (unsigned i = 0; i < 10000; i++) {
		n += connect_from("10.0.0.1") == 0;
		rig_time += NSEC_PER_SEC / 1000;
	}
	ck_assert_uint_ge(n, 100);
	ck_assert_uint_le(n, 105);
}
END_TEST

START_TEST(sessions_of_an_address)
{
	limits.addr_sessions = 2;
	gw_access_set_limits(a, &limits);
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p1", 1, MIB), 0);
	ck_assert_int_eq(charge("10.0.0.1", "s2", "p1", 1, MIB), 0);
	/* Another path of a session is not another session. */
	ck_assert_int_eq(charge("10.0.0.1", "s2", "p2", 1, MIB), 0);
	ck_assert_int_eq(charge("10.0.0.1", "s3", "p1", 1, MIB), -EDQUOT);
	assert_logged("refused 1 session of 10.0.0.1: address-sessions is 2");
	ck_assert_int_eq(charge("10.0.0.2", "s3", "p1", 1, MIB), 0);
	/* A path from elsewhere does not move its session. */
	ck_assert_int_eq(charge("10.0.0.1", "s3", "p2", 1, MIB), 0);
	discharge("s2", "p1");
	ck_assert_int_eq(charge("10.0.0.1", "s4", "p1", 1, MIB), -EDQUOT);
	discharge("s2", "p2");
	ck_assert_int_eq(charge("10.0.0.1", "s4", "p1", 1, MIB), 0);
	ck_assert_uint_eq(refused(GW_ACCESS_ADDR_SESSIONS), 2);
}
END_TEST

START_TEST(connections_of_an_address)
{
	limits.addr_connections = 10;
	gw_access_set_limits(a, &limits);
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p1", 5, MIB), 0);
	ck_assert_int_eq(charge("10.0.0.1", "s2", "p1", 6, MIB), -EDQUOT);
	ck_assert_int_eq(charge("10.0.0.1", "s2", "p1", 5, MIB), 0);
	ck_assert_int_eq(charge("10.0.0.1", "s3", "p1", 1, MIB), -EDQUOT);
	assert_logged("refused 1 path of 10.0.0.1: address-connections is 10");
	discharge("s1", "p1");
	ck_assert_int_eq(charge("10.0.0.1", "s3", "p1", 5, MIB), 0);
	ck_assert_uint_eq(refused(GW_ACCESS_ADDR_CONNECTIONS), 2);
}
END_TEST

START_TEST(memory_of_an_address)
{
	limits.addr_memory = 64 * MIB;
	gw_access_set_limits(a, &limits);
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p1", 1, 64 * MIB), 0);
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p2", 1, 1), -EDQUOT);
	assert_logged("refused 1 path of 10.0.0.1: address-memory is "
		      "67108864, a path takes 1");
	ck_assert_int_eq(charge("10.0.0.2", "s1", "p2", 1, 64 * MIB), 0);
	discharge("s1", "p1");
	ck_assert_int_eq(charge("10.0.0.1", "s2", "p1", 1, 64 * MIB), 0);
	ck_assert_int_eq(charge("10.0.0.3", "s3", "p1", 1, UINT64_MAX),
			 -EDQUOT);
	ck_assert_uint_eq(refused(GW_ACCESS_ADDR_MEMORY), 2);
}
END_TEST

START_TEST(sessions_of_all)
{
	limits.sessions = 2;
	gw_access_set_limits(a, &limits);
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p1", 1, MIB), 0);
	ck_assert_int_eq(charge("10.0.0.2", "s2", "p1", 1, MIB), 0);
	ck_assert_int_eq(charge("10.0.0.3", "s3", "p1", 1, MIB), -ENOMEM);
	assert_logged("refused 1 session of 10.0.0.3: max-sessions is 2");
	ck_assert_int_eq(charge("10.0.0.3", "s2", "p2", 1, MIB), 0);
	ck_assert_uint_eq(refused(GW_ACCESS_SESSIONS), 1);
}
END_TEST

START_TEST(memory_of_all)
{
	struct gw_access_stats st;

	limits.memory = 100 * MIB;
	gw_access_set_limits(a, &limits);
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p1", 3, 64 * MIB), 0);
	ck_assert_int_eq(charge("10.0.0.2", "s2", "p1", 3, 64 * MIB), -ENOMEM);
	assert_logged("refused 1 path of 10.0.0.2: max-memory is 104857600, a "
		      "path takes 67108864");
	gw_access_stats(a, &st);
	ck_assert_uint_eq(st.now.memory, 64 * MIB);
	ck_assert_uint_eq(st.now.sessions, 1);
	ck_assert_uint_eq(st.now.paths, 1);
	ck_assert_uint_eq(st.now.connections, 3);
	ck_assert_uint_eq(st.limits.memory, 100 * MIB);
	/* Lower limits harm nobody who is there. */
	limits.memory = MIB;
	gw_access_set_limits(a, &limits);
	gw_access_stats(a, &st);
	ck_assert_uint_eq(st.now.memory, 64 * MIB);
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p2", 1, MIB), -ENOMEM);
	discharge("s1", "p1");
	ck_assert_int_eq(charge("10.0.0.1", "s1", "p2", 1, MIB), 0);
	discharge("s1", "p2");
	/* Twice is once. */
	discharge("s1", "p2");
	gw_access_stats(a, &st);
	ck_assert_uint_eq(st.now.memory, 0);
	ck_assert_uint_eq(st.now.sessions + st.now.paths + st.now.connections,
			  0);
}
END_TEST

START_TEST(neighbours_count_as_one)
{
	limits.addr_sessions = 1;
	limits.addr_bits4 = 24;
	gw_access_set_limits(a, &limits);
	ck_assert_int_eq(charge("10.0.0.1", "a1", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("::ffff:10.0.0.2", "a2", "p", 1, MIB), -EDQUOT);
	assert_logged("refused 1 session of 10.0.0.0/24: address-sessions is "
		      "1");
	ck_assert_int_eq(charge("10.0.1.1", "a3", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("2001:db8::1", "b1", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("2001:db8::ffff:1", "b2", "p", 1, MIB),
			 -EDQUOT);
	assert_logged("refused 1 session of 2001:db8::/64: address-sessions "
		      "is 1");
	ck_assert_int_eq(charge("2001:db8:0:1::1", "b3", "p", 1, MIB), 0);
	/* All hosts share these prefixes. */
	ck_assert_int_eq(charge("fe80::1", "c1", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("fe80::2", "c2", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("gid:fe80::1", "d1", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("gid:fe80::2", "d2", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("gid:fe80::2", "d3", "p", 1, MIB), -EDQUOT);
	assert_logged("refused 1 session of gid:fe80::2: address-sessions is "
		      "1");
	ck_assert_int_eq(charge("unix", "e1", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("unix", "e2", "p", 1, MIB), -EDQUOT);
	/* What was counted otherwise is given back where it was taken. */
	limits.addr_bits4 = 32;
	gw_access_set_limits(a, &limits);
	discharge("a1", "p");
	ck_assert_int_eq(charge("10.0.0.1", "a1", "p", 1, MIB), 0);
	ck_assert_int_eq(charge("10.0.0.2", "a2", "p", 1, MIB), 0);
}
END_TEST

static unsigned
remembered(void)
{
	struct gw_access_stats st;

	gw_access_stats(a, &st);
	return st.now.addresses;
}

START_TEST(table_does_not_grow)
{
	char addr[32];

	ck_assert_int_eq(charge("192.0.2.1", "s1", "p1", 1, MIB), 0);
	for (unsigned i = 0; i < 3 * GW_ACCOUNT_IDLE_MAX; i++) {
		snprintf(addr, sizeof(addr), "10.%u.%u.%u", i >> 16 & 255,
			 i >> 8 & 255, i & 255);
		ck_assert_int_eq(connect_from(addr), 0);
	}
	/* And those that hold something stay. */
	ck_assert_uint_eq(remembered(), GW_ACCOUNT_IDLE_MAX + 1);
	rig_time += 61 * NSEC_PER_SEC;
	ck_assert_int_eq(connect_from("10.255.0.1"), 0);
	ck_assert_uint_eq(remembered(), 2);
	discharge("s1", "p1");
	rig_time += 61 * NSEC_PER_SEC;
	ck_assert_int_eq(connect_from("10.255.0.2"), 0);
	ck_assert_uint_eq(remembered(), 1);
}
END_TEST

START_TEST(who_is_forgotten_is_told_of)
{
	gw_access_replace(a, rig_rules("deny address=192.0.2.1;allow"));
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(connect_from("192.0.2.1"), -EACCES);
	for (unsigned i = 0; i < GW_ACCOUNT_IDLE_MAX; i++) {
		char addr[32];

		snprintf(addr, sizeof(addr), "10.0.%u.%u", i >> 8, i & 255);
		ck_assert_int_eq(connect_from(addr), 0);
	}
	assert_logged("refused 2 connections of 192.0.2.1 in 0 s: rule 1 "
		      "denies it");
}
END_TEST

START_TEST(every_reason_has_a_name)
{
	for (unsigned i = 0; i < GW_ACCESS_N_REASONS; i++) {
		ck_assert_str_ne(gw_access_reason_name(i), "?");
		for (unsigned k = 0; k < i; k++)
			ck_assert_str_ne(gw_access_reason_name(i),
					 gw_access_reason_name(k));
	}
	ck_assert_str_eq(gw_access_reason_name(GW_ACCESS_N_REASONS), "?");
}
END_TEST

/* ------------------------------------------------------------------ keys */

static const struct {
	const char *key, *value, *err; /* NULL: good */
} keys[] = {
	{"address-sessions", "-1", "from 0 to 1000000"},
	{"address-sessions", "many", "from 0 to 1000000"},
	{"address-sessions", "1000001", "from 0 to 1000000"},
	{"address-sessions", "3", NULL},
	{"address-connections", "7x", "from 0 to 1000000"},
	{"address-connections", "7", NULL},
	{"address-memory", "lots", "number of bytes"},
	{"address-memory", "1G", NULL},
	{"address-connect-rate", "", "from 0 to 1000000"},
	{"address-connect-rate", "9", NULL},
	{"address-connect-burst", "1e3", "from 0 to 1000000"},
	{"address-connect-burst", "11", NULL},
	{"address-bits", "24", "such as 32:64"},
	{"address-bits", "33:64", "such as 32:64"},
	{"address-bits", "32:129", "such as 32:64"},
	{"address-bits", "-1:64", "such as 32:64"},
	{"address-bits", "24:56", NULL},
};

START_TEST(limit_keys)
{
	const struct conf_key *key;
	char err[CONF_TEXT_MAX] = "";
	int r;

	gw_access_limits_init(&limits);
	for (key = gw_access_limit_keys; strcmp(key->name, keys[_i].key); key++)
		;
	r = key->set(&limits, keys[_i].value, err);
	ck_assert_int_eq(r, keys[_i].err ? -EINVAL : 0);
	ck_assert_msg(strstr(err, keys[_i].err ? keys[_i].err : "") != NULL,
		      "%s = %s said: %s", keys[_i].key, keys[_i].value, err);
}
END_TEST

START_TEST(limits_by_default)
{
	gw_access_limits_init(&limits);
	gw_access_limits_complete(&limits, 1024, 1024 * MIB, 64 * MIB);
	ck_assert_uint_eq(limits.sessions, 1024);
	ck_assert_uint_eq(limits.memory, 1024 * MIB);
	ck_assert_uint_eq(limits.addr_memory, 512 * MIB);
	ck_assert_uint_eq(limits.addr_sessions, 0);
	ck_assert_uint_eq(limits.addr_connections, 0);
	/* Little memory still serves one client of a few paths. */
	gw_access_limits_init(&limits);
	gw_access_limits_complete(&limits, 1024, 100 * MIB, 64 * MIB);
	ck_assert_uint_eq(limits.addr_memory, 256 * MIB);
	/* No limit of all, no limit of each. */
	gw_access_limits_init(&limits);
	gw_access_limits_complete(&limits, 1024, 0, 64 * MIB);
	ck_assert_uint_eq(limits.addr_memory, 0);
	/* What was given stays, 0 too. */
	gw_access_limits_init(&limits);
	limits.addr_memory = 0;
	gw_access_limits_complete(&limits, 1024, 1024 * MIB, 64 * MIB);
	ck_assert_uint_eq(limits.addr_memory, 0);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/access");
	TCase *tc = tcase_create("access");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, nobody_is_asked);
	tcase_add_test(tc, rules_change);
	tcase_add_test(tc, session_is_refused_in_words);
	tcase_add_test(tc, open_is_refused_in_words);
	tcase_add_test(tc, longest_names_fit);
	tcase_add_test(tc, refusals_are_logged_once_per_interval);
	tcase_add_test(tc, nothing_is_lost_at_the_end);
	tcase_add_test(tc, connect_rate);
	tcase_add_test(tc, connect_rate_in_the_mean);
	tcase_add_test(tc, sessions_of_an_address);
	tcase_add_test(tc, connections_of_an_address);
	tcase_add_test(tc, memory_of_an_address);
	tcase_add_test(tc, sessions_of_all);
	tcase_add_test(tc, memory_of_all);
	tcase_add_test(tc, neighbours_count_as_one);
	tcase_add_test(tc, table_does_not_grow);
	tcase_add_test(tc, who_is_forgotten_is_told_of);
	tcase_add_test(tc, every_reason_has_a_name);
	tcase_add_loop_test(tc, limit_keys, 0, ARRAY_SIZE(keys));
	tcase_add_test(tc, limits_by_default);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
