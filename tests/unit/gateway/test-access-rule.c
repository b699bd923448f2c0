/* SPDX-License-Identifier: BSD-3-Clause */
/* The rule matrix: what a list of rules says to connection, session, open. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/access-conf.h"
#include "tests/unit/gateway/access-rig.h"

enum {
	RO = RNBD_ACCESS_RO,
	RW = RNBD_ACCESS_RW,
	MIG = RNBD_ACCESS_MIGRATION
};
enum {
	OK = GW_VERDICT_ALLOWED,
	DENY = GW_VERDICT_DENIED,
	ELSEWHERE = GW_VERDICT_ELSEWHERE,
	MODE = GW_VERDICT_MODE,
	NONE = GW_VERDICT_NO_RULE,
};

static const struct {
	const char *rules, *peer, *session, *device;
	int mode;
	int connect, sess, open; /* verdicts */
	unsigned ordinal;        /* of the open */
} cases[] = {
	/* Without rules everything, with one only what it says. */
	{"", "10.0.0.1", "s", "d", RW, OK, OK, OK, 0},
	{"allow", "10.0.0.1", "s", "d", RW, OK, OK, OK, 0},
	{"deny", "10.0.0.1", "s", "d", RW, DENY, DENY, DENY, 1},
	{"allow address=10.0.0.0/8", "10.0.0.1", "s", "d", RW, OK, OK, OK, 0},
	{"allow address=10.0.0.0/8", "11.0.0.1", "s", "d", RW, NONE, NONE, NONE,
	 0},
	{"deny address=10.0.0.0/8", "11.0.0.1", "s", "d", RW, NONE, NONE, NONE,
	 0},
	{"deny address=10.0.0.0/8;allow", "11.0.0.1", "s", "d", RW, OK, OK, OK,
	 0},
	/* The first that matches decides. */
	{"deny address=10.0.0.7;allow address=10.0.0.0/8", "10.0.0.7", "s", "d",
	 RW, DENY, DENY, DENY, 1},
	{"allow address=10.0.0.0/8;deny address=10.0.0.7", "10.0.0.7", "s", "d",
	 RW, OK, OK, OK, 0},
	{"allow address=10.0.0.0/8;deny;allow address=11.0.0.1", "11.0.0.1",
	 "s", "d", RW, DENY, DENY, DENY, 2},
	/* Several addresses and forms of them. */
	{"allow address=10.0.0.1,192.0.2.0/24", "192.0.2.9", "s", "d", RW, OK,
	 OK, OK, 0},
	{"allow address=10.0.0.1 address=192.0.2.0/24", "192.0.2.9", "s", "d",
	 RW, OK, OK, OK, 0},
	{"allow address=10.0.0.0/8", "::ffff:10.9.9.9", "s", "d", RW, OK, OK,
	 OK, 0},
	{"allow address=fe80::/64", "fe80::5054:ff:fe12:3456", "s", "d", RW, OK,
	 OK, OK, 0},
	{"allow address=fe80::/64", "gid:fe80::5054:ff:fe12:3456", "s", "d", RW,
	 NONE, NONE, NONE, 0},
	{"allow address=gid:fe80::/64", "gid:fe80::5054:ff:fe12:3456", "s", "d",
	 RW, OK, OK, OK, 0},
	{"allow address=gid:fe80::/64", "fe80::5054:ff:fe12:3456", "s", "d", RW,
	 NONE, NONE, NONE, 0},
	{"allow address=any", "unix", "s", "d", RW, OK, OK, OK, 0},
	{"allow address=0.0.0.0/0,::/0", "unix", "s", "d", RW, NONE, NONE, NONE,
	 0},
	/* Session names: a connection has none yet. */
	{"allow session=vm-*", "10.0.0.1", "vm-1", "d", RW, OK, OK, OK, 0},
	{"allow session=vm-*", "10.0.0.1", "s", "d", RW, OK, NONE, NONE, 0},
	{"deny session=vm-*", "10.0.0.1", "vm-1", "d", RW, NONE, DENY, DENY, 1},
	{"deny session=vm-*;allow", "10.0.0.1", "vm-1", "d", RW, OK, DENY, DENY,
	 1},
	{"deny session=vm-*;allow", "10.0.0.1", "s", "d", RW, OK, OK, OK, 0},
	{"allow address=10.0.0.1 session=a,b", "10.0.0.1", "b", "d", RW, OK, OK,
	 OK, 0},
	{"allow address=10.0.0.1 session=a", "10.0.0.2", "a", "d", RW, NONE,
	 NONE, NONE, 0},
	/* Exports: a session may come up for what it may open. */
	{"allow export=d", "10.0.0.1", "s", "d", RW, OK, OK, OK, 0},
	{"allow export=d", "10.0.0.1", "s", "e", RW, OK, OK, NONE, 0},
	{"allow export=vol-*,iso", "10.0.0.1", "s", "iso", RW, OK, OK, OK, 0},
	{"deny export=d", "10.0.0.1", "s", "e", RW, NONE, NONE, NONE, 0},
	{"deny export=d;allow", "10.0.0.1", "s", "d", RW, OK, OK, DENY, 1},
	{"deny export=d;allow", "10.0.0.1", "s", "e", RW, OK, OK, OK, 0},
	{"deny session=s export=d;allow session=s", "10.0.0.1", "s", "d", RW,
	 OK, OK, DENY, 1},
	/* Names mean the same however they are written. */
	{"deny export=golden;allow", "10.0.0.1", "s", "/golden", RW, OK, OK,
	 DENY, 1},
	{"deny export=golden;allow", "10.0.0.1", "s", "./golden", RW, OK, OK,
	 DENY, 1},
	{"deny export=golden;allow", "10.0.0.1", "s", "//./golden/.", RW, OK,
	 OK, DENY, 1},
	{"deny export=a/b;allow", "10.0.0.1", "s", "a//./b", RW, OK, OK, DENY,
	 1},
	{"deny export=/a//b/;allow", "10.0.0.1", "s", "a/b", RW, OK, OK, DENY,
	 1},
	{"deny export=.golden;allow", "10.0.0.1", "s", "golden", RW, OK, OK, OK,
	 0},
	{"allow export=/dev/ram*", "10.0.0.1", "s", "/dev/ram0", RW, OK, OK, OK,
	 0},
	{"allow export=a/*", "10.0.0.1", "s", "a/b/c", RW, OK, OK, OK, 0},
	{"allow export=a/*", "10.0.0.1", "s", "b", RW, OK, OK, NONE, 0},
	/* Modes: who allows some refuses the others, and decides. */
	{"allow mode=ro", "10.0.0.1", "s", "d", RO, OK, OK, OK, 0},
	{"allow mode=ro", "10.0.0.1", "s", "d", RW, OK, OK, MODE, 1},
	{"allow mode=ro", "10.0.0.1", "s", "d", MIG, OK, OK, MODE, 1},
	{"allow mode=ro;allow", "10.0.0.1", "s", "d", RW, OK, OK, MODE, 1},
	{"allow export=d mode=ro;allow", "10.0.0.1", "s", "d", RW, OK, OK, MODE,
	 1},
	{"allow export=d mode=ro;allow", "10.0.0.1", "s", "e", RW, OK, OK, OK,
	 0},
	{"allow mode=rw,migration", "10.0.0.1", "s", "d", MIG, OK, OK, OK, 0},
	{"allow mode=rw,migration", "10.0.0.1", "s", "d", RO, OK, OK, MODE, 1},
	{"allow mode=rw mode=ro", "10.0.0.1", "s", "d", RO, OK, OK, OK, 0},
	{"deny mode=rw;allow", "10.0.0.1", "s", "d", RW, OK, OK, DENY, 1},
	{"deny mode=rw;allow", "10.0.0.1", "s", "d", RO, OK, OK, OK, 0},
	{"deny mode=rw", "10.0.0.1", "s", "d", RO, NONE, NONE, NONE, 0},
	{"deny mode=ro,rw,migration;allow", "10.0.0.1", "s", "d", RO, DENY,
	 DENY, DENY, 1},
	/* A mode that nobody knows is in no list. */
	{"allow mode=ro", "10.0.0.1", "s", "d", 77, OK, OK, MODE, 1},
	{"allow", "10.0.0.1", "s", "d", 255, OK, OK, OK, 0},
	/* Names that are bound to addresses. */
	{"bind session=vm-1 address=10.0.0.1;allow", "10.0.0.1", "vm-1", "d",
	 RW, OK, OK, OK, 0},
	{"bind session=vm-1 address=10.0.0.1;allow", "10.0.0.2", "vm-1", "d",
	 RW, OK, ELSEWHERE, ELSEWHERE, 1},
	{"bind session=vm-1 address=10.0.0.1;allow", "10.0.0.2", "vm-2", "d",
	 RW, OK, OK, OK, 0},
	{"bind session=vm-1 address=10.0.0.1;allow", "10.0.0.1", "vm-2", "d",
	 RW, OK, OK, OK, 0},
	{"bind session=vm-1 address=10.0.0.1", "10.0.0.1", "vm-2", "d", RW, OK,
	 NONE, NONE, 0},
	{"bind session=vm-1 address=10.0.0.1", "10.0.0.2", "vm-1", "d", RW,
	 NONE, ELSEWHERE, ELSEWHERE, 1},
	{"bind session=vm-1 address=10.0.0.1 export=d;allow export=pub",
	 "10.0.0.1", "vm-1", "pub", RW, OK, OK, OK, 0},
	{"bind session=vm-1 address=10.0.0.1 export=d;allow export=pub",
	 "10.0.0.2", "vm-1", "pub", RW, OK, ELSEWHERE, ELSEWHERE, 1},
	{"bind session=vm-1 address=10.0.0.1 mode=ro;allow", "10.0.0.1", "vm-1",
	 "d", RW, OK, OK, MODE, 1},
	{"bind session=a address=10.0.0.1;bind session=b address=10.0.0.2;"
	 "deny address=10.0.0.9;allow",
	 "10.0.0.9", "c", "d", RW, DENY, DENY, DENY, 3},
};

