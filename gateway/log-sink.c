/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/log-sink.h"

#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "rtrs/base/util.h"

#define N_KINDS  64
#define LINE_MAX 1024

/* Lines that are alike. */
struct kind {
	uint64_t hash; /* 0: free */
	uint64_t window_start;
	unsigned printed;    /* in this window */
	unsigned suppressed; /* since the last one that was printed */
};

struct log_sink {
	struct log log;
	const char *ident;
	int fd;
	uint64_t (*now)(void);
	bool to_syslog;
	pthread_mutex_t lock; /* kinds, to_syslog */
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
	*oldest = (struct kind){.hash = hash, .window_start = now};
	return oldest;
}

/* May the line be printed? Then *ret_left_out were not, before it. */
static bool
admit(struct log_sink *s, enum log_level level, const char *line,
      unsigned *ret_left_out)
{
	uint64_t now = s->now();
	struct kind *k = find_kind(s, hash_kind(level, line), now);

	if (now - k->window_start >= LOG_SINK_WINDOW_MS * NSEC_PER_MSEC) {
		k->window_start = now;
		k->printed = 0;
	}
	if (k->printed >= LOG_SINK_BURST) {
		k->suppressed++;
		return false;
	}
	k->printed++;
	*ret_left_out = k->suppressed;
	k->suppressed = 0;
	return true;
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

static void
emit(const struct log_sink *s, enum log_level level, const char *text,
     unsigned left_out)
{
	static const int prio[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	char note[64] = "", out[LINE_MAX + 160];
	int n;

	if (left_out)
		snprintf(note, sizeof(note), " (%u more like this left out)",
			 left_out);
	if (s->to_syslog) {
		syslog(prio[level], "%s%s", text, note);
		return;
	}
	n = snprintf(out, sizeof(out), "%s: %s: %s%s\n", s->ident,
		     log_level_name(level), text, note);
	if (n > (int)sizeof(out) - 1)
		n = (int)sizeof(out) - 1;
	/* One write per line; a log that is gone is no reason to stop. */
	if (write(s->fd, out, (size_t)n) < 0)
		return;
}

static void
sink(void *user, enum log_level level, const char *line)
{
	struct log_sink *s = user;
	char text[LINE_MAX];
	unsigned left_out;

	escape(line, text, sizeof(text));
	pthread_mutex_lock(&s->lock);
	if (admit(s, level, text, &left_out))
		emit(s, level, text, left_out);
	pthread_mutex_unlock(&s->lock);
}

int
log_sink_new(const struct log_sink_params *p, struct log_sink **ret)
{
	struct log_sink *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_mutex_init(&s->lock, NULL);
	s->ident = p->ident;
	s->fd = p->fd;
	s->now = p->now;
	s->log = (struct log){
		.sink = sink,
		.user = s,
		.threshold = p->threshold,
	};
	*ret = s;
	return 0;
}

void
log_sink_free(struct log_sink *s)
{
	if (!s)
		return;
	if (s->to_syslog)
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
log_sink_to_syslog(struct log_sink *s)
{
	openlog(s->ident, LOG_PID, LOG_DAEMON);
	pthread_mutex_lock(&s->lock);
	s->to_syslog = true;
	pthread_mutex_unlock(&s->lock);
}
