/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Logging without a global: whoever creates an object hands it a struct log,
 * and the object logs there. A message names object, action and reason.
 *
 * A function either logs an error or returns it, never both; the engines
 * (rtrs/) log only what no caller can be told, such as a peer that was thrown
 * out, and return everything else.
 */
#ifndef RTRS_BASE_LOG_H
#define RTRS_BASE_LOG_H

#include <stdarg.h>
#include <stdbool.h>

enum log_level {
	LOG_LVL_ERROR,   /* something is lost or refused, a human should know */
	LOG_LVL_WARNING, /* unexpected, handled, worth a look when it repeats */
	LOG_LVL_INFO,    /* life cycle: sessions, paths, devices come and go */
	LOG_LVL_DEBUG,   /* each state change; never on the I/O path */
};

struct log {
	/*
	 * Takes one finished line without newline. Called on the thread that
	 * drives the object; must not block for long and must not call back.
	 */
	void (*sink)(void *user, enum log_level level, const char *line);
	void *user;
	/* Lines above this level are not formatted. See log_set_level(). */
	enum log_level threshold;
};

static inline enum log_level
log_threshold(const struct log *l)
{
	return __atomic_load_n(&l->threshold, __ATOMIC_RELAXED);
}

/* Any thread, while others log. */
static inline void
log_set_level(struct log *l, enum log_level level)
{
	__atomic_store_n(&l->threshold, level, __ATOMIC_RELAXED);
}

/* NULL is a valid log: it swallows everything. */
static inline bool
log_wants(const struct log *l, enum log_level level)
{
	return l && l->sink && level <= log_threshold(l);
}

void log_printf(const struct log *l, enum log_level level, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void log_vprintf(const struct log *l, enum log_level level, const char *fmt,
		 va_list ap) __attribute__((format(printf, 3, 0)));

#define log_at(l, level, ...)                                                  \
	do {                                                                   \
		if (log_wants(l, level))                                       \
			log_printf(l, level, __VA_ARGS__);                     \
	} while (0)
#define log_err(l, ...)  log_at(l, LOG_LVL_ERROR, __VA_ARGS__)
#define log_warn(l, ...) log_at(l, LOG_LVL_WARNING, __VA_ARGS__)
#define log_info(l, ...) log_at(l, LOG_LVL_INFO, __VA_ARGS__)
#define log_dbg(l, ...)  log_at(l, LOG_LVL_DEBUG, __VA_ARGS__)

/* "error", "warning", "info", "debug"; a total function. */
const char *log_level_name(enum log_level level);
/* The level of a name, or -1 when there is none of that name. */
int log_level_parse(const char *name);

#endif