START_TEST(matrix)
{
	struct gw_ruleset *rs = rig_rules(cases[_i].rules);
	struct sockaddr_storage ss = rig_address(cases[_i].peer);
	struct gw_verdict v;

	v = gw_ruleset_connect(rs, &ss);
	ck_assert_msg((int)v.kind == cases[_i].connect,
		      "'%s': connect of %s: %d", cases[_i].rules,
		      cases[_i].peer, v.kind);
	v = gw_ruleset_session(rs, &ss, cases[_i].session);
	ck_assert_msg((int)v.kind == cases[_i].sess,
		      "'%s': session %s of %s: %d", cases[_i].rules,
		      cases[_i].session, cases[_i].peer, v.kind);
	v = gw_ruleset_open(rs, &ss, cases[_i].session, cases[_i].device,
			    (uint8_t)cases[_i].mode);
	ck_assert_msg((int)v.kind == cases[_i].open, "'%s': open of %s: %d",
		      cases[_i].rules, cases[_i].device, v.kind);
	ck_assert_uint_eq(v.ordinal, cases[_i].ordinal);
	gw_ruleset_free(rs);
}
END_TEST

/* What may be opened may come up, and what may come up may connect. */
START_TEST(earlier_questions_are_never_stricter)
{
	static const char *const peers[] = {"10.0.0.1", "10.0.0.2", "11.0.0.1",
					    "fe80::1", "gid:fe80::1"};
	static const char *const sessions[] = {"s", "vm-1", "vm-2", "a"};
	static const char *const devices[] = {"d", "e", "pub", "golden"};
	struct gw_ruleset *rs = rig_rules(cases[_i].rules);

	for (unsigned p = 0; p < ARRAY_SIZE(peers); p++) {
		struct sockaddr_storage ss = rig_address(peers[p]);
		bool connects =
			gw_ruleset_connect(rs, &ss).kind == GW_VERDICT_ALLOWED;

		for (unsigned s = 0; s < ARRAY_SIZE(sessions); s++) {
			bool comes_up =
				gw_ruleset_session(rs, &ss, sessions[s]).kind ==
				GW_VERDICT_ALLOWED;

			ck_assert(connects || !comes_up);
			for (unsigned d = 0; d < ARRAY_SIZE(devices) * 3; d++) {
				bool opens =
					gw_ruleset_open(rs, &ss, sessions[s],
							devices[d / 3], d % 3)
						.kind == GW_VERDICT_ALLOWED;

				ck_assert(comes_up || !opens);
			}
		}
	}
	gw_ruleset_free(rs);
}
END_TEST

