/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * OpenMetrics 1.0 text: its lines, for whoever has something to count. A family
 * is begun once, then its samples follow; the caller ends the page. Pure: what
 * goes wrong is the FILE's error. Times are nanoseconds, and printed as
 * seconds.
 */
#ifndef CONFIG_CONTROL_OPENMETRICS_H
#define CONFIG_CONTROL_OPENMETRICS_H

#include <stdint.h>
#include <stdio.h>

#include "rtrs/base/hist.h"

#define OPENMETRICS_CONTENT_TYPE                                               \
	"application/openmetrics-text; version=1.0.0; charset=utf-8"

enum openmetrics_type {
	OPENMETRICS_COUNTER,
	OPENMETRICS_GAUGE,
	OPENMETRICS_INFO,
	OPENMETRICS_HISTOGRAM,
};

/* unit "": none. */
void openmetrics_family(FILE *f, enum openmetrics_type type, const char *name,
			const char *unit, const char *help);
/* The last line. */
void openmetrics_end(FILE *f);

/* name, its suffix if it is a counter, {labels} and a space; labels may be "",
 * or what openmetrics_labels() made. */
void openmetrics_name(FILE *f, enum openmetrics_type type, const char *name,
		      const char *labels);
/* The same with one more label, the operation; labels must not be "". */
void openmetrics_op_name(FILE *f, enum openmetrics_type type, const char *name,
			 const char *labels, const char *op);
/* The rest of the line. */
void openmetrics_value(FILE *f, uint64_t v);
void openmetrics_seconds(FILE *f, uint64_t ns);

/* The upper bounds of the buckets, but for +Inf: 10 us to 10 s. */
#define OPENMETRICS_N_BOUNDS 19
struct openmetrics_latency {
	uint64_t le[OPENMETRICS_N_BOUNDS]; /* not longer than that */
	uint64_t count, sum_ns;
};
void openmetrics_latency_take(const struct hist *h,
			      struct openmetrics_latency *ret);
/* All lines of an operation's histogram; labels must not be "". */
void openmetrics_latency(FILE *f, const char *name, const char *labels,
			 const char *op, const struct openmetrics_latency *l);

/*
 * A value of a label: what is not UTF-8, control characters and backslashes
 * become \xHH, so that two names stay two; then escaped as the format wants it.
 * The caller frees it. NULL: no memory.
 */
char *openmetrics_label_value(const char *name);
/* One or two labels with these values; n2 may be NULL. As above. */
char *openmetrics_labels(const char *n1, const char *v1, const char *n2,
			 const char *v2);

#endif
