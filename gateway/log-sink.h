/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the daemon's log lines go: stderr, or syslog once it is a daemon. Any
 * thread. What came from a peer cannot do harm: whatever is not printable is
 * escaped, and a line that repeats is counted instead of printed.
 */
#ifndef GATEWAY_LOG_SINK_H
#define GATEWAY_LOG_SINK_H

#include <stdint.h>

#include "rtrs/base/log.h"

struct log_sink;

struct log_sink_params {
	const char *ident; /* before each line; outlives the sink */
	enum log_level threshold;
	int fd; /* usually 2; not closed */
	uint64_t (*now)(void);
};

/*
 * Lines that differ only in their numbers, or in what stands in quotation
 * marks, are alike. Whoever logs text of a peer quotes it. Of those,
 * LOG_SINK_BURST are printed per LOG_SINK_WINDOW_MS; the next one after that
 * says how many were left out.
 */
#define LOG_SINK_BURST     20
#define LOG_SINK_WINDOW_MS 10000

int log_sink_new(const struct log_sink_params *p, struct log_sink **ret);
void log_sink_free(struct log_sink *s);
struct log *log_sink_log(struct log_sink *s);
/* From now on lines go to syslog(3), facility daemon. */
void log_sink_to_syslog(struct log_sink *s);

#endif
