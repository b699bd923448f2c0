/* SPDX-License-Identifier: BSD-3-Clause */
/* The text of the metrics, addresses of HTTP, and the process. The
 * format as a whole is judged by Prometheus' parser: integration/metrics. */
#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gateway/http.h"
#include "gateway/metrics-text.h"
#include "gateway/proc.h"

/* ------------------------------------------------------------------- text */

static char *text;
static size_t len;
static struct metrics_page page;

static void
make(void)
{
	ck_assert_int_eq(metrics_text(&page, &text, &len), 0);
	ck_assert_uint_eq(strlen(text), len);
}

static void
teardown(void)
{
	free(text);
}

static void
check_has(const char *line)
{
	ck_assert_msg(strstr(text, line) != NULL, "no %s", line);
}

static void
check_lacks(const char *part)
{
	ck_assert_msg(!strstr(text, part), "there is %s", part);
}

START_TEST(what_is_not_known_is_left_out)
{
	page = (struct metrics_page){0};
	make();
	check_has("# TYPE process_open_fds gauge\n");
	check_lacks("\nprocess_open_fds ");
	check_has("\nrnbd_gateway_build_info{version=\"" RNBD_VERSION
		  "\"} 1\n");
	check_has("\nrnbd_gateway_series_omitted{kind=\"path\"} 0\n");
	ck_assert_str_eq(text + len - 6, "# EOF\n");
}
END_TEST

START_TEST(times_are_exact_seconds)
{
	page = (struct metrics_page){
		.process = {.start_time_ns = UINT64_C(1700000000000000001),
			    .cpu_ns = 1500000000,
			    .open_fds = 7},
	};
	make();
	check_has("\nprocess_start_time_seconds 1700000000.000000001\n");
	check_has("\nprocess_cpu_seconds_total 1.500000000\n");
	check_has("# UNIT process_cpu_seconds seconds\n");
	check_has("\nprocess_open_fds 7\n");
}
END_TEST

START_TEST(rows_have_their_labels)
{
	struct metrics_worker w = {.labels = "worker=\"3\"", .busy_ns = 5};
	struct metrics_path p = {
		.session = "s", .path = "a@b", .hb_latency_ns = 1000};

	page = (struct metrics_page){
		.listeners = {{.name = "tcp:[::1]:1", .value = 9}},
		.n_listeners = 1,
		.rejects = {{.name = "memory", .value = 2}},
		.n_rejects = 1,
		.workers = &w,
		.n_workers = 1,
		.paths = &p,
		.n_paths = 1,
	};
	make();
	check_has("\nrnbd_gateway_listener_requests_total{listener=\"tcp:[::1]"
		  ":1\"} 9\n");
	check_has("\nrnbd_gateway_rejects_total{reason=\"memory\"} 2\n");
	check_has("\nrnbd_gateway_worker_busy_seconds_total{worker=\"3\"} "
		  "0.000000005\n");
	check_has("\nrnbd_gateway_path_heartbeat_latency_seconds{session=\"s\","
		  "path=\"a@b\"} 0.000001000\n");
}
END_TEST

START_TEST(histograms_of_exports_and_devices)
{
	static struct metrics_io ex, dev;

	ex = (struct metrics_io){.export = "e"};
	dev = (struct metrics_io){
		.session = "s", .export = "e", .has_latency = true};
	dev.latency[BACKEND_READ].count = 3;
	dev.latency[BACKEND_READ].sum_ns = 7000;
	for (int i = 4; i < OPENMETRICS_N_BOUNDS; i++)
		dev.latency[BACKEND_READ].le[i] = 2;
	dev.op[BACKEND_READ].ops = 3;
	metrics_io_add(&ex, &dev);
	metrics_io_add(&ex, &dev);
	page = (struct metrics_page){
		.exports = &ex,
		.n_exports = 1,
		.devices = &dev,
		.n_devices = 1,
	};
	make();
#define DEV "{session=\"s\",export=\"e\",operation=\"read\""
	check_has("\nrnbd_gateway_device_latency_seconds_bucket" DEV
		  ",le=\"0.0001\"} 0\n");
	check_has("\nrnbd_gateway_device_latency_seconds_bucket" DEV
		  ",le=\"0.00025\"} 2\n");
	check_has("\nrnbd_gateway_device_latency_seconds_bucket" DEV
		  ",le=\"+Inf\"} 3\n");
	check_has("\nrnbd_gateway_device_latency_seconds_count" DEV "} 3\n");
	check_has("\nrnbd_gateway_device_latency_seconds_sum" DEV
		  "} 0.000007000\n");
	/* Devices have those that they did, exports all. */
	check_lacks("device_latency_seconds_count{session=\"s\",export=\"e\","
		    "operation=\"write\"");
	check_has("export_latency_seconds_count{export=\"e\",operation="
		  "\"write\"} 0\n");
	check_has("export_latency_seconds_count{export=\"e\",operation="
		  "\"read\"} 6\n");
	check_has("export_operations_total{export=\"e\",operation=\"read\"} "
		  "6\n");
	/* A flush has no bytes. */
	check_lacks("bytes_total{export=\"e\",operation=\"flush\"");
}
END_TEST

