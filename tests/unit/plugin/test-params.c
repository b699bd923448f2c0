/* SPDX-License-Identifier: BSD-3-Clause */
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nbdkit-plugin/params.h"

static struct params p;
static char err[PARAMS_ERR_MAX];

static void
set(const char *key, const char *value)
{
	int rc = params_set(&p, key, value, err);

	ck_assert_msg(!rc, "%s=%s: %s", key, value, err);
}

static void
setup(void)
{
	params_init(&p);
}

static void
teardown(void)
{
	params_deinit(&p);
}

/* One character more than fits. */
static const char name_255[] =
	"0123456789012345678901234567890123456789012345678901234567890123456789"
	"0123456789012345678901234567890123456789012345678901234567890123456789"
	"0123456789012345678901234567890123456789012345678901234567890123456789"
	"012345678901234567890123456789012345678901234";

#define IS_NAME                                                                \
	" is not a session name: it must not be empty and not contain '/' or " \
	"'.'"
#define BAD_TIME " seconds, with at most three decimals"

static const struct {
	const char *key, *value, *says;
} bad[] = {
	{"sessname", "", "sessname=: ''" IS_NAME},
	{"sessname", "a/b", "sessname=: 'a/b'" IS_NAME},
	{"sessname", "a.b", "sessname=: 'a.b'" IS_NAME},
	{"sessname", name_255,
	 "sessname=: a session name has at most 254 characters"},
	{"device_path", "", "device_path=: the name of the device is empty"},
	{"device_path", name_255,
	 "device_path=: the name of a device has at most 254 bytes"},
	{"dest_port", "0", "dest_port=: '0' is not a number from 1 to 65535"},
	{"dest_port", "65536",
	 "dest_port=: '65536' is not a number from 1 to 65535"},
	{"dest_port", "12x",
	 "dest_port=: '12x' is not a number from 1 to 65535"},
	{"dest_port", "", "dest_port=: '' is not a number from 1 to 65535"},
	{"access_mode", "rx",
	 "access_mode=: 'rx' is none of ro, rw, migration"},
	{"access_mode", "", "access_mode=: '' is none of ro, rw, migration"},
	{"connections", "1",
	 "connections=: '1' is not a number from 2 to 4096"},
	{"connections", "99999999999999999999",
	 "connections=: '99999999999999999999' is not a number from 2 to 4096"},
	{"queue-depth", "0",
	 "queue-depth=: '0' is not a number from 1 to 65535"},
	{"queue_depth", "-4",
	 "queue-depth=: '-4' is not a number from 1 to 65535"},
	{"max_reconnect_attempts", "-2",
	 "max_reconnect_attempts=: '-2' is not a number from -1 to 9999"},
	{"heartbeat-missed", "0",
	 "heartbeat-missed=: '0' is not a number from 1 to 1000"},
	{"busy-poll", "1s",
	 "busy-poll=: '1s' is not a number from 0 to 1000000"},
	{"io-timeout", "-1",
	 "io-timeout=: '-1' is not a time from 0 to 86400" BAD_TIME},
	{"io-timeout", "",
	 "io-timeout=: '' is not a time from 0 to 86400" BAD_TIME},
	{"io-timeout", ".",
	 "io-timeout=: '.' is not a time from 0 to 86400" BAD_TIME},
	{"io-timeout", "1.",
	 "io-timeout=: '1.' is not a time from 0 to 86400" BAD_TIME},
	{"io-timeout", "1.2345",
	 "io-timeout=: '1.2345' is not a time from 0 to 86400" BAD_TIME},
	{"io-timeout", "5s",
	 "io-timeout=: '5s' is not a time from 0 to 86400" BAD_TIME},
	{"io-timeout", "86400.001",
	 "io-timeout=: '86400.001' is not a time from 0 to 86400" BAD_TIME},
	{"io-timeout", "99999999999999999999999",
	 "io-timeout=: '99999999999999999999999' is not a time from 0 to "
	 "86400" BAD_TIME},
	{"open-timeout", "0",
	 "open-timeout=: '0' is not a time from 0.001 to 86400" BAD_TIME},
	{"preflight", "maybe", "preflight=: 'maybe' is neither yes nor no"},
	{"need-inval", "", "need-inval=: '' is neither yes nor no"},
	{"zero", "fast", "zero=: 'fast' is none of auto, trust, write"},
	{"connect", "some", "connect=: 'some' is none of all, any, lazy"},
	{"mp_policy", "3",
	 "mp_policy=: '3' is none of round-robin, min-inflight, min-latency"},
	{"exports", "=x", "exports=: '=x' is not [NAME=]DEVICE[,ro]"},
	{"export-allow", "", "export-allow=: the pattern is empty"},
	{"export-root", "a/",
	 "export-root=: 'a/' is not the beginning of a device name, without "
	 "'/' at its end"},
	{"path", "tcp:", "path=: 'tcp:' has no host"},
	{"paths", "x", "unknown parameter 'paths'"},
	{"", "x", "unknown parameter ''"},
	{"io-time", "1", "unknown parameter 'io-time'"},
};

