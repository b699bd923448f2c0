/* SPDX-License-Identifier: BSD-3-Clause */
/* The command line: defaults, each option, each way to get it wrong. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/config.h"
#include "rtrs/rtrs.h"

#define MAX_ARGS 12
#define EXPORT   "--export", "d=memory:1M"

/* What a command line leads to. */
enum result {
	RUN,
	DONE,
	USAGE,
};

static struct gw_config config;
#define o (config.opt)
static char text[OPT_TEXT_MAX];

static enum result
parse_argv(int argc, char **argv)
{
	FILE *out = tmpfile();
	struct cmdline cl;
	enum cmdline_result r;

	ck_assert_ptr_nonnull(out);
	text[0] = '\0';
	r = cmdline_parse(&cl, argc, argv, out, text);
	/* Whoever asks for help gets some. */
	ck_assert_int_eq(ftell(out) > 0, r == CMDLINE_DONE);
	fclose(out);
	if (r == CMDLINE_RUN && gw_config_load(&cl, NULL, &config, text) < 0)
		r = CMDLINE_USAGE;
	cmdline_deinit(&cl);
	return r == CMDLINE_RUN ? RUN : r == CMDLINE_DONE ? DONE : USAGE;
}

static enum result
parse(const char *const args[MAX_ARGS])
{
	char *argv[MAX_ARGS + 2] = {(char *)(uintptr_t) "rnbd-gatewayd"};
	int argc = 1;

	for (; args[argc - 1]; argc++)
		argv[argc] = (char *)(uintptr_t)args[argc - 1];
	return parse_argv(argc, argv);
}

#define PARSE(...) parse((const char *const[MAX_ARGS]){__VA_ARGS__})

START_TEST(defaults)
{
	struct sockaddr_in sin;

	ck_assert_int_eq(PARSE(EXPORT), RUN);
	ck_assert_uint_eq(o.queue_depth, 512);
	ck_assert_uint_eq(o.chunk_size, 131072);
	ck_assert_uint_ge(o.workers, 1);
	ck_assert_uint_le(o.workers, 4);
	ck_assert_uint_eq(o.busy_poll_us, 0);
	ck_assert_uint_ge(o.max_memory, UINT64_C(512) * 131072 * o.workers);
	ck_assert_uint_lt(o.max_memory, UINT64_MAX);
	ck_assert_uint_eq(o.hb_interval_ms, 5000);
	ck_assert_uint_eq(o.hb_missed_max, 5);
	ck_assert(!o.always_invalidate && !o.foreground);
	ck_assert_ptr_null(o.control);
	ck_assert_ptr_null(o.pid_file);
	ck_assert_ptr_null(o.search_path);
	ck_assert_int_eq(o.log_level, LOG_LVL_INFO);
	/* The wire has no authentication: nothing but this machine. */
	ck_assert_uint_eq(o.n_listen, 1);
	memcpy(&sin, &o.listen[0].addr, sizeof(sin));
	ck_assert_int_eq(sin.sin_family, AF_INET);
	ck_assert_uint_eq(ntohl(sin.sin_addr.s_addr), INADDR_LOOPBACK);
	ck_assert_uint_eq(ntohs(sin.sin_port), 1234);
	gw_config_deinit(&config);
}
END_TEST

