/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rnbdctl: asks a running rnbd-gatewayd over its control socket. Exit codes:
 * 0 done, 1 the daemon refused or answered nonsense, 2 wrong usage, 3 no
 * daemon answers.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "rtrs/base/util.h"

#define DEFAULT_SOCKET "/run/rnbd-gatewayd.sock"
#define TIMEOUT_S      30
/* An answer that is longer than this is none. */
#define MAX_ANSWER     (256u << 20)

enum exit_code {
	CTL_OK = 0,
	CTL_REFUSED = 1,
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3,
};

struct ctl {
	const char *socket;
	bool json;
};

struct command {
	const char *name;
	int (*fn)(const struct ctl *ctl);
	const char *help;
};

static int __attribute__((format(printf, 2, 3)))
fail(int code, const char *fmt, ...)
{
	va_list ap;

	fputs("rnbdctl: error: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return code;
}

/* ------------------------------------------------------------- transport */

static int
ctl_connect(const struct ctl *ctl, int *ret)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = TIMEOUT_S};
	int fd;

	if (strlen(ctl->socket) >= sizeof(sun.sun_path))
		return fail(CTL_USAGE, "--control %s: the path is too long",
			    ctl->socket);
	strcpy(sun.sun_path, ctl->socket);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(CTL_UNREACHABLE, "%s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(fd, (const void *)&sun, sizeof(sun)) < 0) {
		int err = errno;

		close(fd);
		return fail(CTL_UNREACHABLE,
			    "%s: %s; is rnbd-gatewayd running with "
			    "--control %s?",
			    ctl->socket, strerror(err), ctl->socket);
	}
	*ret = fd;
	return 0;
}

static int
send_line(int fd, const char *line)
{
	size_t len = strlen(line);

	while (len) {
		ssize_t n = send(fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		line += n;
		len -= (size_t)n;
	}
	return 0;
}

/* One line; the caller frees it. */
static int
read_line(int fd, char **ret)
{
	char *buf = NULL;
	size_t len = 0, size = 0;

	for (;;) {
		char *nl, *p;
		ssize_t n;

		if (len + 1 >= size) {
			size = size ? size * 2 : 65536;
			p = size > MAX_ANSWER ? NULL : realloc(buf, size);
			if (!p)
				goto nomem;
			buf = p;
		}
		n = recv(fd, buf + len, size - len - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			n = n < 0 ? -errno : -ECONNRESET;
			free(buf);
			return (int)(n == -EAGAIN ? -ETIMEDOUT : n);
		}
		nl = memchr(buf + len, '\n', (size_t)n);
		len += (size_t)n;
		buf[len] = '\0';
		if (nl) {
			*nl = '\0';
			*ret = buf;
			return 0;
		}
	}
nomem:
	free(buf);
	return -ENOMEM;
}

/* Calls a method; *ret is the result, which the caller owns. */
static int
ctl_call(const struct ctl *ctl, const char *method, json_t **ret)
{
	cleanup_free char *line = NULL;
	char request[128];
	json_t *answer, *result;
	int fd = -1, r;

	snprintf(request, sizeof(request),
		 "{\"jsonrpc\":\"2.0\",\"method\":\"%s\",\"id\":1}\n", method);
	r = ctl_connect(ctl, &fd);
	if (r)
		return r;
	r = send_line(fd, request);
	if (!r)
		r = read_line(fd, &line);
	close(fd);
	if (r)
		return fail(CTL_UNREACHABLE, "%s: no answer: %s", ctl->socket,
			    strerror(-r));
	answer = json_loads(line, 0, NULL);
	result = json_object_get(answer, "result");
	if (result) {
		*ret = json_incref(result);
		json_decref(answer);
		return 0;
	}
	line[strcspn(line, "\r\n")] = '\0';
	r = fail(CTL_REFUSED, "%s: %s: %.200s", ctl->socket, method,
		 answer ? line : "the answer is not JSON");
	json_decref(answer);
	return r;
}

/* ---------------------------------------------------------------- output */

static const char *
str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "?";
}

static json_int_t
num(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

/* What came from a client, without what could steer a terminal. */
static void
print_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s >= 0x20 && (unsigned char)*s < 0x7f
				? *s
				: '?');
}

static void
print_size(json_int_t bytes)
{
	static const char suffixes[] = "KMGTPE";
	unsigned i = 0;

	if (bytes < 1024 || bytes % 1024) {
		printf("%" PRId64 " bytes", (int64_t)bytes);
		return;
	}
	for (bytes /= 1024; bytes >= 1024 && !(bytes % 1024); i++)
		bytes /= 1024;
	printf("%" PRId64 "%c", (int64_t)bytes, suffixes[i]);
}

