/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * session-bench: many sessions of one client process with one daemon, over tcp.
 *
 * What a session costs in memory, in both processes: connected and idle, and
 * after it had its whole queue under way. And what idle sessions cost the one
 * that works: its IOPS alone and among all the others, in turns, and the ratio.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nbdkit-plugin/resolve.h"
#include "nbdkit-plugin/rnbd-clt.h"

#define MAX_DEPTH    512
#define MAX_SESSIONS 1000
#define MAX_ROUNDS   99
#define BLOCK        4096
/* The largest request of the daemon's default chunks. */
#define LARGE_BLOCK  (128 * 1024 - 4096)

struct session;

struct slot {
	struct rnbd_clt_io io;
	struct session *s;
};

struct session {
	struct rnbd_clt *clt;
	struct rnbd_clt_dev *dev;
	struct slot *slots;
	unsigned running, left; /* I/Os out; to be started yet */
	uint64_t done;
	bool stop;
};

/* Sessions that one thread drives. */
struct group {
	struct session *s;
	unsigned n;
	int epfd, stop_fd;
};

static struct {
	const char *gatewayd;
	unsigned sessions, depth, rounds;
	double seconds;
	pid_t daemon;
	struct rtrs_path_addr addr;
	char *buf;
	uint64_t size, random;
} b = {
	.gatewayd = RNBD_GATEWAYD,
	.sessions = 200,
	.depth = 64,
	.rounds = 5,
	.seconds = 1,
	.random = 88172645463325252ull,
};

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	fputs("session-bench: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (b.daemon > 0)
		kill(b.daemon, SIGKILL);
	exit(1);
}

static uint64_t
now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static void
fill_random(void *user, void *buf, size_t len)
{
	if (getrandom(buf, len, 0) != (ssize_t)len)
		abort();
}

static void
log_line(void *user, enum log_level level, const char *line)
{
	fprintf(stderr, "session-bench: %s: %s\n", log_level_name(level), line);
}

static const struct log bench_log = {.sink = log_line,
				     .threshold = LOG_LVL_WARNING};

