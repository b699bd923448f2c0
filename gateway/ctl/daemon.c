/* SPDX-License-Identifier: BSD-3-Clause */
/* The daemon as a whole. */
#include "gateway/ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>

/* --------------------------------------------------------------- status */

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

	json_object_foreach((json_t *)(uintptr_t)ops, name, op) {
		json_int_t errors = json_num(op, "errors");

		if (!json_num(op, "ops"))
			continue;
		printf(", %s %" PRId64, name, (int64_t)json_num(op, "ops"));
		if (errors)
			printf(" (%" PRId64 " failed)", (int64_t)errors);
	}
	putchar('\n');
}

static void
print_path(const json_t *path)
{
	printf("  path %s of ", json_str(path, "peer"));
	print_text(json_str(path, "session"));
	printf(": %s, %d connections, %" PRId64 " reads, %" PRId64 " writes\n",
	       json_str(path, "state"), (int)json_num(path, "connections"),
	       (int64_t)json_num(path, "reads"),
	       (int64_t)json_num(path, "writes"));
}

static void
print_device(const json_t *dev)
{
	printf("  device %" PRId64 " of ", (int64_t)json_num(dev, "id"));
	print_text(json_str(dev, "session"));
	fputs(": ", stdout);
	print_text(json_str(dev, "name"));
	printf(", %s, ", json_str(dev, "access_mode"));
	print_size(json_num(dev, "size_bytes"));
	print_ops(json_at(dev, "ops"));
}

static void
print_worker(const json_t *w)
{
	size_t i;
	json_t *e;

	printf("worker %d: %s, %d sessions, %" PRId64 " under way",
	       (int)json_num(w, "index"), json_str(w, "io_engine"),
	       (int)json_num(w, "sessions"), (int64_t)json_num(w, "inflight"));
	print_ops(json_at(w, "ops"));
	json_array_foreach(json_at(w, "paths"), i, e)
		print_path(e);
	json_array_foreach(json_at(w, "devices"), i, e)
		print_device(e);
}

static void
print_status(const json_t *st)
{
	size_t i;
	json_t *e;

	printf("rnbd-gatewayd %s, pid %d, up %" PRId64 " s, log level %s\n",
	       json_str(st, "version"), (int)json_num(st, "pid"),
	       (int64_t)json_num(st, "uptime_s"), json_str(st, "log_level"));
	json_array_foreach(json_at(st, "listeners"), i, e)
		printf("listening on %s\n", json_str(e, "address"));
	json_array_foreach(json_at(st, "exports"), i, e) {
		fputs("export ", stdout);
		print_text(json_str(e, "name"));
		fputs(": ", stdout);
		print_text(json_str(e, "spec"));
		putchar('\n');
	}
	json_array_foreach(json_at(st, "workers"), i, e)
		print_worker(e);
}

/* Calls method and prints its answer as JSON, or by print. */
static int
tell(const struct ctl *ctl, const char *method, void (*print)(const json_t *))
{
	json_t *res;
	int r = ctl_call(ctl, method, NULL, &res);

	if (r)
		return r;
	if (ctl->format == CTL_JSON) {
		r = ctl_print_json(res);
	} else {
		print(res);
		r = ctl_flush();
	}
	json_decref(res);
	return r;
}

int
cmd_status(const struct ctl *ctl, char **args, unsigned n)
{
	return tell(ctl, "status", print_status);
}

static void
print_version(const json_t *v)
{
	print_text(json_str(v, "program"));
	putchar(' ');
	print_text(json_str(v, "version"));
	putchar('\n');
}

int
cmd_version(const struct ctl *ctl, char **args, unsigned n)
{
	return tell(ctl, "version", print_version);
}

/* ---------------------------------------------------------------- stats */

static void
print_op_row(const struct ctl *ctl, const char *name, const json_t *op,
	     const json_t *latency)
{
	char bytes[32], p50[32], p99[32];

	printf("%-13s %12" PRId64 " %10s %8" PRId64 " %9s %9s\n", name,
	       (int64_t)json_num(op, "ops"),
	       bytes_text(json_num(op, "bytes"), ctl->unit, bytes,
			  sizeof(bytes)),
	       (int64_t)json_num(op, "errors"),
	       time_text((double)json_num(latency, "p50_ns"), p50, sizeof(p50)),
	       time_text((double)json_num(latency, "p99_ns"), p99,
			 sizeof(p99)));
}

void
ctl_print_op_table(const struct ctl *ctl, const json_t *st)
{
	const char *name;
	json_t *op;

	printf("%-13s %12s %10s %8s %9s %9s\n", "operation", "requests",
	       "bytes", "errors", "p50", "p99");
	json_object_foreach(json_object_get(st, "ops"), name, op)
		print_op_row(
			ctl, name, op,
			json_object_get(json_object_get(st, "latency"), name));
}

