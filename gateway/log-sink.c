/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/log-sink.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "rtrs/base/util.h"

#define N_KINDS    64
#define LINE_MAX   1024
/* Of a line that is kept as a sample of its kind. */
#define SAMPLE_MAX 200

/* Lines that are alike. */
struct kind {
	uint64_t hash; /* 0: free */
	uint64_t window_start;
	unsigned printed;    /* in this window */
	unsigned suppressed; /* since the last one that was printed */
	enum log_level level;
	char sample[SAMPLE_MAX]; /* of those that were left out */
};

struct log_sink {
	struct log log;
	const char *ident;
	int fd;
	uint64_t (*now)(void);
	enum log_target target;
	int patience_ms;
	unsigned dropped;     /* lines, since the last that got through */
	pthread_mutex_t lock; /* all but log, ident, fd and now */
	unsigned n_owing;     /* kinds with lines that were left out */
	struct kind kinds[N_KINDS];
};

/* Names of peers stand in quotation marks, and may hold some. */
static const char *
end_of_quotes(const char *line)
{
	const char *end = line + strlen(line);

	while (end > line && end[-1] != '\'' && end[-1] != '"')
		end--;
	return end;
}

/*
 * A hash of the line in which each word that has a digit counts as one, and so
 * does all from the first quotation mark to the last: what a peer may choose
 * must not make a line look new.
 */
static uint64_t
hash_kind(enum log_level level, const char *line)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325) + (unsigned)level;
	const char *p = line, *quotes_end = end_of_quotes(line);

	while (*p) {
		const char *start;
		bool has_digit = false;

		if ((*p == '\'' || *p == '"') && p < quotes_end) {
			h = (h ^ '\'') * UINT64_C(0x100000001b3);
			p = quotes_end;
			continue;
		}
		/* An IPv6 address, of which a peer may have any number. */
		if (*p == '[' && strchr(p, ']'))
			p = strchr(p, ']');
		start = p;
		while (isalnum((unsigned char)*p)) {
			has_digit |= isdigit((unsigned char)*p);
			p++;
		}
		if (p == start)
			p++;
		if (has_digit) {
			h = (h ^ '#') * UINT64_C(0x100000001b3);
			continue;
		}
		for (; start < p; start++)
			h = (h ^ (unsigned char)*start) *
			    UINT64_C(0x100000001b3);
	}
	return h ? h : 1;
}

/* Printable ASCII as it is, the rest as \xNN. */
static void
escape(const char *line, char *out, size_t size)
{
	size_t n = 0;

	for (; *line && n + 5 < size; line++) {
		unsigned char c = (unsigned char)*line;

		if (c >= 0x20 && c < 0x7f)
			out[n++] = *line;
		else
			n += (size_t)snprintf(out + n, 5, "\\x%02x", c);
	}
	out[n] = '\0';
}

/*
 * Whoever logs may be a worker, or the control thread, and holds the lock: they
 * must not sleep here because nobody reads a pipe, or because the journal is
 * stuck, since without heartbeats all clients leave. What poll(2) calls
 * writable takes a line at once: a pipe has room for a page, a socket for a
 * part of its buffer, a stopped terminal is not. What remains is a disk that
 * hangs below a file, a terminal with less room than a line, and a writer of
 * another process that is faster.
 */
static bool
has_room(struct log_sink *s)
{
	struct pollfd p = {.fd = s->fd, .events = POLLOUT};
	int n;

	if (s->patience_ms < 0)
		return true;
	do
		n = poll(&p, 1, s->patience_ms);
	while (n < 0 && errno == EINTR);
	/* Once in vain is enough: a bound for all that is to come. */
	if (!n)
		s->patience_ms = 0;
	return n;
}