/* Resident memory of a process in KiB. */
static uint64_t
rss_of(pid_t pid)
{
	char path[64], line[128];
	uint64_t kib = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	f = fopen(path, "re");
	if (!f)
		die("%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "VmRSS: %" SCNu64, &kib) == 1)
			break;
	fclose(f);
	return kib;
}

/* ------------------------------------------------------------- the loop */

static void
group_init(struct group *g, struct session *s, unsigned n)
{
	struct epoll_event ev = {.events = EPOLLIN};
	int fd;

	g->s = s;
	g->n = n;
	g->epfd = epoll_create1(EPOLL_CLOEXEC);
	g->stop_fd = eventfd(0, EFD_CLOEXEC);
	if (g->epfd < 0 || g->stop_fd < 0)
		die("no descriptors: %s", strerror(errno));
	if (epoll_ctl(g->epfd, EPOLL_CTL_ADD, g->stop_fd, &ev) < 0)
		die("epoll: %s", strerror(errno));
	for (unsigned i = 0; i < n; i++) {
		ev.data.ptr = &s[i];
		if (rnbd_clt_fds(s[i].clt, &fd, 1) != 1 ||
		    epoll_ctl(g->epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
			die("session %u cannot be watched", i);
	}
}

static void
group_deinit(struct group *g)
{
	close(g->epfd);
	close(g->stop_fd);
}

/* Progress until there is nothing left but to wait. */
static void
drive(struct session *s)
{
	do
		rnbd_clt_progress(s->clt, now_ns());
	while (rnbd_clt_arm(s->clt));
}

/* One turn: waits for what comes next, and does it. False: told to stop. */
static bool
turn(struct group *g)
{
	uint64_t now = now_ns(), due = now + NSEC_PER_SEC;
	struct epoll_event ev[64];
	int n, ms;

	/* A session alone is the one that is measured: no search for it. */
	for (unsigned i = 0; i < g->n; i++)
		due = time_min(due, rnbd_clt_deadline(g->s[i].clt));
	ms = due > now ? (int)((due - now) / NSEC_PER_MSEC) + 1 : 0;
	n = epoll_wait(g->epfd, ev, 64, ms);
	for (int i = 0; i < n; i++) {
		if (!ev[i].data.ptr)
			return false;
		drive(ev[i].data.ptr);
	}
	now = now_ns();
	for (unsigned i = 0; i < g->n && now >= due; i++)
		if (rnbd_clt_deadline(g->s[i].clt) <= now)
			drive(&g->s[i]);
	return true;
}

static void *
idle_thread(void *arg)
{
	struct group *g = arg;

	for (unsigned i = 0; i < g->n; i++)
		drive(&g->s[i]);
	while (turn(g))
		;
	return NULL;
}

/* ------------------------------------------------------------- sessions */

static void
opened(void *user, struct rnbd_clt_dev *dev, int err, const char *text)
{
	struct session *s = user;

	if (err)
		die("open: %s", text);
	s->dev = dev;
}

/* Brings sessions up, all at once. */
static void
connect_all(struct session *s, unsigned n, unsigned first)
{
	struct group g;
	char name[32], export[32];

	for (unsigned i = 0; i < n; i++) {
		struct rnbd_clt_params p = {
			.trust_write_zeroes = true,
			.open_timeout_ms = 60000,
			.rtrs =
				{
					.name = name,
					.paths = &b.addr,
					.n_paths = 1,
					.n_cons = 2,
					.rng = {.fill = fill_random},
					.log = &bench_log,
					.now = now_ns(),
				},
		};

		snprintf(name, sizeof(name), "session%u", first + i);
		snprintf(export, sizeof(export), "null%u", first + i);
		s[i] = (struct session){0};
		s[i].slots = calloc(b.depth, sizeof(*s[i].slots));
		if (!s[i].slots || rnbd_clt_new(&p, &s[i].clt) < 0 ||
		    rnbd_clt_dev_open(s[i].clt, export, RNBD_ACCESS_RW, opened,
				      &s[i]) < 0)
			die("session %u cannot be made", i);
	}
	group_init(&g, s, n);
	for (unsigned i = 0; i < n; i++) {
		drive(&s[i]);
		while (!s[i].dev)
			turn(&g);
	}
	group_deinit(&g);
}

static void
disconnect_all(struct session *s, unsigned n)
{
	struct group g;

	group_init(&g, s, n);
	for (unsigned i = 0; i < n; i++) {
		rnbd_clt_close(s[i].clt);
		drive(&s[i]);
	}
	for (unsigned i = 0; i < n; i++)
		while (!rnbd_clt_closed(s[i].clt))
			turn(&g);
	for (unsigned i = 0; i < n; i++) {
		rnbd_clt_free(s[i].clt);
		free(s[i].slots);
	}
	group_deinit(&g);
}

/* ------------------------------------------------------------------ I/O */

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct slot *slot = container_of(io, struct slot, io);
	struct session *s = slot->s;

	if (err)
		die("an I/O failed: %s", strerror(-err));
	s->done++;
	if (s->stop || !s->left) {
		s->running--;
		return;
	}
	s->left--;
	b.random ^= b.random << 13;
	b.random ^= b.random >> 7;
	b.random ^= b.random << 17;
	io->off = b.random % (b.size / io->len) * io->len;
	rnbd_clt_submit(io);
}

/* Starts the whole queue; count is how many I/Os follow it. */
static void
fill_queue(struct session *s, unsigned count, uint32_t block)
{
	s->stop = false;
	s->left = count;
	s->done = 0;
	for (unsigned i = 0; i < b.depth; i++) {
		struct slot *slot = &s->slots[i];

		slot->s = s;
		slot->io = (struct rnbd_clt_io){
			.dev = s->dev,
			.op = RNBD_CLT_WRITE,
			.len = block,
			.off = (uint64_t)i * block,
			.buf = b.buf,
			.done = io_done,
		};
		s->running++;
		rnbd_clt_submit(&slot->io);
	}
	drive(s);
}

/* Each session has its whole queue under way, at the same time. */
static void
use_all(struct session *s, unsigned n, uint32_t block)
{
	struct group g;

	group_init(&g, s, n);
	for (unsigned i = 0; i < n; i++)
		fill_queue(&s[i], 0, block);
	for (unsigned i = 0; i < n; i++)
		while (s[i].running)
			turn(&g);
	group_deinit(&g);
}

/* CPU time of the daemon so far, in us. */
static double
cpu_of_daemon(void)
{
	struct timespec t;
	clockid_t clock;

	if (clock_getcpuclockid(b.daemon, &clock) || clock_gettime(clock, &t))
		die("the daemon's CPU time cannot be read");
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

struct speed {
	double iops, cpu_us; /* together; of the daemon for each I/O */
};

static struct speed
measure_speed(struct session *s, unsigned n)
{
	uint64_t start, end, total = 0;
	double elapsed, cpu;
	struct group g;

	group_init(&g, s, n);
	cpu = cpu_of_daemon();
	start = now_ns();
	end = start + (uint64_t)(b.seconds * 1e9);
	for (unsigned i = 0; i < n; i++)
		fill_queue(&s[i], UINT32_MAX, BLOCK);
	while (now_ns() < end)
		turn(&g);
	for (unsigned i = 0; i < n; i++)
		total += s[i].done;
	elapsed = (double)(now_ns() - start) / 1e9;
	cpu = cpu_of_daemon() - cpu;
	for (unsigned i = 0; i < n; i++)
		s[i].stop = true;
	for (unsigned i = 0; i < n; i++)
		while (s[i].running)
			turn(&g);
	group_deinit(&g);
	return (struct speed){(double)total / elapsed, cpu / (double)total};
}

/* ------------------------------------------------------------- measures */

static void
report_memory(const char *what, uint64_t daemon0, uint64_t self0)
{
	uint64_t daemon = rss_of(b.daemon) - daemon0;
	uint64_t self = rss_of(getpid()) - self0;

	printf("memory per session, %-38s daemon %6" PRIu64
	       " KiB, client %6" PRIu64 " KiB\n",
	       what, daemon / b.sessions, self / b.sessions);
	fflush(stdout);
}

static void
measure_memory(struct session *s)
{
	uint64_t daemon0 = rss_of(b.daemon), self0 = rss_of(getpid()), start;
	char what[64];

	start = now_ns();
	connect_all(s, b.sessions, 0);
	printf("%u sessions are up in %.2f s\n", b.sessions,
	       (double)(now_ns() - start) / 1e9);
	report_memory("idle:", daemon0, self0);
	use_all(s, b.sessions, BLOCK);
	snprintf(what, sizeof(what), "after %u x %u bytes at once:", b.depth,
		 BLOCK);
	report_memory(what, daemon0, self0);
	use_all(s, b.sessions, LARGE_BLOCK);
	snprintf(what, sizeof(what), "after %u x %u bytes at once:", b.depth,
		 LARGE_BLOCK);
	report_memory(what, daemon0, self0);
	printf("all of them at depth %u, %u bytes: %.0f IOPS\n", b.depth, BLOCK,
	       measure_speed(s, b.sessions).iops);
	disconnect_all(s, b.sessions);
}

static int
by_value(const void *x, const void *y)
{
	double p = *(const double *)x, q = *(const double *)y;

	return (p > q) - (p < q);
}

static double
median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* On a machine with other work, CPU time says more than IOPS. */
static void
measure_idle_others(struct session *s)
{
	double iops[MAX_ROUNDS], cpu[MAX_ROUNDS];
	const uint64_t one = 1;

	connect_all(s, 1, 0);
	(void)measure_speed(s, 1); /* warm */
	for (unsigned i = 0; i < b.rounds; i++) {
		struct group others;
		struct speed alone, among;
		pthread_t thread;

		alone = measure_speed(s, 1);
		connect_all(s + 1, b.sessions - 1, 1);
		group_init(&others, s + 1, b.sessions - 1);
		if (pthread_create(&thread, NULL, idle_thread, &others))
			die("no thread");
		among = measure_speed(s, 1);
		if (write(others.stop_fd, &one, sizeof(one)) < 0)
			die("eventfd: %s", strerror(errno));
		pthread_join(thread, NULL);
		group_deinit(&others);
		disconnect_all(s + 1, b.sessions - 1);
		iops[i] = among.iops / alone.iops;
		cpu[i] = among.cpu_us / alone.cpu_us;
		printf("round %2u: alone %7.0f IOPS, %5.2f us of daemon CPU; "
		       "among %u idle %7.0f IOPS, %5.2f us; "
		       "ratios %.3f, %.3f\n",
		       i + 1, alone.iops, alone.cpu_us, b.sessions - 1,
		       among.iops, among.cpu_us, iops[i], cpu[i]);
		fflush(stdout);
	}
	disconnect_all(s, 1);
	printf("among %u idle to alone, medians of %u rounds: IOPS %.3f, CPU "
	       "per I/O %.3f\n",
	       b.sessions - 1, b.rounds, median(iops, b.rounds),
	       median(cpu, b.rounds));
}

/* ---------------------------------------------------------------- start */

/* With an export for each session: a device is written by one at a time. */
static void
exec_daemon(void)
{
	static char text[MAX_SESSIONS][32], depth[16];
	static const char *argv[2 * MAX_SESSIONS + 16];
	unsigned n = 0;

	snprintf(depth, sizeof(depth), "%u", b.depth);
	argv[n++] = b.gatewayd;
	argv[n++] = "--foreground";
	argv[n++] = "--listen=tcp:127.0.0.1:0";
	argv[n++] = "--max-memory=0";
	argv[n++] = "--log-level=warning";
	argv[n++] = "--queue-depth";
	argv[n++] = depth;
	for (unsigned i = 0; i < b.sessions; i++) {
		snprintf(text[i], sizeof(text[i]), "null%u=null:1G", i);
		argv[n++] = "--export";
		argv[n++] = text[i];
	}
	execv(b.gatewayd, (char *const *)(uintptr_t)argv);
}

static void
start_daemon(void)
{
	char line[128] = "", why[256] = "";
	struct path_spec spec;
	int out[2];
	FILE *f;

	if (pipe(out) < 0)
		die("pipe: %s", strerror(errno));
	b.daemon = fork();
	if (b.daemon < 0)
		die("fork: %s", strerror(errno));
	if (!b.daemon) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		exec_daemon();
		_exit(127);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	if (!f || !fgets(line, sizeof(line), f) ||
	    strncmp(line, "listening on ", 13))
		die("the daemon %s did not come up", b.gatewayd);
	fclose(f);
	line[strcspn(line, "\n")] = '\0';
	if (path_parse(line + 13, RTRS_DEFAULT_PORT, &spec, why, sizeof(why)) <
		    0 ||
	    path_resolve(&spec, 0, &b.addr, why, sizeof(why)) < 0)
		die("%s: %s", line + 13, why);
}

static void
stop_daemon(void)
{
	int status;

	kill(b.daemon, SIGTERM);
	if (waitpid(b.daemon, &status, 0) != b.daemon || !WIFEXITED(status) ||
	    WEXITSTATUS(status))
		die("the daemon did not end well");
}

static const char help[] =
	"usage: session-bench [OPTIONS]\n"
	"  --gatewayd PROGRAM  the daemon to start (default: beside this "
	"tree)\n"
	"  --sessions N        together, at least 2 (200)\n"
	"  --depth N           I/Os of a session at once (64)\n"
	"  --rounds N          alone and among the others (5)\n"
	"  --seconds S         of each measurement (1)\n";

static unsigned
number(const char *name, const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long v = strtoul(text, &end, 10);

	if (*end || v < min || v > max) {
		fprintf(stderr,
			"session-bench: --%s %s: give a number from %u to %u\n",
			name, text, min, max);
		exit(2);
	}
	return (unsigned)v;
}

static void
parse_args(int argc, char **argv)
{
	static const struct option options[] = {
		{"gatewayd", required_argument, NULL, 'g'},
		{"sessions", required_argument, NULL, 'n'},
		{"depth", required_argument, NULL, 'd'},
		{"rounds", required_argument, NULL, 'r'},
		{"seconds", required_argument, NULL, 's'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'g':
			b.gatewayd = optarg;
			break;
		case 'n':
			b.sessions =
				number("sessions", optarg, 2, MAX_SESSIONS);
			break;
		case 'd':
			b.depth = number("depth", optarg, 1, MAX_DEPTH);
			break;
		case 'r':
			b.rounds = number("rounds", optarg, 1, MAX_ROUNDS);
			break;
		case 's':
			b.seconds = strtod(optarg, NULL);
			break;
		case 'h':
			fputs(help, stdout);
			exit(0);
		default:
			fputs(help, stderr);
			exit(2);
		}
}

int
main(int argc, char **argv)
{
	static struct session s[MAX_SESSIONS];
	struct rlimit rl;

	parse_args(argc, argv);
	signal(SIGPIPE, SIG_IGN);
	if (!getrlimit(RLIMIT_NOFILE, &rl)) {
		rl.rlim_cur = rl.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &rl);
	}
	b.size = UINT64_C(1) << 30;
	b.buf = calloc(1, LARGE_BLOCK);
	if (!b.buf)
		die("no memory");
	start_daemon();
	measure_memory(s);
	measure_idle_others(s);
	stop_daemon();
	free(b.buf);
	return 0;
}