START_TEST(bad__has_words)
{
	struct params before = p;

	ck_assert_int_eq(params_set(&p, bad[_i].key, bad[_i].value, err),
			 -EINVAL);
	ck_assert_str_eq(err, bad[_i].says);
	ck_assert_int_eq(memcmp(&before, &p, sizeof(p)), 0);
}
END_TEST

START_TEST(defaults)
{
	struct rnbd_wait_params wp;

	params_session(&p, &wp);
	ck_assert_uint_eq(wp.clt.io_timeout_ms, 60000);
	ck_assert_uint_eq(wp.clt.open_timeout_ms, 10000);
	ck_assert_uint_eq(wp.clt.rtrs.quiesce_ms, 60000);
	ck_assert_uint_eq(wp.clt.rtrs.reconnect_delay_ms, 1000);
	ck_assert_uint_eq(wp.clt.rtrs.reconnect_max_ms, 2000);
	ck_assert_int_eq(wp.clt.rtrs.policy, RTRS_MP_MIN_INFLIGHT);
	ck_assert_int_eq(wp.clt.rtrs.connect, RTRS_CONNECT_ALL);
	ck_assert_uint_eq(wp.clt.rtrs.hb_interval_ms, 5000);
	ck_assert_uint_eq(wp.clt.rtrs.hb_missed_max, 5);
	ck_assert_int_eq(wp.clt.rtrs.max_reconnect_attempts, -1);
	ck_assert_uint_eq(wp.clt.rtrs.max_queue_depth, 0);
	ck_assert_uint_ge(wp.clt.rtrs.n_cons, 2);
	ck_assert_uint_le(wp.clt.rtrs.n_cons, 5);
	ck_assert(!wp.clt.rtrs.need_inval);
	ck_assert(wp.clt.trust_write_zeroes);
	ck_assert_uint_eq(wp.busy_poll_us, 0);
	ck_assert(p.preflight);
	ck_assert_uint_eq(p.access_mode, RNBD_ACCESS_RW);
}
END_TEST