START_TEST(values)
{
	ck_assert_int_eq(PARSE("--search-path", "/dev", "--queue-depth=64",
			       "--chunk-size=1M", "--workers", "7", "--control",
			       "/x.sock", "--foreground",
			       "--always-invalidate=yes"),
			 RUN);
	ck_assert_str_eq(o.search_path, "/dev");
	ck_assert_uint_eq(o.queue_depth, 64);
	ck_assert_uint_eq(o.chunk_size, 1 << 20);
	ck_assert_uint_eq(o.workers, 7);
	ck_assert_str_eq(o.control, "/x.sock");
	ck_assert(o.foreground && o.always_invalidate);
	gw_config_deinit(&config);
	ck_assert_int_eq(PARSE(EXPORT, "--busy-poll=50", "--max-sessions=10",
			       "--max-memory=8g", "--heartbeat-interval=100",
			       "--heartbeat-missed=3", "--pid-file=/p",
			       "--log-level=debug", "--export", "e=null:1G"),
			 RUN);
	ck_assert_uint_eq(o.busy_poll_us, 50);
	ck_assert_uint_eq(o.max_sessions, 10);
	ck_assert_uint_eq(o.max_memory, UINT64_C(8) << 30);
	ck_assert_uint_eq(o.hb_interval_ms, 100);
	ck_assert_uint_eq(o.hb_missed_max, 3);
	ck_assert_str_eq(o.pid_file, "/p");
	ck_assert_int_eq(o.log_level, LOG_LVL_DEBUG);
	ck_assert_uint_eq(o.n_specs, 2);
	ck_assert_str_eq(o.specs[0].name, "d");
	ck_assert_str_eq(o.specs[0].backend, "memory:1M");
	ck_assert_str_eq(o.specs[1].name, "e");
	ck_assert_str_eq(o.specs[1].backend, "null:1G");
	ck_assert(o.sandbox && !o.core_dumps && !o.log_target_given);
	gw_config_deinit(&config);
	ck_assert_int_eq(PARSE(EXPORT, "--sandbox=no", "--core-dumps=yes",
			       "--foreground", "--log-target=journal"),
			 RUN);
	ck_assert(!o.sandbox && o.core_dumps && o.log_target_given);
	ck_assert_int_eq(o.log_target, LOG_TARGET_JOURNAL);
	gw_config_deinit(&config);
	ck_assert_int_eq(PARSE(EXPORT, "--log-target=syslog"), RUN);
	ck_assert_int_eq(o.log_target, LOG_TARGET_SYSLOG);
	gw_config_deinit(&config);
	ck_assert_int_eq(PARSE(EXPORT, "--log-target=auto"), RUN);
	ck_assert(!o.log_target_given);
	gw_config_deinit(&config);
}
END_TEST

static const struct {
	const char *text, *host;
	unsigned port;
} addresses[] = {
	{"tcp:127.0.0.1", "127.0.0.1", 1234},
	{"tcp:127.0.0.1:0", "127.0.0.1", 0},
	{"tcp:0.0.0.0:65535", "0.0.0.0", 65535},
	{"tcp:[::1]", "::1", 1234},
	{"tcp:[::]:99", "::", 99},
};

START_TEST(listen_addresses)
{
	char host[INET6_ADDRSTRLEN];
	struct sockaddr_in sin;
	struct sockaddr_in6 sin6;
	unsigned port;

	ck_assert_int_eq(PARSE(EXPORT, "--listen", addresses[_i].text), RUN);
	ck_assert_uint_eq(o.n_listen, 1);
	ck_assert_ptr_eq(o.listen[0].fabric, &fabric_tcp);
	if (o.listen[0].addr.ss_family == AF_INET) {
		memcpy(&sin, &o.listen[0].addr, sizeof(sin));
		inet_ntop(AF_INET, &sin.sin_addr, host, sizeof(host));
		port = ntohs(sin.sin_port);
	} else {
		memcpy(&sin6, &o.listen[0].addr, sizeof(sin6));
		inet_ntop(AF_INET6, &sin6.sin6_addr, host, sizeof(host));
		port = ntohs(sin6.sin6_port);
	}
	ck_assert_str_eq(host, addresses[_i].host);
	ck_assert_uint_eq(port, addresses[_i].port);
	gw_config_deinit(&config);
}
END_TEST

static const struct {
	const char *text, *shown;
} rdma_addresses[] = {
	{"ip:10.0.0.1", "ip:10.0.0.1:1234"},
	{"ip:0.0.0.0:99", "ip:0.0.0.0:99"},
	{"ip:::", "ip:[::]:1234"},
	{"ip:[::]:7", "ip:[::]:7"},
	{"ip:[::]", "ip:[::]:1234"},
	{"ip:2001:db8::1:5", "ip:[2001:db8::1:5]:1234"},
	{"ip:fe80::1%lo", "ip:[fe80::1%lo]:1234"},
	{"ip:[fe80::1%lo]:0", "ip:[fe80::1%lo]:0"},
	{"gid:fe80::1", "gid:[fe80::1]:1234"},
	{"gid:[fe80::1]:65535", "gid:[fe80::1]:65535"},
};

