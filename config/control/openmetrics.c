/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/control/openmetrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/base/util.h"

/* ---------------------------------------------------------------- lines */

void
openmetrics_family(FILE *f, enum openmetrics_type type, const char *name,
		   const char *unit, const char *help)
{
	static const char *const types[] = {
		[OPENMETRICS_COUNTER] = "counter",
		[OPENMETRICS_GAUGE] = "gauge",
		[OPENMETRICS_INFO] = "info",
		[OPENMETRICS_HISTOGRAM] = "histogram",
	};

	fprintf(f, "# TYPE %s %s\n", name, types[type]);
	if (*unit)
		fprintf(f, "# UNIT %s %s\n", name, unit);
	fprintf(f, "# HELP %s %s\n", name, help);
}

void
openmetrics_end(FILE *f)
{
	fputs("# EOF\n", f);
}

void
openmetrics_name(FILE *f, enum openmetrics_type type, const char *name,
		 const char *labels)
{
	fputs(name, f);
	if (type == OPENMETRICS_COUNTER)
		fputs("_total", f);
	if (type == OPENMETRICS_INFO)
		fputs("_info", f);
	if (*labels)
		fprintf(f, "{%s}", labels);
	fputc(' ', f);
}

void
openmetrics_op_name(FILE *f, enum openmetrics_type type, const char *name,
		    const char *labels, const char *op)
{
	fprintf(f, "%s%s{%s,operation=\"%s\"} ", name,
		type == OPENMETRICS_COUNTER ? "_total" : "", labels, op);
}

void
openmetrics_value(FILE *f, uint64_t v)
{
	fprintf(f, "%" PRIu64 "\n", v);
}

void
openmetrics_seconds(FILE *f, uint64_t ns)
{
	fprintf(f, "%" PRIu64 ".%09" PRIu64 "\n", ns / NSEC_PER_SEC,
		ns % NSEC_PER_SEC);
}

/* ------------------------------------------------------------ histograms */

#define US(n) ((n)*NSEC_PER_USEC)
#define MS(n) ((n)*NSEC_PER_MSEC)

static const uint64_t bounds_ns[OPENMETRICS_N_BOUNDS] = {
	US(10),   US(25),   US(50),   US(100),  US(250),   US(500), MS(1),
	US(2500), MS(5),    MS(10),   MS(25),   MS(50),    MS(100), MS(250),
	MS(500),  MS(1000), MS(2500), MS(5000), MS(10000),
};

/* The same in seconds, in the form that the format prescribes. */
static const char *const bound_texts[OPENMETRICS_N_BOUNDS] = {
	"1e-05",  "2.5e-05", "5e-05", "0.0001", "0.00025", "0.0005", "0.001",
	"0.0025", "0.005",   "0.01",  "0.025",  "0.05",    "0.1",    "0.25",
	"0.5",    "1.0",     "2.5",   "5.0",    "10.0",
};

void
openmetrics_latency_take(const struct hist *h, struct openmetrics_latency *ret)
{
	*ret = (struct openmetrics_latency){
		.count = hist_count(h),
		.sum_ns = h->sum,
	};
	if (ret->count)
		hist_cumulative(h, bounds_ns, OPENMETRICS_N_BOUNDS, ret->le);
}

void
openmetrics_latency(FILE *f, const char *name, const char *labels,
		    const char *op, const struct openmetrics_latency *l)
{
	for (int b = 0; b <= OPENMETRICS_N_BOUNDS; b++) {
		bool last = b == OPENMETRICS_N_BOUNDS;

		fprintf(f,
			"%s_bucket{%s,operation=\"%s\",le=\"%s\"} %" PRIu64
			"\n",
			name, labels, op, last ? "+Inf" : bound_texts[b],
			last ? l->count : l->le[b]);
	}
	fprintf(f, "%s_count{%s,operation=\"%s\"} %" PRIu64 "\n", name, labels,
		op, l->count);
	fprintf(f, "%s_sum{%s,operation=\"%s\"} ", name, labels, op);
	openmetrics_seconds(f, l->sum_ns);
}

/* ---------------------------------------------------------------- labels */

/* Bytes of the UTF-8 character at p, of the shortest form and no surrogate; 0:
 * it is none. Never looks beyond a NUL. */
static size_t
utf8_len(const unsigned char *p)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t c;
	size_t n;

	if (*p < 0x80)
		return 1;
	if ((*p & 0xe0) == 0xc0)
		n = 2;
	else if ((*p & 0xf0) == 0xe0)
		n = 3;
	else if ((*p & 0xf8) == 0xf0)
		n = 4;
	else
		return 0;
	c = *p & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

/* The two backslashes are one, escaped. */
static char *
put_hex(char *out, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";

	memcpy(out, "\\\\x", 3);
	out[3] = hex[c >> 4];
	out[4] = hex[c & 15];
	return out + 5;
}

char *
openmetrics_label_value(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	char *ret = malloc(5 * strlen(name) + 1), *out = ret;

	if (!ret)
		return NULL;
	while (*p) {
		size_t n = utf8_len(p);
		/* C1 controls are two bytes, the first of them 0xc2. */
		bool control = *p < ' ' || *p == 0x7f ||
			       (n == 2 && *p == 0xc2 && p[1] < 0xa0);

		if (!n || control || *p == '\\') {
			out = put_hex(out, *p++);
			continue;
		}
		if (*p == '"')
			*out++ = '\\';
		memcpy(out, p, n);
		out += n;
		p += n;
	}
	*out = '\0';
	return ret;
}

char *
openmetrics_labels(const char *n1, const char *v1, const char *n2,
		   const char *v2)
{
	cleanup_free char *e1 = openmetrics_label_value(v1);
	cleanup_free char *e2 = n2 ? openmetrics_label_value(v2) : NULL;
	char *ret;
	int r;

	if (!e1 || (n2 && !e2))
		return NULL;
	if (n2)
		r = asprintf(&ret, "%s=\"%s\",%s=\"%s\"", n1, e1, n2, e2);
	else
		r = asprintf(&ret, "%s=\"%s\"", n1, e1);
	return r < 0 ? NULL : ret;
}
