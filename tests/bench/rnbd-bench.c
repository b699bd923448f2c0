/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rnbd-bench: the client library against a server, without the NBD hop.
 *
 * Starts a daemon on loopback, or uses a server that runs (--path: ours or the
 * kernel's, over tcp or RDMA), drives it from one thread at a constant depth
 * and prints a row for each combination of device, direction, block size and
 * depth: IOPS, MB/s, latency percentiles, and CPU time per I/O of the client,
 * of the daemon if its process is known, and of the whole machine.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include "nbdkit-plugin/resolve.h"
#include "nbdkit-plugin/rnbd-clt.h"

#define MAX_DEPTH 256
#define MAX_BLOCK (1024 * 1024)
#define MAX_LOADS 32

struct load {
	enum rnbd_clt_op op;
	uint32_t block;
	unsigned depth;
};

/*
 * Latencies in buckets of at most 1/32 relative width: 32 linear steps within
 * each power of two of nanoseconds.
 */
#define SUB_BITS 5
struct hist {
	uint64_t n[64 << SUB_BITS];
	uint64_t total;
};

static unsigned
hist_index(uint64_t ns)
{
	unsigned log2;

	if (ns < 1u << SUB_BITS)
		return (unsigned)ns;
	log2 = 63 - (unsigned)__builtin_clzll(ns);
	return ((log2 - SUB_BITS + 1) << SUB_BITS) +
	       (unsigned)((ns >> (log2 - SUB_BITS)) & ((1u << SUB_BITS) - 1));
}

static uint64_t
hist_value(unsigned i)
{
	unsigned group = i >> SUB_BITS, sub = i & ((1u << SUB_BITS) - 1);

	if (!group)
		return sub;
	return (uint64_t)((1u << SUB_BITS) + sub) << (group - 1);
}

static double
hist_percentile_us(const struct hist *h, double p)
{
	uint64_t want = (uint64_t)((double)h->total * p), seen = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(h->n); i++) {
		seen += h->n[i];
		if (seen > want)
			return (double)hist_value(i) / 1e3;
	}
	return 0;
}

struct slot {
	struct rnbd_clt_io io;
	struct bench *b;
	uint64_t started;
};

struct bench {
	struct rnbd_clt *clt;
	struct rnbd_clt_dev *dev;
	int open_err;
	bool open_done, closed;
	char *bufs;
	struct slot slots[MAX_DEPTH];
	unsigned running;
	bool stop;
	uint64_t done, errors;
	uint64_t random;
	uint64_t size;
	uint32_t block;
	enum rnbd_clt_op op;
	struct hist hist;
	double seconds; /* of a load */
	pid_t server;   /* 0: not known */
	struct load loads[MAX_LOADS];
	unsigned n_loads;
};

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
	(void)user;
	if (getrandom(buf, len, 0) != (ssize_t)len)
		abort();
}

static void
log_line(void *user, enum log_level level, const char *line)
{
	(void)user;
	fprintf(stderr, "rnbd-bench: %s: %s\n", log_level_name(level), line);
}

static const struct log bench_log = {.sink = log_line,
				     .threshold = LOG_LVL_WARNING};

/* One turn of the loop: wait for what comes next, do it. */
static void
turn(struct bench *b)
{
	struct pollfd pfd = {.events = POLLIN};
	uint64_t now = now_ns(), deadline;

	if (!rnbd_clt_arm(b->clt)) {
		deadline = rnbd_clt_deadline(b->clt);
		if (deadline > now) {
			struct timespec ts;
			uint64_t left = deadline - now;

			if (left > 10 * NSEC_PER_SEC)
				left = 10 * NSEC_PER_SEC;
			ts.tv_sec = (time_t)(left / NSEC_PER_SEC);
			ts.tv_nsec = (long)(left % NSEC_PER_SEC);
			if (rnbd_clt_fds(b->clt, &pfd.fd, 1) == 1)
				ppoll(&pfd, 1, &ts, NULL);
		}
	}
	rnbd_clt_progress(b->clt, now_ns());
}

static void io_start(struct slot *s);

static void
io_done(struct rnbd_clt_io *io, int err)
{
	struct slot *s = container_of(io, struct slot, io);
	struct bench *b = s->b;
	uint64_t ns = now_ns() - s->started;

	b->hist.n[hist_index(ns)]++;
	b->hist.total++;
	b->done++;
	if (err)
		b->errors++;
	b->running--;
	if (!b->stop)
		io_start(s);
}