START_TEST(rules_are_judged_as_a_whole)
{
	struct gw_rule rule = {0};
	char err[GW_TEXT_MAX];
	struct gw_ruleset *rs;

	ck_assert_int_eq(gw_ruleset_new(&rs), 0);
	ck_assert_int_eq(gw_ruleset_add(rs, &rule, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "allow, deny or bind"));
	rule.action = GW_RULE_BIND;
	ck_assert_int_eq(gw_ruleset_add(rs, &rule, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "session names and the addresses"));
	ck_assert_int_eq(gw_name_list_add(&rule.sessions, "s", err), 0);
	ck_assert_int_eq(gw_ruleset_add(rs, &rule, err), -EINVAL);
	/* Still the caller's. */
	ck_assert_uint_eq(rule.sessions.n, 1);
	ck_assert_uint_eq(gw_ruleset_count(rs), 0);
	ck_assert_int_eq(gw_net_list_add(&rule.addresses, "10.0.0.1", err), 0);
	ck_assert_int_eq(gw_ruleset_add(rs, &rule, err), 0);
	ck_assert_uint_eq(rule.sessions.n, 0);
	ck_assert_uint_eq(gw_ruleset_count(rs), 1);
	gw_ruleset_free(rs);
}
END_TEST

static const struct {
	const char *name, *canonical;
} device_names[] = {
	{"", ""},           {"/", ""},          {".", ""},
	{"d", "d"},         {"/d", "d"},        {"//a///b//", "a/b"},
	{"./a/./b", "a/b"}, {".a/b.", ".a/b."}, {"...", "..."},
};