START_TEST(all__arrive)
{
	struct rnbd_wait_params wp;

	set("sessname", "vm-1");
	set("device_path", "dir/disk.img");
	set("access_mode", "migration");
	set("nr_poll_queues", "-1");
	set("connections", "3");
	set("queue_depth", "64");
	set("io-timeout", "0.25");
	set("open-timeout", "3");
	set("connect-timeout", "2.5");
	set("quiesce-time", "0.5");
	set("reconnect-delay", "0");
	set("reconnect-delay-max", "9");
	set("mp_policy", "ML");
	set("connect", "any");
	set("heartbeat-interval", "0.1");
	set("heartbeat-missed", "7");
	set("max-reconnect-attempts", "9");
	set("busy-poll", "50");
	set("need_inval", "YES");
	set("preflight", "0");
	set("zero", "write");
	set("path", "tcp:host");
	ck_assert_int_eq(params_check(&p, err), 0);
	params_session(&p, &wp);
	ck_assert_str_eq(wp.clt.rtrs.name, "vm-1");
	ck_assert_str_eq(p.exports.only, "dir/disk.img");
	ck_assert_uint_eq(p.access_mode, RNBD_ACCESS_MIGRATION);
	ck_assert_int_eq(p.nr_poll_queues, -1);
	ck_assert_uint_eq(wp.clt.rtrs.n_cons, 3);
	ck_assert_uint_eq(wp.clt.rtrs.max_queue_depth, 64);
	ck_assert_uint_eq(wp.clt.io_timeout_ms, 250);
	ck_assert_uint_eq(wp.clt.open_timeout_ms, 3000);
	ck_assert_uint_eq(wp.clt.rtrs.connect_timeout_ms, 2500);
	ck_assert_uint_eq(wp.clt.rtrs.quiesce_ms, 500);
	ck_assert_uint_eq(wp.clt.rtrs.reconnect_delay_ms, 0);
	ck_assert_uint_eq(wp.clt.rtrs.reconnect_max_ms, 9000);
	ck_assert_int_eq(wp.clt.rtrs.policy, RTRS_MP_MIN_LATENCY);
	ck_assert_int_eq(wp.clt.rtrs.connect, RTRS_CONNECT_ANY);
	ck_assert_uint_eq(wp.clt.rtrs.hb_interval_ms, 100);
	ck_assert_uint_eq(wp.clt.rtrs.hb_missed_max, 7);
	ck_assert_int_eq(wp.clt.rtrs.max_reconnect_attempts, 9);
	ck_assert_uint_eq(wp.busy_poll_us, 50);
	ck_assert(wp.clt.rtrs.need_inval);
	ck_assert(!p.preflight);
	ck_assert(!wp.clt.trust_write_zeroes);
	ck_assert_uint_eq(wp.clt.rtrs.n_paths, 1);
}
END_TEST

START_TEST(dest_port__holds_for_later_paths)
{
	set("path", "tcp:a");
	set("dest_port", "99");
	set("path", "tcp:a");
	set("path", "tcp:[::1]:7");
	ck_assert_uint_eq(p.n_paths, 3);
	ck_assert_uint_eq(p.paths[0].port, 1234);
	ck_assert_uint_eq(p.paths[1].port, 99);
	ck_assert_uint_eq(p.paths[2].port, 7);
}
END_TEST

/* A kernel server may be at the end of what is not tcp. */
START_TEST(zero__trusted_over_tcp_only)
{
	struct rnbd_wait_params wp;

	if (!fabric_by_name("verbs"))
		return;
	set("path", "tcp:a");
	params_session(&p, &wp);
	ck_assert(wp.clt.trust_write_zeroes);
	set("path", "ip:10.0.0.1");
	params_session(&p, &wp);
	ck_assert(!wp.clt.trust_write_zeroes);
	set("zero", "trust");
	params_session(&p, &wp);
	ck_assert(wp.clt.trust_write_zeroes);
}
END_TEST

START_TEST(path__same_host_on_two_fabrics)
{
	if (!fabric_by_name("verbs"))
		return;
	set("path", "tcp:10.0.0.1");
	set("path", "ip:10.0.0.1");
	set("path", "10.0.0.1");
	ck_assert_uint_eq(p.n_paths, 3);
	ck_assert_int_eq(params_set(&p, "path", "ip:10.0.0.1:1234", err),
			 -EINVAL);
	ck_assert_str_eq(err, "path=: 'ip:10.0.0.1:1234' is given twice");
}
END_TEST

START_TEST(path__twice)
{
	set("path", "tcp:a");
	ck_assert_int_eq(params_set(&p, "path", "tcp:a:1234", err), -EINVAL);
	ck_assert_str_eq(err, "path=: 'tcp:a:1234' is given twice");
	set("path", "tcp:b,tcp:a");
}
END_TEST