#define NO_RDMA "this build has no RDMA fabric; use tcp:ADDR[:PORT]"

START_TEST(rdma_listen_addresses)
{
	const struct fabric_ops *verbs = fabric_by_name("verbs");
	char shown[RTRS_ADDR_TEXT_MAX];

	if (!verbs) {
		ck_assert_int_eq(
			PARSE(EXPORT, "--listen", rdma_addresses[_i].text),
			USAGE);
		ck_assert_ptr_nonnull(strstr(text, NO_RDMA));
		return;
	}
	ck_assert_int_eq(PARSE(EXPORT, "--listen", rdma_addresses[_i].text),
			 RUN);
	ck_assert_uint_eq(o.n_listen, 1);
	ck_assert_ptr_eq(o.listen[0].fabric, verbs);
	ck_assert(rtrs_addr_text(verbs, &o.listen[0].addr, shown));
	ck_assert_str_eq(shown, rdma_addresses[_i].shown);
	gw_config_deinit(&config);
}
END_TEST

#define MALFORMED_IP                                                           \
	"malformed; use ip:ADDR or ip:ADDR:PORT, with brackets around IPv6 "   \
	"before a port: ip:[::]:1234"

static const struct {
	const char *text, *says;
} rdma_bad[] = {
	{"ip:", MALFORMED_IP},
	{"ip:10.0.0.1:", MALFORMED_IP},
	{"ip:[::", MALFORMED_IP},
	{"ip:[::]5", MALFORMED_IP},
	{"ip:10.0.0.1:x", "the port must be from 0 to 65535"},
	{"ip:10.0.0.1:65536", "the port must be from 0 to 65535"},
	{"ip:localhost", "'localhost' is not a number of IPv4 or IPv6"},
	{"ip:::%lo", "'::%lo': only a link-local address (fe80::) takes an "
		     "interface"},
	{"gid:10.0.0.1", "'10.0.0.1' is not a GID, which is written like an "
			 "IPv6 address"},
	{"gid:", "malformed; use gid:GID or gid:[GID]:PORT"},
	{"dev:", "malformed; use dev:NAME or dev:NAME:PORT"},
	{"dev:a:b:c", "malformed; use dev:NAME or dev:NAME:PORT"},
};

START_TEST(rdma_listen_errors)
{
	char says[OPT_TEXT_MAX];

	ck_assert_int_eq(PARSE(EXPORT, "--listen", rdma_bad[_i].text), USAGE);
	snprintf(says, sizeof(says), "--listen %s: %s", rdma_bad[_i].text,
		 fabric_by_name("verbs") ? rdma_bad[_i].says : NO_RDMA);
	ck_assert_str_eq(text, says);
}
END_TEST

/* Both fabrics at once. */
START_TEST(listen_on_both)
{
	if (!fabric_by_name("verbs"))
		return;
	ck_assert_int_eq(PARSE(EXPORT, "--listen", "tcp:127.0.0.1", "--listen",
			       "ip:0.0.0.0", "--listen", "gid:fe80::1"),
			 RUN);
	ck_assert_uint_eq(o.n_listen, 3);
	ck_assert_str_eq(o.listen[0].fabric->name, "tcp");
	ck_assert_str_eq(o.listen[1].fabric->name, "verbs");
	ck_assert_str_eq(o.listen[2].fabric->name, "verbs");
	gw_config_deinit(&config);
}
END_TEST

START_TEST(help_and_version_end_it)
{
	ck_assert_int_eq(PARSE("--help"), DONE);
	ck_assert_int_eq(PARSE("--version"), DONE);
	ck_assert_int_eq(PARSE("--list-keys"), DONE);
	ck_assert_int_eq(PARSE(EXPORT, "--version"), DONE);
}
END_TEST

#define SCHEME                                                                 \
	"unknown kind of address; use tcp:ADDR[:PORT], or ip:ADDR[:PORT] for " \
	"RDMA"
#define MALFORMED                                                              \
	"malformed; use tcp:HOST:PORT, with IPv6 addresses in brackets: "      \
	"tcp:[::1]:1234"
