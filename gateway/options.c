/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/options.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "gateway/os.h"
#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"

/* What a value parser works on; it returns 0, or -1 with err filled. */
struct ctx {
	struct options *o;
	const char *name; /* of the option, without dashes */
	char *err;
};

static int __attribute__((format(printf, 2, 3)))
fail(const struct ctx *c, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->err, OPT_TEXT_MAX, fmt, ap);
	va_end(ap);
	return -1;
}

/* --------------------------------------------------------------- values */

static int
parse_number(const struct ctx *c, const char *s, uint64_t min, uint64_t max,
	     uint64_t *ret)
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || errno || v < min || v > max)
		return fail(c,
			    "--%s %s: give a number from %" PRIu64
			    " to %" PRIu64,
			    c->name, s, min, max);
	*ret = v;
	return 0;
}

static int
parse_unsigned(const struct ctx *c, const char *s, unsigned min, unsigned max,
	       unsigned *ret)
{
	uint64_t v;

	if (parse_number(c, s, min, max, &v) < 0)
		return -1;
	*ret = (unsigned)v;
	return 0;
}

/* Bytes, with K, M, G or T for powers of 1024. */
static int
parse_bytes(const struct ctx *c, const char *s, uint64_t *ret)
{
	static const char suffixes[] = "KMGT";
	unsigned shift = 0;
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (*end) {
		const char *p = strchr(suffixes, *end & ~0x20);

		if (p && *p && !end[1]) {
			shift = 10 * (unsigned)(p - suffixes + 1);
			end++;
		}
	}
	if (*s < '0' || *s > '9' || *end || errno || v > (UINT64_MAX >> shift))
		return fail(c,
			    "--%s %s: give a number of bytes; K, M, G or T "
			    "may follow it",
			    c->name, s);
	*ret = (uint64_t)v << shift;
	return 0;
}

static int
parse_queue_depth(const struct ctx *c, const char *s)
{
	return parse_unsigned(c, s, 1, RTRS_MAX_QUEUE_DEPTH,
			      &c->o->queue_depth);
}

static int
parse_chunk_size(const struct ctx *c, const char *s)
{
	uint64_t v;

	if (parse_bytes(c, s, &v) < 0)
		return -1;
	if (v < RTRS_MIN_CHUNK_SIZE || v > UINT32_MAX || (v & (v - 1)))
		return fail(c,
			    "--%s %s: give a power of two from %d "
			    "(such as 128K)",
			    c->name, s, RTRS_MIN_CHUNK_SIZE);
	c->o->chunk_size = (uint32_t)v;
	return 0;
}

static int
parse_workers(const struct ctx *c, const char *s)
{
	return parse_unsigned(c, s, 1, OPT_MAX_WORKERS, &c->o->workers);
}

static int
parse_busy_poll(const struct ctx *c, const char *s)
{
	return parse_number(c, s, 0, 1000000, &c->o->busy_poll_us);
}

static int
parse_bool(const struct ctx *c, const char *s, bool *ret)
{
	if (strcmp(s, "yes") && strcmp(s, "no"))
		return fail(c, "--%s %s: give yes or no", c->name, s);
	*ret = !strcmp(s, "yes");
	return 0;
}

static int
parse_always_invalidate(const struct ctx *c, const char *s)
{
	return parse_bool(c, s, &c->o->always_invalidate);
}

static int
parse_sandbox(const struct ctx *c, const char *s)
{
	return parse_bool(c, s, &c->o->sandbox);
}

static int
parse_core_dumps(const struct ctx *c, const char *s)
{
	return parse_bool(c, s, &c->o->core_dumps);
}

static int
parse_max_sessions(const struct ctx *c, const char *s)
{
	return parse_unsigned(c, s, 1, 1000000, &c->o->max_sessions);
}

static int
parse_max_memory(const struct ctx *c, const char *s)
{
	return parse_bytes(c, s, &c->o->max_memory);
}

static int
parse_hb_interval(const struct ctx *c, const char *s)
{
	return parse_unsigned(c, s, 10, 3600000, &c->o->hb_interval_ms);
}

static int
parse_hb_missed(const struct ctx *c, const char *s)
{
	return parse_unsigned(c, s, 1, 1000, &c->o->hb_missed_max);
}

static int
parse_log_level(const struct ctx *c, const char *s)
{
	int v = log_level_parse(s);

	if (v < 0)
		return fail(c, "--%s %s: give error, warning, info or debug",
			    c->name, s);
	c->o->log_level = (enum log_level)v;
	return 0;
}

static int
parse_log_target(const struct ctx *c, const char *s)
{
	static const char *const names[] = {
		[LOG_TARGET_STDERR] = "stderr",
		[LOG_TARGET_JOURNAL] = "journal",
		[LOG_TARGET_SYSLOG] = "syslog",
	};

	c->o->log_target_given = strcmp(s, "auto");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		c->o->log_target = (enum log_target)i;
		if (!c->o->log_target_given || !strcmp(s, names[i]))
			return 0;
	}
	return fail(c, "--%s %s: give auto, stderr, journal or syslog", c->name,
		    s);
}