static void
io_start(struct slot *s)
{
	struct bench *b = s->b;
	uint64_t x = b->random;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	b->random = x;
	s->io.dev = b->dev;
	s->io.op = b->op;
	s->io.off = x % (b->size / b->block) * b->block;
	s->io.len = b->block;
	s->io.done = io_done;
	s->started = now_ns();
	b->running++;
	rnbd_clt_submit(&s->io);
}

static double
cpu_of_self(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

/* CPU time of another process in us: its clock, as the kernel keeps it. */
static double
cpu_of(pid_t pid)
{
	struct timespec t;
	clockid_t clock;

	if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 ||
	    clock_gettime(clock, &t) != 0)
		return 0;
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/*
 * Time that the CPUs of this machine idled so far, in us: with what the kernel
 * does in threads and interrupts of its own, the rest is the whole cost.
 */
static double
idle_of_all(void)
{
	unsigned long long idle = 0, iowait = 0;
	FILE *f = fopen("/proc/stat", "re");

	if (!f || fscanf(f, "cpu %*u %*u %*u %llu %llu", &idle, &iowait) != 2) {
		fprintf(stderr, "rnbd-bench: cannot read /proc/stat\n");
		exit(1);
	}
	fclose(f);
	return (double)(idle + iowait) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

static void
run_load(struct bench *b, const char *what, const struct load *l)
{
	double client, server, all, elapsed;
	unsigned depth = l->depth;
	uint64_t start, end;

	b->op = l->op;
	b->block = l->block;
	memset(&b->hist, 0, sizeof(b->hist));
	b->done = b->errors = 0;
	b->stop = false;
	client = cpu_of_self();
	server = cpu_of(b->server);
	all = idle_of_all();
	start = now_ns();
	end = start + (uint64_t)(b->seconds * 1e9);
	for (unsigned i = 0; i < depth; i++) {
		b->slots[i].b = b;
		b->slots[i].io.buf = b->bufs + (size_t)i * b->block;
		b->slots[i].io.con_hint = 0;
		io_start(&b->slots[i]);
	}
	while (now_ns() < end)
		turn(b);
	b->stop = true;
	while (b->running)
		turn(b);
	elapsed = (double)(now_ns() - start) / 1e9;
	client = cpu_of_self() - client;
	server = cpu_of(b->server) - server;
	all = elapsed * 1e6 * (double)sysconf(_SC_NPROCESSORS_ONLN) -
	      (idle_of_all() - all);
	printf("%-7s %-5s %6u %5u %9.0f %8.1f %9.1f %9.1f %8.2f %8.2f %8.2f\n",
	       what, b->op == RNBD_CLT_READ ? "read" : "write", b->block, depth,
	       (double)b->done / elapsed,
	       (double)b->done * b->block / elapsed / 1e6,
	       hist_percentile_us(&b->hist, .5),
	       hist_percentile_us(&b->hist, .99), client / (double)b->done,
	       server / (double)b->done, all / (double)b->done);
	fflush(stdout);
	if (b->errors) {
		fprintf(stderr, "rnbd-bench: %" PRIu64 " I/Os failed\n",
			b->errors);
		exit(1);
	}
}

static void
opened(void *user, struct rnbd_clt_dev *dev, int err, const char *text)
{
	struct bench *b = user;

	b->dev = dev;
	b->open_err = err;
	b->open_done = true;
	if (err)
		fprintf(stderr, "rnbd-bench: %s\n", text);
}

static void
set_closed(void *user)
{
	*(bool *)user = true;
}

static void
run_device(struct bench *b, const char *name)
{
	struct rnbd_clt_geometry g;
	int r;

	b->open_done = b->closed = false;
	r = rnbd_clt_dev_open(b->clt, name, RNBD_ACCESS_RW, opened, b);
	if (r < 0) {
		fprintf(stderr, "rnbd-bench: open: %s\n", strerror(-r));
		exit(1);
	}
	while (!b->open_done)
		turn(b);
	if (b->open_err)
		exit(1);
	rnbd_clt_dev_geometry(b->dev, &g);
	b->size = g.size_bytes;
	for (unsigned i = 0; i < b->n_loads; i++) {
		if (b->loads[i].block > b->size) {
			fprintf(stderr,
				"rnbd-bench: '%s' has %" PRIu64
				" bytes, no room for a block of %u\n",
				name, b->size, b->loads[i].block);
			exit(1);
		}
		run_load(b, name, &b->loads[i]);
	}
	rnbd_clt_dev_close(b->dev, set_closed, &b->closed);
	while (!b->closed)
		turn(b);
}

/* Starts a daemon with the exports "null" and "memory"; gives its port. */
static pid_t
start_daemon(const char *gatewayd, unsigned *ret_port)
{
	char line[128] = "";
	int out[2];
	pid_t pid;
	FILE *f;

	if (pipe(out) < 0)
		exit(1);
	pid = fork();
	if (pid < 0)
		exit(1);
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		close(out[0]);
		close(out[1]);
		execl(gatewayd, gatewayd, "--foreground", "--listen",
		      "tcp:127.0.0.1:0", "--export", "null=null:1G", "--export",
		      "memory=memory:256M", (char *)NULL);
		fprintf(stderr, "rnbd-bench: cannot start %s: %s\n", gatewayd,
			strerror(errno));
		_exit(127);
	}
	close(out[1]);
	f = fdopen(out[0], "r");
	if (!f || !fgets(line, sizeof(line), f) ||
	    sscanf(line, "listening on tcp:127.0.0.1:%u", ret_port) != 1) {
		fprintf(stderr, "rnbd-bench: the daemon did not come up\n");
		exit(1);
	}
	fclose(f);
	return pid;
}

/* OP:BYTES:DEPTH */
static void
add_load(struct bench *b, const char *text)
{
	struct load l;
	char op[8];
	int end = 0;

	if (sscanf(text, "%7[a-z]:%u:%u%n", op, &l.block, &l.depth, &end) !=
		    3 ||
	    text[end] || (strcmp(op, "read") && strcmp(op, "write")) ||
	    !l.block || l.block % 4096 || l.block > MAX_BLOCK || !l.depth ||
	    l.depth > MAX_DEPTH || b->n_loads == MAX_LOADS) {
		fprintf(stderr,
			"rnbd-bench: --load %s: needs read or write, bytes (a "
			"multiple of 4096, at most %u) and a depth (at most "
			"%u), as in read:4096:16; at most %u times\n",
			text, MAX_BLOCK, MAX_DEPTH, MAX_LOADS);
		exit(2);
	}
	l.op = op[0] == 'w' ? RNBD_CLT_WRITE : RNBD_CLT_READ;
	b->loads[b->n_loads++] = l;
}

static void
default_loads(struct bench *b)
{
	static const char *const loads[] = {
		"read:4096:1",    "read:4096:16",    "read:4096:64",
		"read:126976:1",  "read:126976:16",  "read:126976:64",
		"write:4096:1",   "write:4096:16",   "write:4096:64",
		"write:126976:1", "write:126976:16", "write:126976:64",
	};

	if (b->n_loads)
		return;
	for (unsigned i = 0; i < ARRAY_SIZE(loads); i++)
		add_load(b, loads[i]);
}

/* For the largest load, touched. */
static char *
buffers(const struct bench *b)
{
	size_t size = 0;
	void *p;

	for (unsigned i = 0; i < b->n_loads; i++) {
		size_t n = (size_t)b->loads[i].block * b->loads[i].depth;

		size = n > size ? n : size;
	}
	if (posix_memalign(&p, 4096, size)) {
		fprintf(stderr, "rnbd-bench: no memory for %zu bytes\n", size);
		exit(1);
	}
	memset(p, 0x5a, size);
	return p;
}

static void
resolve(const char *text, struct rtrs_path_addr *ret)
{
	struct path_spec spec;
	char why[256] = "";

	if (path_parse(text, RTRS_DEFAULT_PORT, &spec, why, sizeof(why)) < 0 ||
	    path_resolve(&spec, 0, ret, why, sizeof(why)) < 0) {
		fprintf(stderr, "rnbd-bench: --path %s: %s\n", text, why);
		exit(1);
	}
}

static const char help[] =
	"usage: rnbd-bench [OPTIONS]\n"
	"  --gatewayd PROGRAM  the daemon to start (default: beside this "
	"tree)\n"
	"  --path PATH         no daemon: the server that runs there (as the "
	"plugin's path=)\n"
	"  --server-pid PID    the process of that server, for its CPU time\n"
	"  --session NAME      session name (bench)\n"
	"  --seconds S         for each row (default 1)\n"
	"  --connections N     per path, the service connection included (2)\n"
	"  --device NAME       only this export (null and memory)\n"
	"  --load OP:BYTES:DEPTH  only this load, as in read:4096:16; may be "
	"repeated\n";

struct args {
	const char *gatewayd, *device, *path, *session;
	unsigned cons;
};

static void
parse_args(int argc, char **argv, struct bench *b, struct args *a)
{
	static const struct option options[] = {
		{"gatewayd", required_argument, NULL, 'g'},
		{"path", required_argument, NULL, 'p'},
		{"server-pid", required_argument, NULL, 'P'},
		{"session", required_argument, NULL, 'n'},
		{"seconds", required_argument, NULL, 's'},
		{"connections", required_argument, NULL, 'c'},
		{"device", required_argument, NULL, 'd'},
		{"load", required_argument, NULL, 'l'},
		{"help", no_argument, NULL, 'h'},
		{NULL, 0, NULL, 0},
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		switch (c) {
		case 'g':
			a->gatewayd = optarg;
			break;
		case 'p':
			a->path = optarg;
			break;
		case 'P':
			b->server = (pid_t)strtol(optarg, NULL, 10);
			break;
		case 'n':
			a->session = optarg;
			break;
		case 's':
			b->seconds = strtod(optarg, NULL);
			break;
		case 'c':
			a->cons = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			a->device = optarg;
			break;
		case 'l':
			add_load(b, optarg);
			break;
		case 'h':
			fputs(help, stdout);
			exit(0);
		default:
			fputs(help, stderr);
			exit(2);
		}
	if (a->path && !a->device) {
		fprintf(stderr, "rnbd-bench: --path needs --device\n");
		exit(2);
	}
	default_loads(b);
}

int
main(int argc, char **argv)
{
	static struct bench b = {.random = 88172645463325252ull, .seconds = 1};
	struct args a = {
		.gatewayd = RNBD_GATEWAYD, .session = "bench", .cons = 2};
	struct rtrs_path_addr addr;
	struct rnbd_clt_params p = {.trust_write_zeroes = true,
				    .open_timeout_ms = 10000};
	unsigned port;
	char own[64];
	pid_t pid = 0;
	int r;

	parse_args(argc, argv, &b, &a);
	signal(SIGPIPE, SIG_IGN);
	if (!a.path) {
		b.server = pid = start_daemon(a.gatewayd, &port);
		snprintf(own, sizeof(own), "tcp:127.0.0.1:%u", port);
		a.path = own;
	}
	resolve(a.path, &addr);
	p.rtrs = (struct rtrs_clt_params){
		.name = a.session,
		.paths = &addr,
		.n_paths = 1,
		.policy = RTRS_MP_MIN_INFLIGHT,
		.n_cons = a.cons,
		.rng = {.fill = fill_random},
		.log = &bench_log,
		.now = now_ns(),
		.max_reconnect_attempts = 0,
	};
	b.bufs = buffers(&b);
	r = rnbd_clt_new(&p, &b.clt);
	if (r < 0) {
		fprintf(stderr, "rnbd-bench: %s\n", strerror(-r));
		return 1;
	}
	printf("%-7s %-5s %6s %5s %9s %8s %9s %9s %8s %8s %8s\n", "backend",
	       "op", "bytes", "depth", "IOPS", "MB/s", "p50 us", "p99 us",
	       "clt us", "srv us", "all us");
	if (a.device) {
		run_device(&b, a.device);
	} else {
		run_device(&b, "null");
		run_device(&b, "memory");
	}
	rnbd_clt_close(b.clt);
	while (!rnbd_clt_closed(b.clt))
		turn(&b);
	rnbd_clt_free(b.clt);
	free(b.bufs);
	if (!pid)
		return 0;
	kill(pid, SIGTERM);
	if (waitpid(pid, &r, 0) != pid || !WIFEXITED(r) || WEXITSTATUS(r)) {
		fprintf(stderr, "rnbd-bench: the daemon did not end well\n");
		return 1;
	}
	return 0;
}