#define PORT_RANGE "the port must be from 0 to 65535"
#define CHUNK      "give a power of two from 8192 (such as 128K)"
#define BYTES      "give a number of bytes; K, M, G or T may follow it"

static const struct {
	const char *args[MAX_ARGS];
	const char *text;
} bad[] = {
	{{NULL},
	 "nothing to offer: give --export NAME=SPEC or --search-path DIR"},
	{{"--nonsense"}, "--nonsense: unknown option; see --help"},
	{{"--list-keys=foo"}, "--list-keys=foo: this option takes no value"},
	{{"--check=1"}, "--check=1: this option takes no value"},
	{{"--l"},
	 "--l: ambiguous: --list-keys, --listen, --log-level, "
	 "--log-target"},
	{{"--=x"}, "--=x: unknown option; see --help"},
	{{EXPORT, "stray"}, "stray: unexpected argument; see --help"},
	{{EXPORT, "--workers"}, "--workers: a value is missing"},
	{{EXPORT, "--listen", "127.0.0.1"}, "--listen 127.0.0.1: " SCHEME},
	{{EXPORT, "--listen", "tcp:"}, "--listen tcp:: " MALFORMED},
	{{EXPORT, "--listen", "tcp:::1"}, "--listen tcp:::1: " MALFORMED},
	{{EXPORT, "--listen", "tcp:[::1"}, "--listen tcp:[::1: " MALFORMED},
	{{EXPORT, "--listen", "tcp:[::1]x"}, "--listen tcp:[::1]x: " MALFORMED},
	{{EXPORT, "--listen", "tcp:1.2.3.4:"},
	 "--listen tcp:1.2.3.4:: " MALFORMED},
	{{EXPORT, "--listen", "tcp:1.2.3.4:x"},
	 "--listen tcp:1.2.3.4:x: " PORT_RANGE},
	{{EXPORT, "--listen", "tcp:1.2.3.4:65536"},
	 "--listen tcp:1.2.3.4:65536: " PORT_RANGE},
	{{EXPORT, "--queue-depth", "0"},
	 "--queue-depth 0: give a number from 1 to 65535"},
	{{EXPORT, "--queue-depth", "65536"},
	 "--queue-depth 65536: give a number from 1 to 65535"},
	{{EXPORT, "--queue-depth", "5x"},
	 "--queue-depth 5x: give a number from 1 to 65535"},
	{{EXPORT, "--queue-depth", "-1"},
	 "--queue-depth -1: give a number from 1 to 65535"},
	{{EXPORT, "--chunk-size", "4096"}, "--chunk-size 4096: " CHUNK},
	{{EXPORT, "--chunk-size", "100000"}, "--chunk-size 100000: " CHUNK},
	{{EXPORT, "--chunk-size", "8G"}, "--chunk-size 8G: " CHUNK},
	{{EXPORT, "--chunk-size", "12Q"}, "--chunk-size 12Q: " BYTES},
	{{EXPORT, "--chunk-size", ""}, "--chunk-size: " BYTES},
	{{EXPORT, "--max-memory", "99999999T"},
	 "--max-memory 99999999T: " BYTES},
	{{EXPORT, "--chunk-size", "1M"},
	 "chunk-size 1048576 is too large for queue-depth 512: at most "
	 "524288; lower one of them"},
	{{EXPORT, "--queue-depth", "4097"},
	 "chunk-size 131072 is too large for queue-depth 4097: at most "
	 "32768; lower one of them"},
	{{EXPORT, "--workers", "2", "--max-memory", "60M"},
	 "max-memory 62914560 does not hold one session: 67108864 is the "
	 "least for queue-depth 512 and chunk-size 131072"},
	{{EXPORT, "--workers", "0"},
	 "--workers 0: give a number from 1 to 256"},
	{{EXPORT, "--busy-poll", "1000001"},
	 "--busy-poll 1000001: give a number from 0 to 1000000"},
	{{EXPORT, "--always-invalidate", "maybe"},
	 "--always-invalidate maybe: give yes or no"},
	{{EXPORT, "--max-sessions", "0"},
	 "--max-sessions 0: give a number from 1 to 1000000"},
	{{EXPORT, "--heartbeat-interval", "1"},
	 "--heartbeat-interval 1: give a number from 10 to 3600000"},
	{{EXPORT, "--heartbeat-missed", "0"},
	 "--heartbeat-missed 0: give a number from 1 to 1000"},
	{{EXPORT, "--log-level", "loud"},
	 "--log-level loud: give error, warning, info or debug"},
	{{"--search-path", "dev"}, "--search-path dev: give an absolute path"},
	{{EXPORT, "--control", ""}, "--control: the path is empty"},
	{{EXPORT, "--sandbox", "1"}, "--sandbox 1: give yes or no"},
	{{EXPORT, "--core-dumps", ""}, "--core-dumps: give yes or no"},
	{{EXPORT, "--log-target", "file"},
	 "--log-target file: give auto, stderr, journal or syslog"},
	{{EXPORT, "--log-target", "stderr"},
	 "log-target: a daemon has no standard error; give syslog, or "
	 "foreground too"},
	{{EXPORT, "--foreground=maybe"}, "--foreground maybe: give yes or no"},
	{{"--export", "d"},
	 "--export d: export 'd': '=' is missing: give NAME=SPEC"},
	{{EXPORT, "--export", "d=null:1M"},
	 "--export d=null:1M: export 'd': there is one of that name already"},
	{{EXPORT, "--config", ""}, "--config: the path is empty"},
	{{EXPORT, "--config", "/nowhere/c"},
	 "/nowhere/c: No such file or directory"},
	{{EXPORT, "--metrics", "11234"},
	 "--metrics 11234: give ADDRESS:PORT, as 127.0.0.1:11234 or "
	 "[::1]:11234, or unix:PATH"},
	{{EXPORT, "--pid-file", ""}, "--pid-file: the path is empty"},
};

