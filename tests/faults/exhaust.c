/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The whole daemon and the plugin's session in one process, over loopback, with
 * calls that fail: the n-th of a kind, for n from 1 until none fails any more.
 * Each round starts a daemon, opens devices, does I/O, loses its connections,
 * gets them back, asks the control socket, closes and ends. Whatever failed is
 * tried again and must work then; at the end of a round nothing may be left:
 * memory of the tree's code, mappings, descriptors.
 */
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/lsan_interface.h>
#endif

#include "gateway/cmdline.h"
#include "gateway/config.h"
#include "gateway/daemon.h"
#include "nbdkit-plugin/params.h"
#include "nbdkit-plugin/progress.h"
#include "nbdkit-plugin/waiter.h"
#include "tests/faults/fault.h"

/* What takes longer hangs. */
#define ROUND_SECONDS 60
/* So many findings are enough for a run. */
#define MAX_BAD       10
/* A failure may spoil several tries in a row, by what it left in its wake. */
#define TRIES         6
#define BLOCK         (64u << 10)
#define BIG           (512u << 10) /* several requests at once */
#define DISK_BYTES    (1u << 20)

struct orders {
	unsigned kinds;
	enum fault_mode mode;
	unsigned long width, from, to, step;
	bool pool; /* no io_uring */
	bool verbose;
};

static struct orders opt = {.width = 1, .from = 1, .step = 1};
static char dir[] = "/tmp/rnbd-exhaust-XXXXXX";
static char control_path[64], disk_path[64], config_path[64];
static unsigned long round_no;
static unsigned metrics_port; /* as the log says */

/* --- what went wrong */

static void __attribute__((noreturn, format(printf, 1, 2)))
die(const char *fmt, ...)
{
	va_list ap;

	fault_pause();
	printf("FAILED: call %lu (%s), width %lu: ", round_no, fault_where(),
	       opt.width);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nreplay: --from %lu --to %lu and the same other options\n",
	       round_no, round_no);
	fflush(stdout);
	_exit(1);
}

static void
on_alarm(int sig)
{
	static const char text[] =
		"FAILED: a round hangs; a core tells where\n";

	if (write(STDOUT_FILENO, text, sizeof(text) - 1) > 0)
		abort();
}

/* --- log of both sides */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_error[512];

static void
sink(void *user, enum log_level level, const char *line)
{
	if (opt.verbose)
		fprintf(stderr, "%s: %s: %s\n", (const char *)user,
			log_level_name(level), line);
	(void)sscanf(line, "metrics at http://127.0.0.1:%u/", &metrics_port);
	if (level != LOG_LVL_ERROR)
		return;
	if (strstr(line, "(null)") || strchr(line, '\n'))
		die("a bad line: %s", line);
	pthread_mutex_lock(&log_lock);
	snprintf(last_error, sizeof(last_error), "%s", line);
	pthread_mutex_unlock(&log_lock);
}

static char daemon_name[] = "daemon", client_name[] = "client";
static struct log daemon_log = {
	.sink = sink, .user = daemon_name, .threshold = LOG_LVL_INFO};
static struct log client_log = {
	.sink = sink, .user = client_name, .threshold = LOG_LVL_INFO};

/* --- the daemon */

struct server {
	struct cmdline cl;
	struct gw_config config;
	struct daemon *d;
	pthread_t thread;
	char addr[64];
};

