/* SPDX-License-Identifier: BSD-3-Clause */
/* The table of keys: one key=value at a time, and one parser per type. */
#include "nbdkit-plugin/params.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>

#include "proto/rnbd-msg.h"
#include "proto/rtrs-msg.h"

struct param {
	const char *key;
	int (*parse)(struct params *p, const struct param *d, const char *value,
		     char err[PARAMS_ERR_MAX]);
	size_t offset; /* in struct params */
	long min, max; /* of numbers; times in ms */
	bool repeats;  /* may be given more than once */
};

__attribute__((format(printf, 3, 4))) static int
bad(char *err, const struct param *d, const char *fmt, ...)
{
	int n = snprintf(err, PARAMS_ERR_MAX, "%s=: ", d->key);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err + n, PARAMS_ERR_MAX - (size_t)n, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static void *
field(struct params *p, const struct param *d)
{
	return (char *)p + d->offset;
}

/* ------------------------------------------------- one parser per type */

static int
parse_int(struct params *p, const struct param *d, const char *value,
	  char err[PARAMS_ERR_MAX])
{
	int *ret = field(p, d);
	char *end;
	long v;

	errno = 0;
	v = strtol(value, &end, 10);
	if (end == value || *end || errno || v < d->min || v > d->max)
		return bad(err, d, "'%s' is not a number from %ld to %ld",
			   value, d->min, d->max);
	*ret = (int)v;
	return 0;
}

/* Seconds, with up to three decimals, into milliseconds. */
static int
parse_seconds(struct params *p, const struct param *d, const char *value,
	      char err[PARAMS_ERR_MAX])
{
	unsigned *ret = field(p, d);
	const char *s = value;
	unsigned scale = 100;
	long ms = 0;

	for (; *s >= '0' && *s <= '9' && ms <= d->max; s++)
		ms = ms * 10 + (*s - '0') * 1000L;
	if (s != value && *s == '.')
		for (s++; *s >= '0' && *s <= '9' && scale; s++, scale /= 10)
			ms += (*s - '0') * (long)scale;
	if (s == value || s[-1] == '.' || *s || ms < d->min || ms > d->max)
		return bad(err, d,
			   "'%s' is not a time from %g to %g seconds, with at "
			   "most three decimals",
			   value, (double)d->min / 1000, (double)d->max / 1000);
	*ret = (unsigned)ms;
	return 0;
}

static int
parse_bool(struct params *p, const struct param *d, const char *value,
	   char err[PARAMS_ERR_MAX])
{
	static const char *const no[] = {"0", "no", "off", "false", "n"};
	static const char *const yes[] = {"1", "yes", "on", "true", "y"};
	bool *ret = field(p, d);

	for (unsigned i = 0; i < ARRAY_SIZE(no); i++) {
		if (!strcasecmp(value, no[i]) || !strcasecmp(value, yes[i])) {
			*ret = !strcasecmp(value, yes[i]);
			return 0;
		}
	}
	return bad(err, d, "'%s' is neither yes nor no", value);
}

static int
store(char **ret, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*ret);
	*ret = copy;
	return 0;
}