static int
parse_no_io_uring(const struct ctx *c, const char *s)
{
	(void)s;
	c->o->no_io_uring = true;
	return 0;
}

static int
parse_foreground(const struct ctx *c, const char *s)
{
	c->o->foreground = true;
	return 0;
}

static int
parse_pid_file(const struct ctx *c, const char *s)
{
	if (!*s)
		return fail(c, "--%s: the path is empty", c->name);
	c->o->pid_file = s;
	return 0;
}

static int
parse_control(const struct ctx *c, const char *s)
{
	struct sockaddr_un sun;

	if (!*s)
		return fail(c, "--%s: the path is empty", c->name);
	if (strlen(s) >= sizeof(sun.sun_path))
		return fail(c,
			    "--%s %s: longer than the %zu bytes of a "
			    "socket's path; choose a shorter one",
			    c->name, s, sizeof(sun.sun_path) - 1);
	c->o->control = s;
	return 0;
}

static int
parse_search_path(const struct ctx *c, const char *s)
{
	if (*s != '/')
		return fail(c, "--%s %s: give an absolute path", c->name, s);
	c->o->search_path = s;
	return 0;
}

static int
parse_export(const struct ctx *c, const char *s)
{
	const char **p =
		reallocarray(c->o->exports, c->o->n_exports + 1, sizeof(*p));

	if (!p)
		return fail(c, "out of memory");
	c->o->exports = p;
	p[c->o->n_exports++] = s;
	return 0;
}

static int
parse_listen(const struct ctx *c, const char *s)
{
	unsigned n = c->o->n_listen;
	char err[OPT_TEXT_MAX];
	int r;

	if (n == OPT_MAX_LISTENERS)
		return fail(c, "--%s %s: more than %d addresses", c->name, s,
			    OPT_MAX_LISTENERS);
	r = listen_addr_parse(s, &c->o->listen[n], OPT_MAX_LISTENERS - n, err,
			      sizeof(err));
	if (r < 0)
		return fail(c, "--%s %s: %s", c->name, s, err);
	c->o->n_listen += (unsigned)r;
	return 0;
}

/* ---------------------------------------------------------------- table */

struct option_row {
	const char *name;
	const char *arg; /* NULL: none */
	int (*parse)(const struct ctx *c, const char *value);
	const char *help;
};

static const struct option_row rows[] = {
	{"listen", "ADDRESS", parse_listen,
	 "accept clients at tcp:HOST[:PORT], or by RDMA at ip:ADDR[:PORT], "
	 "gid:GID[:PORT], dev:RDMA-DEVICE[:PORT]; repeatable "
	 "(" OPT_DEFAULT_LISTEN ")"},
	{"export", "NAME=SPEC", parse_export,
	 "offer PATH, file:PATH, memory:SIZE, null:SIZE or an NBD URI, "
	 "then [,ro]; "
	 "repeatable"},
	{"search-path", "DIR", parse_search_path,
	 "offer what is below DIR; %SESSNAME% is the client's session name"},
	{"queue-depth", "N", parse_queue_depth,
	 "requests under way per session (512)"},
	{"chunk-size", "BYTES", parse_chunk_size,
	 "largest request plus 4096; a power of two (128K)"},
	{"workers", "N", parse_workers, "I/O threads (CPUs, at most 4)"},
	{"busy-poll", "USEC", parse_busy_poll,
	 "stay awake this long after work (0)"},
	{"no-io-uring", NULL, parse_no_io_uring,
	 "do all I/O by threads and plain system calls"},
	{"always-invalidate", "yes|no", parse_always_invalidate,
	 "renew the key of a buffer with each request (no)"},
	{"max-sessions", "N", parse_max_sessions, "client sessions (1024)"},
	{"max-memory", "BYTES", parse_max_memory,
	 "buffers of all sessions; 0: no limit (half of the memory)"},
	{"heartbeat-interval", "MS", parse_hb_interval,
	 "how often to look after silent clients (5000)"},
	{"heartbeat-missed", "N", parse_hb_missed,
	 "missed heartbeats until a path is given up (5)"},
	{"control", "SOCKET", parse_control,
	 "answer rnbdctl on this unix socket"},
	{"foreground", NULL, parse_foreground,
	 "do not become a daemon; log to stderr"},
	{"pid-file", "FILE", parse_pid_file, "write the process id here"},
	{"log-level", "LEVEL", parse_log_level,
	 "error, warning, info or debug (info)"},
	{"log-target", "TARGET", parse_log_target,
	 "stderr, journal, syslog or auto (auto)"},
	{"sandbox", "yes|no", parse_sandbox,
	 "refuse itself what it never does, such as to start programs (yes)"},
	{"core-dumps", "yes|no", parse_core_dumps,
	 "allow core dumps and debuggers (no)"},
	{"version", NULL, NULL, "print the version"},
	{"help", NULL, NULL, "print this"},
};

#define N_ROWS ARRAY_SIZE(rows)