static int
server_try(struct server *s)
{
	const char *argv[] = {"exhaust", "--config", config_path, NULL};
	int argc = 3, r;
	char text[OPT_TEXT_MAX] = "", line[128] = "";
	FILE *out;

	fault_pause();
	out = tmpfile();
	fault_resume();
	last_error[0] = '\0';
	r = cmdline_parse(&s->cl, argc, (char **)(uintptr_t)argv, out, text);
	if (r != CMDLINE_RUN) {
		if (!*text)
			die("the command line is refused without a word");
		fclose(out);
		return -EINVAL;
	}
	r = gw_config_load(&s->cl, NULL, &s->config, text);
	if (r) {
		if (!*text)
			die("the configuration is refused without a word");
		snprintf(last_error, sizeof(last_error), "%s", text);
		cmdline_deinit(&s->cl);
		fclose(out);
		return r;
	}
	r = daemon_new(&s->config, &daemon_log, out, &s->d);
	if (r) {
		if (!*last_error)
			die("the daemon does not start, and says nothing");
		gw_config_deinit(&s->config);
		cmdline_deinit(&s->cl);
	} else {
		rewind(out);
		if (!fgets(line, sizeof(line), out) ||
		    sscanf(line, "listening on %63s", s->addr) != 1)
			die("no address: '%s'", line);
	}
	fclose(out);
	return r;
}

static void *
server_run(void *arg)
{
	struct server *s = arg;
	int r = daemon_run(s->d);

	if (r)
		die("the daemon ends with %d: %s", r, last_error);
	return NULL;
}

static void
server_start(struct server *s)
{
	int i, r = -1;

	memset(s, 0, sizeof(*s));
	for (i = 0; i < TRIES && r; i++)
		r = server_try(s);
	if (r)
		die("the daemon does not start: %s", last_error);
	fault_pause();
	if (pthread_create(&s->thread, NULL, server_run, s))
		die("no thread");
	fault_resume();
}

static void
server_stop(struct server *s)
{
	kill(getpid(), SIGTERM);
	pthread_join(s->thread, NULL);
	daemon_free(s->d);
	gw_config_deinit(&s->config);
	cmdline_deinit(&s->cl);
}

/* --- the plugin's session */

struct client {
	struct params params;
	struct rtrs_path_addr *paths;
	struct rnbd_wait *wait;
	struct progress *helper;
	struct rnbd_clt_dev *devs[2];
	uint8_t *buf, *want;
};

static const char *const dev_names[] = {"m", "f"};

static int
client_params(struct client *c, const char *addr)
{
	const char *const keys[][2] = {
		{"sessname", "exhaust"},  {"path", addr},
		{"device-path", "m"},     {"connections", "2"},
		{"io-timeout", "10"},     {"open-timeout", "10"},
		{"connect-timeout", "1"}, {"reconnect-delay", "0.01"},
	};
	char text[PARAMS_ERR_MAX] = "";
	int r = 0;

	params_init(&c->params);
	for (size_t i = 0; i < ARRAY_SIZE(keys) && !r; i++)
		r = params_set(&c->params, keys[i][0], keys[i][1], text);
	if (!r)
		r = params_check(&c->params, text);
	if (!r)
		r = params_resolve(&c->params, &c->paths, text);
	if (r && !*text)
		die("parameters are refused without a word");
	if (r && !fault_hits())
		die("parameters: %s", text);
	if (r)
		params_deinit(&c->params);
	return r;
}

static int
client_try(struct client *c, const char *addr)
{
	struct rnbd_wait_params p;
	int r = client_params(c, addr);

	if (r)
		return r;
	params_session(&c->params, &p);
	p.clt.rtrs.paths = c->paths;
	p.clt.rtrs.log = &client_log;
	r = rnbd_wait_new(&p, &c->wait);
	if (r)
		goto err;
	r = progress_start(c->wait, &c->helper);
	if (!r)
		return 0;
	rnbd_wait_free(c->wait, 0);
err:
	free(c->paths);
	params_deinit(&c->params);
	return r;
}

static void
client_start(struct client *c, const char *addr)
{
	int r = -1;

	memset(c, 0, sizeof(*c));
	for (int i = 0; i < TRIES && r; i++)
		r = client_try(c, addr);
	if (r)
		die("no session: %s", strerror(-r));
	fault_pause();
	c->buf = malloc(BIG);
	c->want = malloc(BIG);
	if (!c->buf || !c->want)
		die("no memory");
	fault_resume();
	rnbd_wait_connect(c->wait);
}