static void
print_ops(const json_t *ops)
{
	const char *name;
	json_t *op;

	json_object_foreach((json_t *)ops, name, op)
	{
		json_int_t errors = num(op, "errors");

		if (!num(op, "ops"))
			continue;
		printf(", %s %" PRId64, name, (int64_t)num(op, "ops"));
		if (errors)
			printf(" (%" PRId64 " failed)", (int64_t)errors);
	}
	putchar('\n');
}

static void
print_worker(const json_t *w)
{
	size_t i;
	json_t *e;

	printf("worker %" PRId64 ": %s, %" PRId64 " sessions, %" PRId64
	       " under way",
	       (int64_t)num(w, "index"), str(w, "io_engine"),
	       (int64_t)num(w, "sessions"), (int64_t)num(w, "inflight"));
	print_ops(json_object_get(w, "ops"));
	json_array_foreach(json_object_get(w, "paths"), i, e)
	{
		printf("  path %s of ", str(e, "peer"));
		print_text(str(e, "session"));
		printf(": %s, %" PRId64 " connections, %" PRId64
		       " reads, %" PRId64 " writes\n",
		       str(e, "state"), (int64_t)num(e, "connections"),
		       (int64_t)num(e, "reads"), (int64_t)num(e, "writes"));
	}
	json_array_foreach(json_object_get(w, "devices"), i, e)
	{
		printf("  device %" PRId64 " of ", (int64_t)num(e, "id"));
		print_text(str(e, "session"));
		fputs(": ", stdout);
		print_text(str(e, "name"));
		printf(", %s, ", str(e, "access_mode"));
		print_size(num(e, "size_bytes"));
		print_ops(json_object_get(e, "ops"));
	}
}

static void
print_status(const json_t *st)
{
	size_t i;
	json_t *e;

	printf("rnbd-gatewayd %s, pid %" PRId64 ", up %" PRId64 " s\n",
	       str(st, "version"), (int64_t)num(st, "pid"),
	       (int64_t)num(st, "uptime_s"));
	json_array_foreach(json_object_get(st, "listeners"), i, e)
		printf("listening on %s\n", str(e, "address"));
	json_array_foreach(json_object_get(st, "exports"), i, e)
	{
		fputs("export ", stdout);
		print_text(str(e, "name"));
		fputs(": ", stdout);
		print_text(str(e, "spec"));
		putchar('\n');
	}
	json_array_foreach(json_object_get(st, "workers"), i, e)
		print_worker(e);
}

/* -------------------------------------------------------------- commands */

static int
cmd_status(const struct ctl *ctl)
{
	json_t *st;
	int r = ctl_call(ctl, "status", &st);

	if (r)
		return r;
	if (ctl->json) {
		json_dumpf(st, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		print_status(st);
	}
	json_decref(st);
	if (fflush(stdout) == EOF)
		return fail(CTL_REFUSED, "cannot write: %s", strerror(errno));
	return CTL_OK;
}

static const struct command commands[] = {
	{"status", cmd_status,
	 "listeners, exports, sessions, devices and counters"},
};

static void
print_help(void)
{
	puts("Usage: rnbdctl [--control SOCKET] [--json] COMMAND\n"
	     "Asks a running rnbd-gatewayd.\n\nCommands:");
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].help);
	puts("\nOptions:\n"
	     "  --control SOCKET  the daemon's socket (" DEFAULT_SOCKET ")\n"
	     "  --json            print JSON\n"
	     "  --version         print the version\n"
	     "  --help            print this");
}

static int
run_command(const struct ctl *ctl, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(commands[i].name, name))
			return commands[i].fn(ctl);
	return fail(CTL_USAGE, "%s: no such command; see --help", name);
}

int
main(int argc, char **argv)
{
	static const struct option long_opts[] = {
		{"control", required_argument, NULL, 'c'},
		{"json", no_argument, NULL, 'j'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	struct ctl ctl = {.socket = DEFAULT_SOCKET};
	int opt;

	opterr = 0;
	while ((opt = getopt_long(argc, argv, ":", long_opts, NULL)) != -1) {
		switch (opt) {
		case 'c':
			ctl.socket = optarg;
			break;
		case 'j':
			ctl.json = true;
			break;
		case 'V':
			puts("rnbdctl " RNBD_VERSION);
			return CTL_OK;
		case 'h':
			print_help();
			return CTL_OK;
		case ':':
			return fail(CTL_USAGE, "%s: a value is missing",
				    argv[optind - 1]);
		default:
			return fail(CTL_USAGE, "%s: unknown option; see --help",
				    argv[optind - 1]);
		}
	}
	if (optind + 1 != argc)
		return fail(CTL_USAGE, optind == argc
					       ? "a command is missing; see "
						 "--help"
					       : "one command at a time; see "
						 "--help");
	return run_command(&ctl, argv[optind]);
}