static void
print_help(FILE *out)
{
	fputs("Usage: rnbd-gatewayd [OPTION]...\n"
	      "RNBD server: offers files, block devices and memory to RNBD "
	      "clients.\n\n",
	      out);
	for (size_t i = 0; i < N_ROWS; i++) {
		char left[64];

		snprintf(left, sizeof(left), "--%s %s", rows[i].name,
			 rows[i].arg ? rows[i].arg : "");
		fprintf(out, "  %-28s %s\n", left, rows[i].help);
	}
	fputs("\nDefaults are in parentheses. See rnbd-gatewayd(8).\n", out);
}

/* Returns 0, 1 for --help and --version, or -1. */
static int
apply(struct ctx *c, const struct option_row *row, const char *value, FILE *out)
{
	c->name = row->name;
	if (row->parse)
		return row->parse(c, value);
	if (!strcmp(row->name, "help"))
		print_help(out);
	else
		fprintf(out, "rnbd-gatewayd %s\n", RNBD_VERSION);
	return 1;
}

static int
parse_argv(struct ctx *c, int argc, char **argv, FILE *out)
{
	struct option long_opts[N_ROWS + 1] = {0};
	int i, r;

	for (size_t n = 0; n < N_ROWS; n++) {
		long_opts[n].name = rows[n].name;
		long_opts[n].has_arg =
			rows[n].arg ? required_argument : no_argument;
	}
	optind = 0; /* glibc: start over */
	opterr = 0;
	while ((r = getopt_long(argc, argv, ":", long_opts, &i)) != -1) {
		/* With no option of one letter, optind - 1 is the culprit. */
		if (r == ':')
			return fail(c, "%s: a value is missing",
				    argv[optind - 1]);
		if (r == '?')
			return fail(c, "%s: unknown option; see --help",
				    argv[optind - 1]);
		r = apply(c, &rows[i], optarg, out);
		if (r)
			return r;
	}
	if (optind < argc)
		return fail(c, "%s: unexpected argument; see --help",
			    argv[optind]);
	return 0;
}

/* --------------------------------------------------------- combinations */

/* --max-memory was not given. */
#define MEMORY_BY_DEFAULT UINT64_MAX

static uint64_t
max_chunk_size(unsigned queue_depth)
{
	return UINT64_C(1) << rtrs_imm_mem_bits(queue_depth);
}

static int
check_combinations(struct ctx *c)
{
	struct options *o = c->o;
	uint64_t need;

	if (!o->n_exports && !o->search_path)
		return fail(c, "nothing to offer: give --export NAME=SPEC or "
			       "--search-path DIR");
	if (!rtrs_imm_sizes_ok(o->queue_depth, o->chunk_size))
		return fail(c,
			    "--chunk-size %" PRIu32
			    " is too large for --queue-depth %u: at most "
			    "%" PRIu64 "; lower one of them",
			    o->chunk_size, o->queue_depth,
			    max_chunk_size(o->queue_depth));
	if (o->log_target_given && o->log_target != LOG_TARGET_SYSLOG &&
	    !o->foreground)
		return fail(c, "--log-target: a daemon has no standard error; "
			       "give syslog, or --foreground too");
	need = (uint64_t)o->queue_depth * o->chunk_size;
	/*
	 * A peer can make us touch all of its buffers before it is anybody:
	 * by default together they leave half of the machine to others.
	 */
	if (o->max_memory == MEMORY_BY_DEFAULT) {
		o->max_memory = os_memory() / 2;
		if (o->max_memory < need)
			o->max_memory = need;
	}
	if (o->max_memory && o->max_memory < need)
		return fail(c,
			    "--max-memory %" PRIu64
			    " does not hold one session: %" PRIu64
			    " is the least for --queue-depth %u and "
			    "--chunk-size %" PRIu32,
			    o->max_memory, need, o->queue_depth, o->chunk_size);
	c->name = "listen";
	if (!o->n_listen)
		return parse_listen(c, OPT_DEFAULT_LISTEN);
	return 0;
}

enum options_result
options_parse(struct options *o, int argc, char **argv, FILE *out,
	      char err_text[OPT_TEXT_MAX])
{
	unsigned cpus = os_cpus();
	struct ctx c = {.o = o, .err = err_text};
	int r;

	*o = (struct options){
		.queue_depth = RTRS_SRV_QUEUE_DEPTH,
		.chunk_size = RTRS_SRV_CHUNK_SIZE,
		.workers = cpus < 4 ? cpus : 4,
		.max_sessions = 1024,
		.max_memory = MEMORY_BY_DEFAULT,
		.hb_interval_ms = RTRS_HB_INTERVAL_MS,
		.hb_missed_max = RTRS_HB_MISSED_MAX,
		.log_level = LOG_LVL_INFO,
		.sandbox = true,
	};
	err_text[0] = '\0';
	r = parse_argv(&c, argc, argv, out);
	if (!r)
		r = check_combinations(&c);
	if (!r)
		return OPTIONS_RUN;
	options_deinit(o);
	return r > 0 ? OPTIONS_DONE : OPTIONS_USAGE;
}

void
options_deinit(struct options *o)
{
	free(o->exports);
	o->exports = NULL;
	o->n_exports = 0;
}