static void
client_open(struct client *c)
{
	char text[RNBD_WAIT_TEXT_MAX];
	int r;

	for (unsigned d = 0; d < 2; d++) {
		r = -1;
		for (int i = 0; i < TRIES && r; i++) {
			r = rnbd_wait_open(c->wait, dev_names[d],
					   RNBD_ACCESS_RW, text, &c->devs[d]);
			if (r && !*text)
				die("open fails without a word");
			if (r && !fault_hits())
				die("open fails without a reason: %s", text);
		}
		if (r)
			die("open of '%s': %s", dev_names[d], text);
	}
}

static void
client_io(struct client *c, unsigned d, enum rnbd_clt_op op, unsigned flags,
	  void *buf, uint64_t len, uint64_t off)
{
	char text[RNBD_WAIT_TEXT_MAX];
	int r = -1;

	for (int i = 0; i < TRIES && r; i++) {
		r = rnbd_wait_io(c->wait, c->devs[d], op, flags, buf, len, off);
		if (r > 0 || (r && !fault_hits()))
			die("op %d of '%s': %d", op, dev_names[d], r);
	}
	if (!r)
		return;
	rnbd_wait_why(c->wait, c->devs[d], text);
	die("op %d of '%s': %s %s", op, dev_names[d], strerror(-r), text);
}

static void
client_check(struct client *c, unsigned d, uint64_t len, uint64_t off)
{
	memset(c->buf, 0xee, len);
	client_io(c, d, RNBD_CLT_READ, 0, c->buf, len, off);
	if (memcmp(c->buf, c->want, len))
		die("'%s' has other data", dev_names[d]);
}

static void
client_work(struct client *c, uint8_t tag)
{
	for (unsigned d = 0; d < 2; d++) {
		memset(c->want, tag + (int)d, BLOCK);
		memcpy(c->buf, c->want, BLOCK);
		client_io(c, d, RNBD_CLT_WRITE, 0, c->buf, BLOCK, 0);
		client_io(c, d, RNBD_CLT_WRITE, RNBD_CLT_F_FUA, c->buf, 4096,
			  BLOCK);
		client_io(c, d, RNBD_CLT_FLUSH, 0, NULL, 0, 0);
		client_check(c, d, BLOCK, 0);
		client_io(c, d, RNBD_CLT_DISCARD, 0, NULL, BLOCK, BLOCK);
		client_io(c, d, RNBD_CLT_WRITE_ZEROES, RNBD_CLT_F_NOUNMAP, NULL,
			  BLOCK, BLOCK);
		memset(c->want, 0, BLOCK);
		client_check(c, d, BLOCK, BLOCK);
		memset(c->want, tag + 16, BIG);
		memcpy(c->buf, c->want, BIG);
		client_io(c, d, RNBD_CLT_WRITE, 0, c->buf, BIG, BIG);
		client_check(c, d, BIG, BIG);
	}
}

/* As if the transport had died: requests wait until it is back. */
static void
client_cut(struct client *c)
{
	struct wakes wk = {0};

	futex_lock(&c->wait->lock);
	rtrs_clt_path_reset(rnbd_clt_rtrs(c->wait->clt), 0);
	wk.kick = true;
	wait_unlock(c->wait, &wk, NULL);
}

static void
client_stop(struct client *c)
{
	for (unsigned d = 0; d < 2; d++)
		rnbd_wait_close(c->wait, c->devs[d]);
	progress_stop(c->helper);
	rnbd_wait_free(c->wait, 1000);
	free(c->paths);
	params_deinit(&c->params);
	free(c->buf);
	free(c->want);
}

/* --- the control socket, metrics */

/*
 * Sends line and waits for an answer that holds end, without any of the
 * daemon's own code at this side. False: the connection was closed instead.
 */
