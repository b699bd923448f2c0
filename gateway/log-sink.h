/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the daemon's log lines go: a descriptor, such as stderr, or syslog. Any
 * thread. What came from a peer cannot do harm: whatever is not printable is
 * escaped, and a line that repeats is counted instead of printed.
 */
#ifndef GATEWAY_LOG_SINK_H
#define GATEWAY_LOG_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "rtrs/base/log.h"

struct log_sink;

enum log_target {
	/* "IDENT: level: text", for people. */
	LOG_TARGET_STDERR,
	/* "<N>text", for the journal at the other end of the descriptor: it
	 * has time and name of its own, and takes the priority N from the line
	 * (sd-daemon(3)), so that no library is needed for it. */
	LOG_TARGET_JOURNAL,
	LOG_TARGET_SYSLOG, /* syslog(3), facility daemon */
};

struct log_sink_params {
	const char *ident; /* before each line; outlives the sink */
	enum log_level threshold;
	enum log_target target;
	int fd; /* usually 2; not closed */
	uint64_t (*now)(void);
};

/*
 * Lines that differ only in their numbers, or in what stands in quotation
 * marks, are alike. Whoever logs text of a peer quotes it. Of those,
 * LOG_SINK_BURST are printed per LOG_SINK_WINDOW_MS; the next one after that
 * says how many were left out. If none follows, the next line of any kind says
 * it with a sample, and so does the end of the sink: a count is never lost.
 */
#define LOG_SINK_BURST     20
#define LOG_SINK_WINDOW_MS 10000

int log_sink_new(const struct log_sink_params *p, struct log_sink **ret);
void log_sink_free(struct log_sink *s);
struct log *log_sink_log(struct log_sink *s);
/* From now on. */
void log_sink_set_target(struct log_sink *s, enum log_target target);
/*
 * How long a line may wait for room in the descriptor. -1, as it begins: for as
 * long as it takes; so what is wrong with a start is always said. 0: not at
 * all, for while there are clients: lines that find no room are lost, and the
 * next that does comes after one that counts them. Otherwise ms, but after the
 * first line that waited in vain as 0: the end of a process is not held up.
 */
void log_sink_set_patience(struct log_sink *s, int ms);
#define LOG_SINK_END_MS 1000
/* Whether fd leads to the journal, as JOURNAL_STREAM in the environment says.
 */
bool log_sink_fd_is_journal(int fd);

#endif