START_TEST(device_names_are_made_canonical)
{
	char buf[RNBD_NAME_LEN];

	gw_device_name_canonical(device_names[_i].name, buf, sizeof(buf));
	ck_assert_str_eq(buf, device_names[_i].canonical);
	/* Cut, never overrun. */
	memset(buf, 'x', sizeof(buf));
	gw_device_name_canonical("abc/def", buf, 5);
	ck_assert_str_eq(buf, "abc/");
	ck_assert_int_eq(buf[5], 'x');
}
END_TEST

static const struct {
	const char *key, *value, *err; /* NULL: good */
} keys[] = {
	{"action", "permit", "allow, deny or bind"},
	{"action", "", "allow, deny or bind"},
	{"action", "Allow", "allow, deny or bind"},
	{"action", "deny", NULL},
	{"address", "10.0.0.0/33", "from 0 to 32"},
	{"address", "10.0.0.1/8", "bits set behind"},
	{"address", "10.0.0.1, nonsense", "'nonsense' is not a network"},
	{"address", "", "empty"},
	{"address", "10.0.0.1 fe80::/10,gid:fe80::1", NULL},
	{"session", "", "empty"},
	{"session", "vm-[", "without its ']'"},
	{"session", "vm-* blya", NULL},
	{"export", "a b\\", "nothing to protect"},
	{"export", "a/*, b", NULL},
	{"mode", "wo", "'wo' is no access mode"},
	{"mode", "ro,writable", "'writable' is no access mode"},
	{"mode", " , ", "any of ro, rw and migration"},
	{"mode", "ro, rw migration", NULL},
};

START_TEST(bad_keys_are_told)
{
	char err[CONF_TEXT_MAX] = "";
	const struct conf_key *key;
	struct gw_rule rule = {0};
	int r;

	for (key = gw_rule_keys; strcmp(key->name, keys[_i].key); key++)
		;
	r = key->set(&rule, keys[_i].value, err);
	ck_assert_int_eq(r, keys[_i].err ? -EINVAL : 0);
	ck_assert_msg(strstr(err, keys[_i].err ? keys[_i].err : "") != NULL,
		      "%s = %s said: %s", keys[_i].key, keys[_i].value, err);
	gw_rule_clear(&rule);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/access-rule");
	TCase *tc = tcase_create("rules");
	SRunner *sr;
	int failed;

	tcase_add_loop_test(tc, matrix, 0, ARRAY_SIZE(cases));
	tcase_add_loop_test(tc, earlier_questions_are_never_stricter, 0,
			    ARRAY_SIZE(cases));
	tcase_add_test(tc, rules_are_judged_as_a_whole);
	tcase_add_loop_test(tc, device_names_are_made_canonical, 0,
			    ARRAY_SIZE(device_names));
	tcase_add_loop_test(tc, bad_keys_are_told, 0, ARRAY_SIZE(keys));
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
