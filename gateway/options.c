/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/options.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "gateway/os.h"
#include "gateway/spec.h"
#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"

static int __attribute__((format(printf, 2, 3)))
refuse(char err[CONF_TEXT_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, CONF_TEXT_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int
no_memory(char err[CONF_TEXT_MAX])
{
	(void)refuse(err, "out of memory");
	return -ENOMEM;
}

/* ------------------------------------------------------- kinds of values */

static int
set_number(uint64_t *ret, const char *s, uint64_t min, uint64_t max,
	   char err[CONF_TEXT_MAX])
{
	char *end;
	unsigned long long v;

	errno = 0;
	v = strtoull(s, &end, 10);
	if (*s < '0' || *s > '9' || *end || errno || v < min || v > max)
		return refuse(err, "give a number from %" PRIu64 " to %" PRIu64,
			      min, max);
	*ret = v;
	return 0;
}

static int
set_unsigned(unsigned *ret, const char *s, unsigned min, unsigned max,
	     char err[CONF_TEXT_MAX])
{
	uint64_t v;
	int r = set_number(&v, s, min, max, err);

	if (!r)
		*ret = (unsigned)v;
	return r;
}

/* Bytes, with K, M, G or T for powers of 1024. */
static int
set_bytes(uint64_t *ret, const char *s, char err[CONF_TEXT_MAX])
{
	if (!gw_size_parse(s, ret))
		return 0;
	return refuse(err,
		      "give a number of bytes; K, M, G or T may follow it");
}

static int
set_bool(bool *ret, const char *s, char err[CONF_TEXT_MAX])
{
	if (strcmp(s, "yes") && strcmp(s, "no"))
		return refuse(err, "give yes or no");
	*ret = !strcmp(s, "yes");
	return 0;
}

static int
set_string(char **ret, const char *s, char err[CONF_TEXT_MAX])
{
	char *copy = strdup(s);

	if (!copy)
		return no_memory(err);
	free(*ret);
	*ret = copy;
	return 0;
}

static int
set_path(char **ret, const char *s, char err[CONF_TEXT_MAX])
{
	return *s ? set_string(ret, s, err) : refuse(err, "the path is empty");
}

/* ------------------------------------------------------------------ keys */

static int
set_queue_depth(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_unsigned(&o->queue_depth, s, 1, RTRS_MAX_QUEUE_DEPTH, err);
}

static int
set_chunk_size(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;
	uint64_t v;
	int r = set_bytes(&v, s, err);

	if (r)
		return r;
	if (v < RTRS_MIN_CHUNK_SIZE || v > UINT32_MAX || (v & (v - 1)))
		return refuse(err, "give a power of two from %d (such as 128K)",
			      RTRS_MIN_CHUNK_SIZE);
	o->chunk_size = (uint32_t)v;
	return 0;
}

static int
set_workers(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_unsigned(&o->workers, s, 1, OPT_MAX_WORKERS, err);
}

static int
set_busy_poll(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_number(&o->busy_poll_us, s, 0, 1000000, err);
}

static int
set_always_invalidate(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_bool(&o->always_invalidate, s, err);
}

static int
set_max_sessions(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_unsigned(&o->max_sessions, s, 1, 1000000, err);
}

static int
set_max_memory(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_bytes(&o->max_memory, s, err);
}

static int
set_hb_interval(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_unsigned(&o->hb_interval_ms, s, 10, 3600000, err);
}

static int
set_hb_missed(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_unsigned(&o->hb_missed_max, s, 1, 1000, err);
}

static int
set_log_level(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;
	int v = log_level_parse(s);

	if (v < 0)
		return refuse(err, "give error, warning, info or debug");
	o->log_level = (enum log_level)v;
	return 0;
}

static int
set_log_target(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	static const char *const names[] = {
		[LOG_TARGET_STDERR] = "stderr",
		[LOG_TARGET_JOURNAL] = "journal",
		[LOG_TARGET_SYSLOG] = "syslog",
	};
	struct options *o = obj;

	o->log_target_given = strcmp(s, "auto");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		o->log_target = (enum log_target)i;
		if (!o->log_target_given || !strcmp(s, names[i]))
			return 0;
	}
	return refuse(err, "give auto, stderr, journal or syslog");
}

static int
set_sandbox(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_bool(&o->sandbox, s, err);
}

static int
set_core_dumps(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_bool(&o->core_dumps, s, err);
}

static int
set_no_io_uring(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_bool(&o->no_io_uring, s, err);
}

static int
set_foreground(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_bool(&o->foreground, s, err);
}

static int
set_pid_file(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	return set_path(&o->pid_file, s, err);
}

static int
set_control(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;
	struct sockaddr_un sun;

	if (strlen(s) >= sizeof(sun.sun_path))
		return refuse(err,
			      "longer than the %zu bytes of a socket's path; "
			      "choose a shorter one",
			      sizeof(sun.sun_path) - 1);
	return set_path(&o->control, s, err);
}

static int
set_control_group(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;
	unsigned id;
	int r = os_group(s, &id);

	if (r < 0)
		return refuse(err, "%s",
			      r == -ENOENT ? "there is no such group"
					   : strerror(-r));
	o->has_control_group = true;
	o->control_group = id;
	return 0;
}

static int
set_metrics(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;
	/* The address borrows from it. */
	int r = set_string(&o->metrics_text, s, err);

	if (!r)
		r = http_addr_parse(o->metrics_text, &o->metrics, err,
				    CONF_TEXT_MAX);
	o->has_metrics = !r;
	return r;
}

static int
set_search_path(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;

	if (*s != '/')
		return refuse(err, "give an absolute path");
	return set_string(&o->search_path, s, err);
}

int
options_add_spec(struct options *o, const struct gw_spec *spec,
		 char err[OPT_TEXT_MAX])
{
	struct gw_spec *p;
	int r = gw_spec_check(spec, err);

	if (r)
		return r;
	for (unsigned i = 0; i < o->n_specs; i++)
		if (!strcmp(o->specs[i].name, spec->name))
			return refuse(err,
				      "export '%s': there is one of that name "
				      "already",
				      spec->name);
	p = reallocarray(o->specs, o->n_specs + 1, sizeof(*p));
	if (!p)
		return no_memory(err);
	o->specs = p;
	p += o->n_specs;
	*p = *spec;
	if (o->at_path &&
	    asprintf(&p->place, "%s:%u", o->at_path, o->at_line) < 0)
		return no_memory(err);
	o->n_specs++;
	return 0;
}

static int
add_export(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct gw_spec spec;
	int r = gw_spec_parse(s, &spec, err);

	if (r)
		return r;
	r = options_add_spec(obj, &spec, err);
	if (r)
		gw_spec_deinit(&spec);
	return r;
}

/*
 * Fills ret with the addresses of text. Those that are listened on already are
 * what text meant when that began; the addresses of one text share its copy.
 */
static int
find_addresses(const struct options *prior, const char *text,
	       struct listen_addr *ret, unsigned room, char err[CONF_TEXT_MAX])
{
	const char *found = NULL;
	unsigned n = 0;

	for (unsigned i = 0; prior && i < prior->n_listen && n < room; i++) {
		const struct listen_addr *la = &prior->listen[i];

		if (!found && !strcmp(la->text, text))
			found = la->text;
		if (la->text == found)
			ret[n++] = *la;
	}
	return n ? (int)n
		 : listen_addr_parse(text, ret, room, err, CONF_TEXT_MAX);
}

static int
add_listen(void *obj, const char *s, char err[CONF_TEXT_MAX])
{
	struct options *o = obj;
	unsigned n = o->n_listen;
	char *text = NULL;
	int r;

	if (n == OPT_MAX_LISTENERS)
		return refuse(err, "more than %d addresses", OPT_MAX_LISTENERS);
	r = find_addresses(o->prior, s, &o->listen[n], OPT_MAX_LISTENERS - n,
			   err);
	if (r < 0)
		return r;
	n += (unsigned)r;
	r = set_string(&text, s, err);
	if (r)
		return r;
	o->listen_texts[o->n_listen_texts++] = text;
	while (o->n_listen < n)
		o->listen[o->n_listen++].text = text;
	return 0;
}

const struct conf_key gw_option_keys[] = {
	{"listen", "ADDRESS",
	 "accept clients at tcp:HOST[:PORT], or by RDMA at ip:ADDR[:PORT], "
	 "gid:GID[:PORT], dev:RDMA-DEVICE[:PORT]; repeatable "
	 "(" OPT_DEFAULT_LISTEN ")",
	 add_listen, true},
	{"export", "NAME=SPEC",
	 "offer PATH, file:PATH, memory:SIZE, null:SIZE or an NBD URI, "
	 "then [,ro]; repeatable",
	 add_export, true},
	{"search-path", "DIR",
	 "offer what is below DIR; %SESSNAME% is the client's session name",
	 set_search_path},
	{"queue-depth", "N", "requests under way per session (512)",
	 set_queue_depth},
	{"chunk-size", "BYTES",
	 "largest request plus 4096; a power of two (128K)", set_chunk_size},
	{"workers", "N", "I/O threads (CPUs, at most 4)", set_workers},
	{"busy-poll", "USEC", "look this long for work before sleeping (0)",
	 set_busy_poll},
	{"no-io-uring", "[yes|no]",
	 "do all I/O by threads and plain system calls (no)", set_no_io_uring},
	{"always-invalidate", "yes|no",
	 "renew the key of a buffer with each request (no)",
	 set_always_invalidate},
	{"max-sessions", "N", "client sessions (1024)", set_max_sessions},
	{"max-memory", "BYTES",
	 "buffers of all sessions; 0: no limit (half of the memory)",
	 set_max_memory},
	{"heartbeat-interval", "MS",
	 "how often to look after silent clients (5000)", set_hb_interval},
	{"heartbeat-missed", "N",
	 "missed heartbeats until a path is given up (5)", set_hb_missed},
	{"control", "SOCKET", "answer rnbdctl on this unix socket",
	 set_control},
	{"control-group", "GROUP",
	 "let members of this group use it too (that of the process)",
	 set_control_group},
	{"metrics", "ADDRESS",
	 "serve OpenMetrics by HTTP at ADDR:PORT or unix:PATH", set_metrics},
	{"foreground", "[yes|no]", "do not become a daemon; log to stderr (no)",
	 set_foreground},
	{"pid-file", "FILE", "write the process id here", set_pid_file},
	{"log-level", "LEVEL", "error, warning, info or debug (info)",
	 set_log_level},
	{"log-target", "TARGET", "stderr, journal, syslog or auto (auto)",
	 set_log_target},
	{"sandbox", "yes|no",
	 "refuse itself what it never does, such as to start programs (yes)",
	 set_sandbox},
	{"core-dumps", "yes|no", "allow core dumps and debuggers (no)",
	 set_core_dumps},
	{0},
};

/* --------------------------------------------------------- combinations */

/* max-memory was not given. */
#define MEMORY_BY_DEFAULT UINT64_MAX

static uint64_t
max_chunk_size(unsigned queue_depth)
{
	return UINT64_C(1) << rtrs_imm_mem_bits(queue_depth);
}

int
options_finish(struct options *o, char err[OPT_TEXT_MAX])
{
	uint64_t need;

	if (!o->n_specs && !o->search_path)
		return refuse(err, "nothing to offer: give --export NAME=SPEC "
				   "or --search-path DIR");
	if (!rtrs_imm_sizes_ok(o->queue_depth, o->chunk_size))
		return refuse(err,
			      "chunk-size %" PRIu32
			      " is too large for queue-depth %u: at most "
			      "%" PRIu64 "; lower one of them",
			      o->chunk_size, o->queue_depth,
			      max_chunk_size(o->queue_depth));
	if (o->log_target_given && o->log_target != LOG_TARGET_SYSLOG &&
	    !o->foreground)
		return refuse(
			err, "log-target: a daemon has no standard error; give "
			     "syslog, or foreground too");
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
		return refuse(err,
			      "max-memory %" PRIu64
			      " does not hold one session: %" PRIu64
			      " is the least for queue-depth %u and "
			      "chunk-size %" PRIu32,
			      o->max_memory, need, o->queue_depth,
			      o->chunk_size);
	return o->n_listen ? 0 : add_listen(o, OPT_DEFAULT_LISTEN, err);
}

void
options_init(struct options *o, const struct options *prior)
{
	unsigned cpus = os_cpus();

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
		.prior = prior,
	};
}

void
options_deinit(struct options *o)
{
	for (unsigned i = 0; i < o->n_listen_texts; i++)
		free(o->listen_texts[i]);
	for (unsigned i = 0; i < o->n_specs; i++)
		gw_spec_deinit(&o->specs[i]);
	free(o->specs);
	free(o->search_path);
	free(o->control);
	free(o->metrics_text);
	free(o->pid_file);
	*o = (struct options){0};
}