START_TEST(once__is_refused_twice)
{
	static const struct {
		const char *key, *value, *again;
	} once[] = {
		{"sessname", "a", "b"},
		{"device_path", "disk", "odd"},
		{"io-timeout", "1", "1"},
		{"preflight", "no", "yes"},
	};
	char says[64];

	for (unsigned i = 0; i < ARRAY_SIZE(once); i++) {
		set(once[i].key, once[i].value);
		ck_assert_int_eq(
			params_set(&p, once[i].key, once[i].again, err),
			-EINVAL);
		snprintf(says, sizeof(says), "%s=: given twice", once[i].key);
		ck_assert_str_eq(err, says);
	}
	ck_assert_str_eq(p.sessname, "a");
	ck_assert_int_eq(params_set(&p, "io_timeout", "1", err), -EINVAL);
}
END_TEST

START_TEST(lists_and_dest_port__may_repeat)
{
	set("dest_port", "1");
	set("dest_port", "2");
	set("export-allow", "a*");
	set("export-allow", "b*");
	set("exports", "a");
	set("exports", "b");
	ck_assert_uint_eq(p.exports.n_allow, 2);
	ck_assert_uint_eq(p.exports.n_items, 2);
}
END_TEST

/* A value that was not taken was not given. */
START_TEST(bad__may_be_mended)
{
	ck_assert_int_eq(params_set(&p, "sessname", "a.b", err), -EINVAL);
	set("sessname", "ab");
}
END_TEST

START_TEST(path__too_many)
{
	char text[32];

	for (int i = 1; i <= RTRS_MAX_PATHS; i++) {
		snprintf(text, sizeof(text), "tcp:host:%d", i);
		set("path", text);
	}
	ck_assert_int_eq(params_set(&p, "path", "tcp:other", err), -EINVAL);
	ck_assert_str_eq(err, "path=: a session has at most 128 paths");
	ck_assert_uint_eq(p.n_paths, RTRS_MAX_PATHS);
}
END_TEST

START_TEST(nr_poll_queues__up_to_the_cpus)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", sysconf(_SC_NPROCESSORS_CONF));
	set("nr_poll_queues", text);
	snprintf(text, sizeof(text), "%ld", sysconf(_SC_NPROCESSORS_CONF) + 1);
	ck_assert_int_eq(params_set(&p, "nr_poll_queues", text, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "nr_poll_queues=: "));
}
END_TEST

START_TEST(check__names_what_is_missing)
{
	ck_assert_int_eq(params_check(&p, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "sessname="));
	set("sessname", "s");
	ck_assert_int_eq(params_check(&p, err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "path="));
	set("path", "tcp:h");
	ck_assert_int_eq(params_check(&p, err), 0);
}
END_TEST

START_TEST(resolve__names_the_parameter)
{
	struct rtrs_path_addr *addrs = NULL;

	set("path", "tcp:127.0.0.1");
	set("path", "tcp:[::1]:5");
	ck_assert_int_eq(params_resolve(&p, &addrs, err), 0);
	ck_assert_int_eq(addrs[0].dst.ss_family, AF_INET);
	ck_assert_int_eq(addrs[1].dst.ss_family, AF_INET6);
	free(addrs);
	addrs = NULL;
	set("path", "tcp:no-such-host.invalid");
	ck_assert_int_eq(params_resolve(&p, &addrs, err), -EHOSTUNREACH);
	ck_assert_ptr_null(addrs);
	ck_assert_ptr_eq(strstr(err, "path=: cannot resolve "
				     "'no-such-host.invalid': "),
			 err);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("params");
	TCase *tc = tcase_create("params");
	SRunner *sr = srunner_create(suite);
	int failed;

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, bad__has_words, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, defaults);
	tcase_add_test(tc, all__arrive);
	tcase_add_test(tc, dest_port__holds_for_later_paths);
	tcase_add_test(tc, zero__trusted_over_tcp_only);
	tcase_add_test(tc, path__same_host_on_two_fabrics);
	tcase_add_test(tc, path__twice);
	tcase_add_test(tc, once__is_refused_twice);
	tcase_add_test(tc, lists_and_dest_port__may_repeat);
	tcase_add_test(tc, bad__may_be_mended);
	tcase_add_test(tc, path__too_many);
	tcase_add_test(tc, nr_poll_queues__up_to_the_cpus);
	tcase_add_test(tc, check__names_what_is_missing);
	tcase_add_test(tc, resolve__names_the_parameter);
	suite_add_tcase(suite, tc);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