/* -------------------------------------------------------------- addresses */

START_TEST(addresses_of_tcp)
{
	struct sockaddr_in6 sin6;
	struct sockaddr_in sin;
	struct http_addr a;
	char err[HTTP_TEXT_MAX];

	ck_assert_int_eq(
		http_addr_parse("127.0.0.1:11234", &a, err, sizeof(err)), 0);
	memcpy(&sin, &a.tcp, sizeof(sin));
	ck_assert_ptr_null(a.unix_path);
	ck_assert_int_eq(sin.sin_family, AF_INET);
	ck_assert_uint_eq(ntohs(sin.sin_port), 11234);
	ck_assert_int_eq(http_addr_parse("[::1]:0", &a, err, sizeof(err)), 0);
	memcpy(&sin6, &a.tcp, sizeof(sin6));
	ck_assert_int_eq(sin6.sin6_family, AF_INET6);
	ck_assert_int_eq(http_addr_parse("unix:/x", &a, err, sizeof(err)), 0);
	ck_assert_str_eq(a.unix_path, "/x");
}
END_TEST

static const char *const bad_addresses[] = {
	"",
	"127.0.0.1",
	":11234",
	"127.0.0.1:",
	"::1:11234",
	"[::1]",
	"[::1:11234",
	"localhost:11234",
	"127.0.0.1:x",
	"127.0.0.1:65536",
	"127.0.0.1:-1",
	"unix:",
	"127.0.0.1:0x10",
};

START_TEST(addresses_that_are_none)
{
	struct http_addr a;
	char err[HTTP_TEXT_MAX] = "";

	ck_assert_int_eq(
		http_addr_parse(bad_addresses[_i], &a, err, sizeof(err)),
		-EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "unix:PATH"));
}
END_TEST

START_TEST(a_path_that_is_too_long)
{
	char long_path[200] = "unix:/", err[HTTP_TEXT_MAX];
	struct http_addr a;

	memset(long_path + 6, 'x', sizeof(long_path) - 7);
	ck_assert_int_eq(http_addr_parse(long_path, &a, err, sizeof(err)),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(err, "107 bytes"));
}
END_TEST

/* ---------------------------------------------------------------- process */

START_TEST(the_process_is_known)
{
	struct proc_info before, after;
	struct proc *p;
	int fd;

	ck_assert_int_eq(proc_new(&p), 0);
	proc_read(p, &before);
	ck_assert_uint_gt(before.resident_bytes, 100000);
	ck_assert_uint_gt(before.virtual_bytes, before.resident_bytes);
	ck_assert_uint_gt(before.max_fds, 0);
	ck_assert_uint_gt(before.cpu_ns, 0);
	fd = dup(0);
	proc_read(p, &after);
	ck_assert_uint_eq(after.open_fds, before.open_fds + 1);
	ck_assert_uint_eq(after.start_time_ns, before.start_time_ns);
	close(fd);
	proc_free(p);
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/metrics");
	TCase *tc = tcase_create("metrics");
	SRunner *sr;
	int failed;

	tcase_add_checked_fixture(tc, NULL, teardown);
	tcase_add_test(tc, what_is_not_known_is_left_out);
	tcase_add_test(tc, times_are_exact_seconds);
	tcase_add_test(tc, rows_have_their_labels);
	tcase_add_test(tc, histograms_of_exports_and_devices);
	tcase_add_test(tc, addresses_of_tcp);
	tcase_add_loop_test(tc, addresses_that_are_none, 0,
			    (int)ARRAY_SIZE(bad_addresses));
	tcase_add_test(tc, a_path_that_is_too_long);
	tcase_add_test(tc, the_process_is_known);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