START_TEST(mistakes_are_named)
{
	ck_assert_int_eq(parse(bad[_i].args), USAGE);
	ck_assert_str_eq(text, bad[_i].text);
}
END_TEST

START_TEST(long_control_path_is_refused)
{
	char path[200];

	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	ck_assert_int_eq(PARSE(EXPORT, "--control", path), USAGE);
	ck_assert_ptr_nonnull(strstr(text, "longer than the 107 bytes"));
}
END_TEST

START_TEST(unknown_host_is_named)
{
	ck_assert_int_eq(PARSE(EXPORT, "--listen", "tcp:no such host"), USAGE);
	ck_assert_ptr_nonnull(strstr(text, "--listen tcp:no such host: cannot "
					   "resolve 'no such host': "));
}
END_TEST

START_TEST(too_many_listeners_are_refused)
{
	char *argv[2 * OPT_MAX_LISTENERS + 6];
	int argc = 0;

	argv[argc++] = (char *)(uintptr_t) "x";
	for (unsigned i = 0; i <= OPT_MAX_LISTENERS; i++) {
		argv[argc++] = (char *)(uintptr_t) "--listen";
		argv[argc++] = (char *)(uintptr_t) "tcp:127.0.0.1:0";
	}
	argv[argc] = NULL;
	ck_assert_int_eq(parse_argv(argc, argv), USAGE);
	ck_assert_str_eq(text, "--listen tcp:127.0.0.1:0: more than 64 "
			       "addresses");
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("gateway/options");
	TCase *tc = tcase_create("options");
	SRunner *sr;
	int failed;

	tcase_add_test(tc, defaults);
	tcase_add_test(tc, values);
	tcase_add_loop_test(tc, listen_addresses, 0, ARRAY_SIZE(addresses));
	tcase_add_loop_test(tc, rdma_listen_addresses, 0,
			    ARRAY_SIZE(rdma_addresses));
	tcase_add_loop_test(tc, rdma_listen_errors, 0, ARRAY_SIZE(rdma_bad));
	tcase_add_test(tc, listen_on_both);
	tcase_add_test(tc, help_and_version_end_it);
	tcase_add_loop_test(tc, mistakes_are_named, 0, ARRAY_SIZE(bad));
	tcase_add_test(tc, long_control_path_is_refused);
	tcase_add_test(tc, unknown_host_is_named);
	tcase_add_test(tc, too_many_listeners_are_refused);
	suite_add_tcase(s, tc);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