static void
print_stats(const struct ctl *ctl, const json_t *st)
{
	printf("sessions %d, paths %d, devices %d, under way %d\n"
	       "since %d s: opens %d (%d failed), closes %d, revoked %d, "
	       "throttled %" PRId64 "\n\n",
	       (int)json_num(st, "sessions"), (int)json_num(st, "paths"),
	       (int)json_num(st, "devices"), (int)json_num(st, "inflights"),
	       (int)json_num(st, "since_s"),
	       (int)(json_num(st, "opens") + json_num(st, "open_errors")),
	       (int)json_num(st, "open_errors"), (int)json_num(st, "closes"),
	       (int)json_num(st, "revokes"),
	       (int64_t)json_num(st, "throttled"));
	ctl_print_op_table(ctl, st);
}

int
cmd_stats(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *st;
	int r = ctl_call(ctl, "stats", NULL, &st);

	if (r)
		return r;
	if (ctl->format == CTL_JSON) {
		r = ctl_print_json(st);
	} else {
		print_stats(ctl, st);
		r = ctl_flush();
	}
	json_decref(st);
	return r;
}

static void
print_access(const json_t *st)
{
	const char *reason;
	char mem[32];
	json_t *n;

	printf("rules %d; held by %d address%s: sessions %d, paths %d, "
	       "connections %d, buffers %s\n",
	       (int)json_num(st, "rules"), (int)json_num(st, "addresses"),
	       json_num(st, "addresses") == 1 ? "" : "es",
	       (int)json_num(st, "sessions"), (int)json_num(st, "paths"),
	       (int)json_num(st, "connections"),
	       bytes_text(json_num(st, "memory"), 0, mem, sizeof(mem)));
	json_object_foreach(json_object_get(st, "refused"), reason, n) {
		if (json_integer_value(n))
			printf("refused, %-20s %" PRId64 "\n", reason,
			       (int64_t)json_integer_value(n));
	}
}

int
cmd_access_stats(const struct ctl *ctl, char **args, unsigned n)
{
	return tell(ctl, "access.stats", print_access);
}

int
cmd_stats_reset(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = ctl_call(ctl, "stats.reset", NULL, &res);

	if (r)
		return r;
	ctl_say(ctl, "the sums and %d paths begin at zero",
		(int)json_num(res, "paths"));
	json_decref(res);
	return ctl_flush();
}

/* ---------------------------------------------------------------- others */

int
cmd_log_level(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = ctl_call(ctl, n ? "log_level.set" : "log_level",
			 n ? json_pack("{s:s}", "level", args[0]) : NULL, &res);

	if (r)
		return r;
	if (ctl->format == CTL_JSON)
		r = ctl_print_json(res);
	else if (!n)
		puts(json_str(res, "level"));
	else
		ctl_say(ctl, "log level %s, was %s", json_str(res, "level"),
			json_str(res, "was"));
	json_decref(res);
	return r ? r : ctl_flush();
}

/* Whoever changed them would wait for an effect. */
static void
warn_of_restart(const json_t *keys)
{
	char text[1024] = "";
	size_t i, len = 0;
	json_t *key;

	json_array_foreach(keys, i, key) {
		const char *name = json_string_value(key);

		if (name && len < sizeof(text))
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s%s", len ? ", " : "", name);
	}
	if (len)
		ctl_warn("new values that need a restart, the old ones stay "
			 "until then: %s",
			 text);
}

int
cmd_reload(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *res;
	int r = ctl_call(ctl, "reload", NULL, &res);

	if (r)
		return r;
	ctl_say(ctl, "the configuration was read again");
	warn_of_restart(json_object_get(res, "need_restart"));
	json_decref(res);
	return ctl_flush();
}

/* However long it takes: a drain ends by itself, or by who asked for it. */
static int
wait_end(int pidfd)
{
	struct pollfd pfd = {.fd = pidfd, .events = POLLIN};

	while (poll(&pfd, 1, -1) < 0)
		if (errno != EINTR)
			return ctl_fail(CTL_REFUSED, "cannot wait: %s",
					strerror(errno));
	return CTL_OK;
}

int
cmd_drain(const struct ctl *ctl, char **args, unsigned n)
{
	cleanup_close int pidfd = -1;
	struct rpc *rpc = NULL;
	json_t *res = NULL;
	int r = rpc_open(ctl, &rpc);

	if (r)
		return r;
	/* Before it can be gone, and its number somebody else's. */
	if (ctl->wait)
		pidfd = (int)syscall(SYS_pidfd_open, rpc_peer(rpc), 0);
	if (ctl->wait && pidfd < 0)
		r = ctl_fail(CTL_REFUSED,
			     "drain: cannot wait for the daemon: %s; leave "
			     "out `wait`",
			     strerror(errno));
	if (!r)
		r = rpc_call(rpc, "drain", NULL, &res);
	rpc_close(rpc);
	if (r)
		return r;
	ctl_say(ctl, "draining, pid %d", (int)json_num(res, "pid"));
	json_decref(res);
	r = ctl_flush();
	return r || !ctl->wait ? r : wait_end(pidfd);
}