static bool
exchange(const void *addr, socklen_t len, const char *line, const char *end)
{
	int family = ((const struct sockaddr *)addr)->sa_family, fd;
	struct timeval tv = {.tv_sec = 20};
	static char text[1 << 20];
	size_t got = 0;
	ssize_t n = -1;

	fault_pause();
	fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)))
		die("no socket");
	text[0] = '\0';
	if (!connect(fd, addr, len) &&
	    send(fd, line, strlen(line), MSG_NOSIGNAL) == (ssize_t)strlen(line))
		while (!strstr(text, end) &&
		       (n = recv(fd, text + got, sizeof(text) - 1 - got, 0)) >
			       0) {
			got += (size_t)n;
			text[got] = '\0';
		}
	if (n < 0 && errno == EAGAIN)
		die("no answer to '%.40s'", line);
	close(fd);
	fault_resume();
	return strstr(text, end);
}

static bool
ask(const char *method)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	char line[128];

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", control_path);
	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"id\":1}\n", method);
	return exchange(&sun, sizeof(sun), line, "\n");
}

static void
scrape(void)
{
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)metrics_port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};

	for (int i = 0; i < TRIES; i++)
		if (exchange(&sin, sizeof(sin),
			     "GET /metrics HTTP/1.1\r\nHost: x\r\n"
			     "Connection: close\r\n\r\n",
			     "# EOF"))
			return;
	die("no metrics");
}

static void
control(void)
{
	static const char *const methods[] = {"status", "version", "reload",
					      "export.list"};

	for (size_t m = 0; m < ARRAY_SIZE(methods); m++) {
		bool ok = false;

		for (int i = 0; i < TRIES && !ok; i++)
			ok = ask(methods[m]);
		if (!ok)
			die("no answer to '%s'", methods[m]);
	}
}

/* --- rounds */

static void
run_round(void)
{
	struct server s;
	struct client c;

	server_start(&s);
	client_start(&c, s.addr);
	client_open(&c);
	client_work(&c, 1);
	client_cut(&c);
	client_work(&c, 3);
	control();
	scrape();
	client_stop(&c);
	server_stop(&s);
}

static void
compare(const struct fault_live *a, const struct fault_live *b)
{
	if (a->blocks == b->blocks && a->mapped == b->mapped &&
	    a->fds == b->fds)
		return;
	fault_live_print(20);
	die("left over: %zd blocks, %zd bytes mapped, %d descriptors",
	    (ssize_t)(b->blocks - a->blocks), (ssize_t)(b->mapped - a->mapped),
	    (int)(b->fds - a->fds));
}

/* True: a call failed in it. */
static bool
checked_round(unsigned long nth)
{
	struct fault_live before, after;
	bool hit;

	round_no = nth;
	fault_live(&before);
	fault_live_mark();
	alarm(ROUND_SECONDS);
	fault_arm(opt.kinds, opt.mode, nth, opt.width);
	run_round();
	hit = fault_hits();
	fault_disarm();
	alarm(0);
	fault_live(&after);
	if (nth)
		compare(&before, &after);
	return hit;
}

enum outcome {
	ROUND_HIT = 10,
	ROUND_CALM,
	ROUND_BAD,
};

/* In a process of its own, so that a crash is one finding of many. */
static enum outcome
forked_round(unsigned long nth)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("cannot fork: %s", strerror(errno));
	if (!pid) {
		bool hit = checked_round(nth);

		fflush(NULL);
#ifdef __SANITIZE_ADDRESS__
		if (__lsan_do_recoverable_leak_check())
			_exit(ROUND_BAD);
#endif
		_exit(hit ? ROUND_HIT : ROUND_CALM);
	}
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			die("cannot wait: %s", strerror(errno));
	if (WIFEXITED(status) && (WEXITSTATUS(status) == ROUND_HIT ||
				  WEXITSTATUS(status) == ROUND_CALM))
		return (enum outcome)WEXITSTATUS(status);
	if (WIFSIGNALED(status))
		printf("FAILED: call %lu: killed by signal %d\n", nth,
		       WTERMSIG(status));
	return ROUND_BAD;
}