static int
parse_sessname(struct params *p, const struct param *d, const char *value,
	       char err[PARAMS_ERR_MAX])
{
	switch (rtrs_sess_name_check(value)) {
	case 0:
		break;
	case -ENAMETOOLONG:
		return bad(err, d, "a session name has at most %d characters",
			   RTRS_NAME_LEN - 1);
	default:
		return bad(err, d,
			   "'%s' is not a session name: it must not be empty "
			   "and not contain '/' or '.'",
			   value);
	}
	if (store(field(p, d), value)) {
		bad(err, d, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	return 0;
}

static int
parse_control(struct params *p, const struct param *d, const char *value,
	      char err[PARAMS_ERR_MAX])
{
	struct sockaddr_un sun;

	if (!*value || strlen(value) >= sizeof(sun.sun_path))
		return bad(err, d,
			   "'%.200s' is not the path of a unix socket: at most "
			   "%zu bytes",
			   value, sizeof(sun.sun_path) - 1);
	if (store(field(p, d), value)) {
		bad(err, d, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	return 0;
}

static int
parse_device(struct params *p, const struct param *d, const char *value,
	     char err[PARAMS_ERR_MAX])
{
	if (!*value)
		return bad(err, d, "the name of the device is empty");
	if (strlen(value) >= RNBD_NAME_LEN)
		return bad(err, d, "the name of a device has at most %d bytes",
			   RNBD_NAME_LEN - 1);
	if (store(field(p, d), value)) {
		bad(err, d, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	return 0;
}

static int
parse_exports(struct params *p, const struct param *d, const char *value,
	      char err[PARAMS_ERR_MAX])
{
	char why[EXPORTS_TEXT_MAX];
	int r = exports_add(&p->exports, value, why);

	if (r)
		bad(err, d, "%s", why);
	return r == -ENOMEM ? r : r ? -EINVAL : 0;
}

static int
parse_allow(struct params *p, const struct param *d, const char *value,
	    char err[PARAMS_ERR_MAX])
{
	char why[EXPORTS_TEXT_MAX];
	int r = exports_add_allow(&p->exports, value, why);

	if (r)
		bad(err, d, "%s", why);
	return r;
}

static int
parse_root(struct params *p, const struct param *d, const char *value,
	   char err[PARAMS_ERR_MAX])
{
	size_t len = strlen(value);

	if (!len || len >= RNBD_NAME_LEN - 1 || value[len - 1] == '/')
		return bad(err, d,
			   "'%.100s' is not the beginning of a device name, "
			   "without '/' at its end",
			   value);
	if (store(field(p, d), value)) {
		bad(err, d, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	return 0;
}

static int
parse_path(struct params *p, const struct param *d, const char *value,
	   char err[PARAMS_ERR_MAX])
{
	char why[PARAMS_ERR_MAX - 16];
	struct path_spec spec;
	struct path_spec *grown;
	int rc;

	if (p->n_paths == RTRS_MAX_PATHS)
		return bad(err, d, "a session has at most %d paths",
			   RTRS_MAX_PATHS);
	rc = path_parse(value, (uint16_t)p->dest_port, &spec, why, sizeof(why));
	if (rc) {
		bad(err, d, "%s", why);
		return rc;
	}
	for (unsigned i = 0; i < p->n_paths; i++)
		if (p->paths[i].scheme == spec.scheme &&
		    !strcmp(p->paths[i].src, spec.src) &&
		    !strcmp(p->paths[i].dst, spec.dst) &&
		    p->paths[i].port == spec.port)
			return bad(err, d, "'%s' is given twice", value);
	grown = realloc(p->paths, (p->n_paths + 1) * sizeof(*grown));
	if (!grown) {
		bad(err, d, "%s", strerror(ENOMEM));
		return -ENOMEM;
	}
	p->paths = grown;
	p->paths[p->n_paths++] = spec;
	return 0;
}

static int
parse_access_mode(struct params *p, const struct param *d, const char *value,
		  char err[PARAMS_ERR_MAX])
{
	unsigned *ret = field(p, d);
	int mode = rnbd_access_mode_parse(value);

	if (mode < 0)
		return bad(err, d, "'%s' is none of ro, rw, migration", value);
	*ret = (unsigned)mode;
	return 0;
}

/* As in the kernel: -1 means one for each CPU. */
static int
parse_poll_queues(struct params *p, const struct param *d, const char *value,
		  char err[PARAMS_ERR_MAX])
{
	struct param limited = *d;

	limited.max = sysconf(_SC_NPROCESSORS_CONF);
	return parse_int(p, &limited, value, err);
}

/* One of a few words, whose number goes into an unsigned. */
static int
parse_word(struct params *p, const struct param *d, const char *value,
	   const char *const *names, unsigned n, char err[PARAMS_ERR_MAX])
{
	unsigned *ret = field(p, d);
	char list[128] = "";

	for (unsigned i = 0; i < n; i++) {
		size_t len = strlen(list);

		if (!strcmp(value, names[i])) {
			*ret = i;
			return 0;
		}
		snprintf(list + len, sizeof(list) - len, "%s%s", i ? ", " : "",
			 names[i]);
	}
	return bad(err, d, "'%s' is none of %s", value, list);
}

static int
parse_zero(struct params *p, const struct param *d, const char *value,
	   char err[PARAMS_ERR_MAX])
{
	static const char *const names[] = {
		[PARAMS_ZERO_AUTO] = "auto",
		[PARAMS_ZERO_TRUST] = "trust",
		[PARAMS_ZERO_WRITE] = "write",
	};

	return parse_word(p, d, value, names, ARRAY_SIZE(names), err);
}

static int
parse_connect(struct params *p, const struct param *d, const char *value,
	      char err[PARAMS_ERR_MAX])
{
	static const char *const names[] = {
		[RTRS_CONNECT_ALL] = "all",
		[RTRS_CONNECT_ANY] = "any",
		[RTRS_CONNECT_LAZY] = "lazy",
	};

	return parse_word(p, d, value, names, ARRAY_SIZE(names), err);
}

static int
parse_policy(struct params *p, const struct param *d, const char *value,
	     char err[PARAMS_ERR_MAX])
{
	unsigned *ret = field(p, d);
	int policy = rtrs_mp_policy_parse(value);

	if (policy < 0)
		return bad(err, d,
			   "'%s' is none of round-robin, min-inflight, "
			   "min-latency",
			   value);
	*ret = (unsigned)policy;
	return 0;
}

/* ------------------------------------------------- the table */

#define AT(f)  offsetof(struct params, f)
#define DAY_MS (24 * 3600 * 1000L)

static const struct param table[] = {
	/* The kernel's names first. */
	{"sessname", parse_sessname, AT(sessname), 0, 0},
	{"path", parse_path, 0, 0, 0, true},
	{"device_path", parse_device, AT(exports.only), 0, 0},
	{"dest_port", parse_int, AT(dest_port), 1, 65535, true},
	{"access_mode", parse_access_mode, AT(access_mode), 0, 0},
	{"nr_poll_queues", parse_poll_queues, AT(nr_poll_queues), -1, 0},
	{"max_reconnect_attempts", parse_int, AT(max_reconnect_attempts), -1,
	 9999},
	{"control", parse_control, AT(control), 0, 0},
	{"connections", parse_int, AT(connections), 2, RTRS_MAX_CONS},
	{"queue-depth", parse_int, AT(queue_depth), 1, RTRS_MAX_QUEUE_DEPTH},
	{"io-timeout", parse_seconds, AT(io_timeout_ms), 0, DAY_MS},
	{"open-timeout", parse_seconds, AT(open_timeout_ms), 1, DAY_MS},
	{"connect-timeout", parse_seconds, AT(connect_timeout_ms), 1, DAY_MS},
	{"exports", parse_exports, 0, 0, 0, true},
	{"export-root", parse_root, AT(exports.root), 0, 0},
	{"export-allow", parse_allow, 0, 0, 0, true},
	{"export-modes", parse_bool, AT(exports.modes), 0, 0},
	{"mp_policy", parse_policy, AT(mp_policy), 0, 0},
	{"connect", parse_connect, AT(connect), 0, 0},
	{"quiesce-time", parse_seconds, AT(quiesce_time_ms), 1, DAY_MS},
	{"reconnect-delay", parse_seconds, AT(reconnect_delay_ms), 0, DAY_MS},
	{"reconnect-delay-max", parse_seconds, AT(reconnect_delay_max_ms), 0,
	 DAY_MS},
	{"heartbeat-interval", parse_seconds, AT(heartbeat_interval_ms), 1,
	 DAY_MS},
	{"heartbeat-missed", parse_int, AT(heartbeat_missed_max), 1, 1000},
	{"busy-poll", parse_int, AT(busy_poll_us), 0, 1000000},
	{"need-inval", parse_bool, AT(need_inval), 0, 0},
	{"preflight", parse_bool, AT(preflight), 0, 0},
	{"zero", parse_zero, AT(zero), 0, 0},
};

_Static_assert(ARRAY_SIZE(table) <= 64, "a bit of params.given for each");

const char params_help[] =
	"[device_path=]<NAME>     Device of the server, for every NBD client.\n"
	"                         Without it the export's name is the device.\n"
	"exports=[<NAME>=]<DEVICE>[,ro]  One of a fixed list; repeatable.\n"
	"export-root=<PREFIX>     Put before the names of clients.\n"
	"export-allow=<PATTERN>   Names that clients may use; repeatable.\n"
	"export-modes=<BOOL>      Names are ro:, rw: or migration:DEVICE "
	"(no).\n"
	"sessname=<NAME>          (required) Name of the session.\n"
	"path=<ADDRESS>           (required) Route to the server; repeatable:\n"
	"                         ip:<ADDR> or gid:<GID> for RDMA, or\n"
	"                         tcp:<HOST>[:<PORT>].\n"
	"path=<SRC>,<DST>         The same, from a given source address.\n"
	"dest_port=<PORT>         Port of the paths that follow (1234).\n"
	"access_mode=ro|rw|migration  (rw)\n"
	"control=<SOCKET>         Unix socket for rnbdctl client (none).\n"
	"connections=<N>          Connections per path.\n"
	"queue-depth=<N>          Limit on requests under way.\n"
	"io-timeout=<SECONDS>     How long I/O waits for a lost server (60).\n"
	"open-timeout=<SECONDS>   How long opening may take (10).\n"
	"connect-timeout=<SECONDS> How long one attempt may take (5).\n"
	"mp_policy=<POLICY>       Which path takes a request: round-robin,\n"
	"                         min-inflight or min-latency (min-inflight).\n"
	"connect=all|any|lazy     Paths that must be up at the start (all).\n"
	"quiesce-time=<SECONDS>  Do not wait longer to know that the server "
	"has\n"
	"                       given a lost path up (60).\n"
	"reconnect-delay=<SECONDS> Pause before the first attempt (1).\n"
	"reconnect-delay-max=<SECONDS>  It doubles up to this (2).\n"
	"max_reconnect_attempts=<N>  -1: no limit (-1).\n"
	"heartbeat-interval=<SECONDS>  (5)\n"
	"heartbeat-missed=<N>     Silent intervals that end a path (5).\n"
	"busy-poll=<USEC>         Look this long before sleeping, at most "
	"(0).\n"
	"zero=auto|trust|write    How zeroes are written (auto).\n"
	"preflight=<BOOL>         Try the device once at the start (yes).\n"
	"need-inval=<BOOL>        Have the server end the keys of reads (no).\n"
	"nr_poll_queues=<N>       For the kernel's spelling; no effect.";

static bool
same_key(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if ((*a == '_' ? '-' : *a) != (*b == '_' ? '-' : *b))
			return false;
	return *a == *b;
}

int
params_set(struct params *p, const char *key, const char *value,
	   char err[PARAMS_ERR_MAX])
{
	for (unsigned i = 0; i < ARRAY_SIZE(table); i++) {
		uint64_t bit = (uint64_t)1 << i;
		int r;

		if (!same_key(key, table[i].key))
			continue;
		/* The last to win would hide a slip of the keyboard. */
		if (p->given & bit && !table[i].repeats)
			return bad(err, &table[i], "given twice");
		r = table[i].parse(p, &table[i], value, err);
		if (!r)
			p->given |= bit;
		return r;
	}
	snprintf(err, PARAMS_ERR_MAX, "unknown parameter '%s'", key);
	return -EINVAL;
}
