/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/faults/world.h"

#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A failure may spoil several tries in a row, by what it left in its wake. */
#define TRIES      6
#define BLOCK      (64u << 10)
#define BIG        (512u << 10) /* several requests at once */
#define DISK_BYTES (1u << 20)

struct world_options world;
static char dir[] = "/tmp/rnbd-exhaust-XXXXXX";
static char control_path[64], disk_path[64], config_path[64];
static unsigned metrics_port; /* as the log says */

void
die(const char *fmt, ...)
{
	va_list ap;

	fault_pause();
	printf("FAILED: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n%s\n", world.replay ? world.replay() : "");
	fflush(stdout);
	_exit(1);
}

/* --- log of both sides */

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static char last_error[OPT_TEXT_MAX];

static void
sink(void *user, enum log_level level, const char *line)
{
	if (world.verbose)
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

void
world_make_files(void)
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
		    "[gateway]\nlisten = %s:0\nworkers = 1\n"
		    "queue-depth = 16\ncontrol = %s\n"
		    "metrics = 127.0.0.1:0\n%s%s"
		    "heartbeat-interval = %u\n"
		    "[export]\nname = m\nbackend = memory:1M\n"
		    "[export]\nname = f\nbackend = file:%s\n"
		    "[rule]\naddress = %s\naction = allow\n",
		    world.listen ? world.listen : "tcp:127.0.0.1", control_path,
		    world.pool ? "no-io-uring = yes\n" : "",
		    world.invalidate ? "always-invalidate = yes\n" : "",
		    world.heartbeat ? world.heartbeat * 1000 : 5000, disk_path,
		    world.listen ? strchr(world.listen, ':') + 1
				 : "127.0.0.0/8") < 0 ||
	    fclose(f))
		die("no configuration");
}

void
world_remove_files(void)
{
	unlink(disk_path);
	unlink(config_path);
	rmdir(dir);
}

/* --- the daemon */

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
	int r;

	fault_set_side(FAULT_SERVER);
	r = daemon_run(s->d);

	if (r)
		die("the daemon ends with %d: %s", r, last_error);
	return NULL;
}

void
server_start(struct server *s)
{
	int i, r = -1;

	memset(s, 0, sizeof(*s));
	fault_set_side(FAULT_SERVER);
	for (i = 0; i < TRIES && r; i++)
		r = server_try(s);
	if (r)
		die("the daemon does not start: %s", last_error);
	fault_pause();
	if (pthread_create(&s->thread, NULL, server_run, s))
		die("no thread");
	fault_set_side(FAULT_NO_SIDE);
	fault_resume();
}

void
server_stop(struct server *s)
{
	kill(getpid(), SIGTERM);
	pthread_join(s->thread, NULL);
	fault_set_side(FAULT_SERVER);
	daemon_free(s->d);
	fault_set_side(FAULT_NO_SIDE);
	gw_config_deinit(&s->config);
	cmdline_deinit(&s->cl);
}

/* --- the plugin's session */

static const char *const dev_names[] = {"m", "f"};

static int
client_params(struct client *c, const char *addr)
{
	char timeout[16], heartbeat[16], connect[16];
	const char *const keys[][2] = {
		{"sessname", "exhaust"},
		{"path", addr},
		{"device-path", "m"},
		{"connections", "2"},
		{"io-timeout", timeout},
		{"open-timeout", timeout},
		{"connect-timeout", connect},
		{"reconnect-delay", "0.01"},
		{"zero", "trust"},
		{"heartbeat-interval", heartbeat},
		{"need-inval", world.need_inval ? "yes" : "no"},
	};
	char text[PARAMS_ERR_MAX] = "";
	int r = 0;

	snprintf(timeout, sizeof(timeout), "%u",
		 world.io_timeout ? world.io_timeout : 10);
	snprintf(heartbeat, sizeof(heartbeat), "%u",
		 world.heartbeat ? world.heartbeat : 5);
	snprintf(connect, sizeof(connect), "%u",
		 world.connect_timeout ? world.connect_timeout : 3);
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

void
client_start(struct client *c, const char *addr)
{
	int r = -1;

	memset(c, 0, sizeof(*c));
	fault_set_side(FAULT_CLIENT);
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

void
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

void
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

void
client_touch(struct client *c, uint8_t tag)
{
	memset(c->want, tag, BLOCK);
	memcpy(c->buf, c->want, BLOCK);
	client_io(c, tag % 2, RNBD_CLT_WRITE, 0, c->buf, BLOCK, 0);
	client_check(c, tag % 2, BLOCK, 0);
}

void
client_cut(struct client *c)
{
	struct wakes wk = {0};

	futex_lock(&c->wait->lock);
	rtrs_clt_path_reset(rnbd_clt_rtrs(c->wait->clt), 0);
	wk.kick = true;
	wait_unlock(c->wait, &wk, NULL);
}

void
client_shut(struct client *c)
{
	for (unsigned d = 0; d < 2; d++) {
		if (c->devs[d])
			rnbd_wait_close(c->wait, c->devs[d]);
		c->devs[d] = NULL;
	}
}

void
client_stop(struct client *c)
{
	client_shut(c);
	progress_stop(c->helper);
	rnbd_wait_free(c->wait, 1000);
	free(c->paths);
	params_deinit(&c->params);
	free(c->buf);
	free(c->want);
	fault_set_side(FAULT_NO_SIDE);
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

void
world_scrape(void)
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

void
world_control(void)
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