static double
seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int
usage(void)
{
	fprintf(stderr, "usage: exhaust --kinds K,... [--mode fail|short|again]"
			" [--width N] [--from N] [--to N] [--step N]\n"
			"\t[--pool] [--verbose]\n");
	return 2;
}

static int
parse(int argc, char **argv)
{
	static const struct option longs[] = {
		{"kinds", required_argument, NULL, 'k'},
		{"mode", required_argument, NULL, 'm'},
		{"width", required_argument, NULL, 'w'},
		{"from", required_argument, NULL, 'f'},
		{"to", required_argument, NULL, 't'},
		{"step", required_argument, NULL, 's'},
		{"pool", no_argument, NULL, 'p'},
		{"verbose", no_argument, NULL, 'v'},
		{0},
	};
	int c, mode = FAULT_FAIL;

	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'k':
			opt.kinds = fault_kinds_parse(optarg);
			break;
		case 'm':
			mode = fault_mode_parse(optarg);
			break;
		case 'w':
			opt.width = strtoul(optarg, NULL, 0);
			break;
		case 'f':
			opt.from = strtoul(optarg, NULL, 0);
			break;
		case 't':
			opt.to = strtoul(optarg, NULL, 0);
			break;
		case 's':
			opt.step = strtoul(optarg, NULL, 0);
			break;
		case 'p':
			opt.pool = true;
			break;
		case 'v':
			opt.verbose = true;
			break;
		default:
			return -1;
		}
	}
	opt.mode = (enum fault_mode)mode;
	return mode < 0 || !opt.kinds || !opt.step || optind != argc ? -1 : 0;
}

static void
make_files(void)
{
	FILE *f;

	if (!mkdtemp(dir))
		die("no directory");
	snprintf(control_path, sizeof(control_path), "%s/control", dir);
	snprintf(disk_path, sizeof(disk_path), "%s/disk", dir);
	snprintf(config_path, sizeof(config_path), "%s/conf", dir);
	f = fopen(disk_path, "we");
	if (!f || ftruncate(fileno(f), DISK_BYTES) || fclose(f))
		die("no disk");
	f = fopen(config_path, "we");
	if (!f ||
	    fprintf(f,
		    "[gateway]\nlisten = tcp:127.0.0.1:0\nworkers = 1\n"
		    "queue-depth = 16\ncontrol = %s\n"
		    "metrics = 127.0.0.1:0\n%s"
		    "[export]\nname = m\nbackend = memory:1M\n"
		    "[export]\nname = f\nbackend = file:%s\n"
		    "[rule]\naddress = 127.0.0.0/8\naction = allow\n",
		    control_path, opt.pool ? "no-io-uring = yes\n" : "",
		    disk_path) < 0 ||
	    fclose(f))
		die("no configuration");
}

int
main(int argc, char **argv)
{
	unsigned long n, rounds = 0, calls, slow_n = 0;
	unsigned bad = 0;
	double begin, t, slow = 0;

	if (parse(argc, argv))
		return usage();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGALRM, on_alarm);
	make_files();
	/* What libraries keep for ever is made in these. */
	checked_round(0);
	checked_round(0);
	calls = fault_calls();
	begin = seconds();
	for (n = opt.from; !opt.to || n <= opt.to; n += opt.step) {
		enum outcome o;

		t = seconds();
		if (opt.verbose)
			fprintf(stderr, "--- call %lu\n", n);
		o = forked_round(n);
		if (o == ROUND_CALM)
			break;
		if (o == ROUND_BAD && ++bad == MAX_BAD)
			break;
		rounds++;
		t = seconds() - t;
		if (t > slow) {
			slow = t;
			slow_n = n;
		}
	}
	unlink(disk_path);
	unlink(config_path);
	rmdir(dir);
	printf("%lu calls in a calm round; %lu rounds with a failure, %u of "
	       "them bad, in %.1f s (longest %.2f s, call %lu)\n",
	       calls, rounds, bad, seconds() - begin, slow, slow_n);
	return bad || !rounds;
}