/* False: it would have to wait. */
static bool
put_line(struct log_sink *s, enum log_level level, const char *text,
	 const char *note)
{
	static const int prio[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	char out[LINE_MAX + 160];
	int n;

	switch (s->target) {
	case LOG_TARGET_SYSLOG:
		/* It waits for the socket of the system's log, if that is
		 * full; the C library offers no other way. */
		syslog(prio[level], "%s%s", text, note);
		return true;
	case LOG_TARGET_JOURNAL:
		n = snprintf(out, sizeof(out), "<%d>%s%s\n", prio[level], text,
			     note);
		break;
	default:
		n = snprintf(out, sizeof(out), "%s: %s: %s%s\n", s->ident,
			     log_level_name(level), text, note);
		break;
	}
	if (n > (int)sizeof(out) - 1)
		n = (int)sizeof(out) - 1;
	if (!has_room(s))
		return false;
	/* One write per line; a log that is gone is no reason to stop. */
	if (write(s->fd, out, (size_t)n) < 0)
		return true;
	return true;
}

/* Says how many lines were lost, if there is room for that by now. */
static bool
settle_dropped(struct log_sink *s)
{
	char text[64];

	if (!s->dropped)
		return true;
	snprintf(text, sizeof(text), "%u log lines were lost: nobody read them",
		 s->dropped);
	if (!put_line(s, LOG_LVL_WARNING, text, ""))
		return false;
	s->dropped = 0;
	return true;
}

static void
emit(struct log_sink *s, enum log_level level, const char *text,
     const char *note)
{
	if (!settle_dropped(s) || !put_line(s, level, text, note))
		s->dropped++;
}

/* ------------------------------------------------------------ repetition */

/* Says how many of a kind were left out, though no other one has come. */
static void
settle(struct log_sink *s, struct kind *k)
{
	char note[64];

	if (!k->suppressed)
		return;
	snprintf(note, sizeof(note), " (%u like this left out)", k->suppressed);
	emit(s, k->level, k->sample, note);
	k->suppressed = 0;
	s->n_owing--;
}

static bool
window_is_over(const struct kind *k, uint64_t now)
{
	return now - k->window_start >= LOG_SINK_WINDOW_MS * NSEC_PER_MSEC;
}

static void
settle_overdue(struct log_sink *s, uint64_t now, uint64_t but_hash)
{
	for (unsigned i = 0; s->n_owing && i < N_KINDS; i++) {
		struct kind *k = &s->kinds[i];

		if (k->hash != but_hash && window_is_over(k, now))
			settle(s, k);
	}
}

/* The entry of a hash; if there is none, in place of the oldest. */
static struct kind *
find_kind(struct log_sink *s, uint64_t hash, uint64_t now)
{
	struct kind *oldest = &s->kinds[0];

	for (unsigned i = 0; i < N_KINDS; i++) {
		struct kind *k = &s->kinds[i];

		if (k->hash == hash)
			return k;
		if (k->window_start < oldest->window_start)
			oldest = k;
	}
	settle(s, oldest);
	*oldest = (struct kind){.hash = hash, .window_start = now};
	return oldest;
}

static void
leave_out(struct log_sink *s, struct kind *k, enum log_level level,
	  const char *text)
{
	if (!k->suppressed++) {
		s->n_owing++;
		k->level = level;
		snprintf(k->sample, sizeof(k->sample), "%s", text);
	}
}

/* Prints the line, or counts it. */
static void
admit(struct log_sink *s, enum log_level level, const char *text)
{
	uint64_t now = s->now(), hash = hash_kind(level, text);
	char note[64] = "";
	struct kind *k;

	settle_overdue(s, now, hash);
	k = find_kind(s, hash, now);
	if (window_is_over(k, now)) {
		k->window_start = now;
		k->printed = 0;
	}
	if (k->printed >= LOG_SINK_BURST) {
		leave_out(s, k, level, text);
		return;
	}
	k->printed++;
	if (k->suppressed) {
		snprintf(note, sizeof(note), " (%u more like this left out)",
			 k->suppressed);
		k->suppressed = 0;
		s->n_owing--;
	}
	emit(s, level, text, note);
}

static void
sink(void *user, enum log_level level, const char *line)
{
	struct log_sink *s = user;
	char text[LINE_MAX];

	escape(line, text, sizeof(text));
	pthread_mutex_lock(&s->lock);
	admit(s, level, text);
	pthread_mutex_unlock(&s->lock);
}

/* ------------------------------------------------------------------ sink */

int
log_sink_new(const struct log_sink_params *p, struct log_sink **ret)
{
	struct log_sink *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->ident = p->ident;
	s->fd = p->fd;
	s->target = p->target;
	s->patience_ms = -1;
	s->now = p->now;
	s->log = (struct log){
		.sink = sink,
		.user = s,
		.threshold = p->threshold,
	};
	openlog(s->ident, LOG_PID, LOG_DAEMON);
	*ret = s;
	return 0;
}

void
log_sink_free(struct log_sink *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < N_KINDS; i++)
		settle(s, &s->kinds[i]);
	(void)settle_dropped(s);
	closelog();
	pthread_mutex_destroy(&s->lock);
	free(s);
}

struct log *
log_sink_log(struct log_sink *s)
{
	return &s->log;
}

void
log_sink_set_target(struct log_sink *s, enum log_target target)
{
	pthread_mutex_lock(&s->lock);
	s->target = target;
	pthread_mutex_unlock(&s->lock);
}

void
log_sink_set_patience(struct log_sink *s, int ms)
{
	pthread_mutex_lock(&s->lock);
	s->patience_ms = ms;
	pthread_mutex_unlock(&s->lock);
}

bool
log_sink_fd_is_journal(int fd)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;
	int end = 0;

	/* Inherited by everything below a service: only its own descriptor
	 * counts, whose device and inode it names. */
	return stream && sscanf(stream, "%llu:%llu%n", &dev, &ino, &end) == 2 &&
	       !stream[end] && fstat(fd, &st) == 0 && st.st_dev == dev &&
	       st.st_ino == ino;
}
