/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who does how much: the differences between two looks at the counters, drawn
 * again and again on a terminal, or printed so many times.
 */
#include "gateway/ctl/ctl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "gateway/ctl/term.h"

#define DEFAULT_DELAY 2.0

struct sample {
	double at; /* seconds */
	json_t *stats, *devices;
};

struct row {
	const char *sess, *dev; /* of the newer sample */
	double reads, writes;   /* per second, so are the bytes */
	double read_bytes, write_bytes;
};

enum sort {
	BY_REQUESTS,
	BY_BYTES,
	BY_NAME,
	N_SORTS,
};

static const char *const sort_names[N_SORTS] = {"requests", "bytes", "name"};
static enum sort sort_by; /* qsort() gives its callback nothing else */

static void
sample_free(struct sample *s)
{
	json_decref(s->stats);
	json_decref(s->devices);
	*s = (struct sample){0};
}

static int
sample_take(struct rpc *rpc, struct sample *ret)
{
	struct timespec ts;
	int r = rpc_call(rpc, "stats", json_pack("{s:b}", "buckets", 1),
			 &ret->stats);

	if (!r)
		r = rpc_call(rpc, "device.list", NULL, &ret->devices);
	clock_gettime(CLOCK_MONOTONIC, &ts);
	ret->at = (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
	return r;
}

/* ----------------------------------------------------------------- rates */

/* A counter that went back began anew. */
static double
rate(const json_t *now, const json_t *then, const char *key, double span)
{
	json_int_t a = json_num(now, key), b = then ? json_num(then, key) : 0;

	return span > 0 ? (double)(a < b ? a : a - b) / span : 0;
}

/* How many of a histogram are in the bucket that ends at top. */
static json_int_t
in_bucket(const json_t *hist, json_int_t top)
{
	json_t *b;
	size_t i;

	json_array_foreach(hist, i, b)
		if (json_integer_value(json_array_get(b, 0)) == top)
			return json_integer_value(json_array_get(b, 1));
	return 0;
}

/* What the share q of the requests between two looks did not exceed, ns. */
static double
quantile(const struct sample *now, const struct sample *then, double q)
{
	const json_t *a = json_object_get(now->stats, "buckets");
	const json_t *b = json_object_get(then->stats, "buckets");
	json_int_t total = 0, seen = 0, top = 0, n;
	json_t *bucket;
	size_t i;

	for (int counting = 1; counting >= 0; counting--) {
		json_array_foreach(a, i, bucket) {
			json_int_t v =
				json_integer_value(json_array_get(bucket, 0));

			n = json_integer_value(json_array_get(bucket, 1)) -
			    in_bucket(b, v);
			/* The sums were reset in between. */
			if (n < 0)
				return 0;
			if (counting) {
				total += n;
				continue;
			}
			seen += n;
			if (n)
				top = v;
			if (n && (double)seen >= q * (double)total)
				return (double)top;
		}
	}
	return 0;
}

static const json_t *
same_device(const json_t *devices, const json_t *dev)
{
	json_t *other;
	size_t i;

	json_array_foreach(devices, i, other)
		if (json_num(other, "id") == json_num(dev, "id") &&
		    !strcmp(json_str(other, "sessname"),
			    json_str(dev, "sessname")))
			return other;
	return NULL;
}

static int
by_sort(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	double dx = 0, dy = 0;
	int r;

	if (sort_by == BY_REQUESTS) {
		dx = x->reads + x->writes;
		dy = y->reads + y->writes;
	} else if (sort_by == BY_BYTES) {
		dx = x->read_bytes + x->write_bytes;
		dy = y->read_bytes + y->write_bytes;
	}
	if (dx < dy || dx > dy)
		return dx < dy ? 1 : -1;
	r = strcmp(x->sess, y->sess);
	return r ? r : strcmp(x->dev, y->dev);
}

/* The caller frees it; its texts are of now. */
static struct row *
rows_of(const struct sample *now, const struct sample *then, size_t *ret_n)
{
	size_t n = json_array_size(now->devices), i;
	struct row *rows = calloc(n + 1, sizeof(*rows));
	double span = now->at - then->at;
	json_t *dev;

	*ret_n = 0;
	if (!rows)
		return NULL;
	json_array_foreach(now->devices, i, dev) {
		const json_t *old = same_device(then->devices, dev);

		/* A device that was not there before has no rate yet, unless
		 * it came in between: then all it did was done since. */
		rows[i] = (struct row){
			.sess = json_str(dev, "sessname"),
			.dev = json_str(dev, "mapping_path"),
			.reads = rate(dev, old, "ops.read.ops", span),
			.writes = rate(dev, old, "ops.write.ops", span),
			.read_bytes = rate(dev, old, "ops.read.bytes", span),
			.write_bytes = rate(dev, old, "ops.write.bytes", span),
		};
	}
	*ret_n = n;
	qsort(rows, n, sizeof(*rows), by_sort);
	return rows;
}

/* --------------------------------------------------------------- picture */

struct canvas {
	bool term;
	unsigned rows, cols; /* of a terminal */
	unsigned used;
};

static void __attribute__((format(printf, 2, 3)))
line(struct canvas *cv, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (cv->term && cv->used + 1 >= cv->rows)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* A line that is too long would become two. */
	if (cv->term && cv->cols < sizeof(text))
		text[cv->cols] = '\0';
	print_text(text);
	if (cv->term)
		term_end_line();
	else
		putchar('\n');
	cv->used++;
}

static const char *
bps(double v, char buf[32])
{
	return bytes_text((json_int_t)v, 0, buf, 32);
}

static void
draw_head(struct canvas *cv, const struct sample *now,
	  const struct sample *then)
{
	double span = now->at - then->at;
	char r[32], w[32];

	line(cv,
	     "rnbd-gatewayd %s  up %ds  sessions %d  devices %d  under way %d",
	     json_str(now->stats, "version"),
	     (int)json_num(now->stats, "uptime_s"),
	     (int)json_num(now->stats, "sessions"),
	     (int)json_num(now->stats, "devices"),
	     (int)json_num(now->stats, "inflights"));
	line(cv,
	     "reads/s %.0f  read %s/s  writes/s %.0f  written %s/s  "
	     "flushes/s %.0f",
	     rate(now->stats, then->stats, "ops.read.ops", span),
	     bps(rate(now->stats, then->stats, "ops.read.bytes", span), r),
	     rate(now->stats, then->stats, "ops.write.ops", span),
	     bps(rate(now->stats, then->stats, "ops.write.bytes", span), w),
	     rate(now->stats, then->stats, "ops.flush.ops", span));
	line(cv, "latency: p50 %s  p99 %s",
	     time_text(quantile(now, then, 0.5), r, sizeof(r)),
	     time_text(quantile(now, then, 0.99), w, sizeof(w)));
	line(cv, "%s", "");
	line(cv, "%-20s %-20s %8s %8s %9s %9s", "SESSION", "DEVICE", "READS/S",
	     "WRITES/S", "READ/S", "WRITTEN/S");
}

static void
draw(struct canvas *cv, const struct sample *now, const struct sample *then)
{
	size_t n;
	struct row *rows = rows_of(now, then, &n);
	char r[32], w[32];

	draw_head(cv, now, then);
	for (size_t i = 0; i < n; i++) {
		/* The last line says what was left out. */
		if (cv->term && cv->used + 3 >= cv->rows && n - i > 1) {
			line(cv, "(%zu more)", n - i);
			break;
		}
		line(cv, "%-20.20s %-20.20s %8.0f %8.0f %9s %9s", rows[i].sess,
		     rows[i].dev, rows[i].reads, rows[i].writes,
		     bps(rows[i].read_bytes, r), bps(rows[i].write_bytes, w));
	}
	if (!n)
		line(cv, "(no device is open)");
	free(rows);
}

static void
draw_term(const struct sample *now, const struct sample *then)
{
	struct canvas cv = {.term = true};

	term_size(&cv.rows, &cv.cols);
	term_home();
	draw(&cv, now, then);
	/* On the last line, without its end: the picture must not scroll. */
	print_text("q quit  s sort: ");
	fputs(sort_names[sort_by], stdout);
	term_clear_rest();
}

/* ------------------------------------------------------------------ runs */

/* True: enough. */
static bool
watch_keys(double delay, const struct sample *now, const struct sample *then)
{
	int ms = (int)(delay * 1000);

	for (;;) {
		int key = term_wait(&ms);

		if (key == TERM_TIMEOUT)
			return false;
		if (key == TERM_QUIT || key == 'q' || key == 'Q')
			return true;
		if (key == 's')
			sort_by = (sort_by + 1) % N_SORTS;
		if (key == 's' || key == TERM_REDRAW)
			draw_term(now, then);
	}
}

static int
run_term(const struct ctl *ctl, struct rpc *rpc, double delay)
{
	struct sample then = {0}, now = {0};
	int r = sample_take(rpc, &then);

	if (!r) {
		r = term_enter();
		if (r < 0)
			r = ctl_fail(CTL_REFUSED, "the terminal: %s",
				     strerror(-r));
	}
	/* The first picture is one without rates. */
	if (!r)
		r = sample_take(rpc, &now);
	for (unsigned i = 0; !r && (!ctl->samples || i < ctl->samples); i++) {
		draw_term(&now, &then);
		if (watch_keys(delay, &now, &then))
			break;
		sample_free(&then);
		then = now;
		now = (struct sample){0};
		r = sample_take(rpc, &now);
	}
	term_leave();
	sample_free(&then);
	sample_free(&now);
	return r;
}

static int
run_plain(const struct ctl *ctl, struct rpc *rpc, double delay)
{
	struct sample then = {0}, now = {0};
	unsigned n = ctl->samples ? ctl->samples : 1;
	int r = sample_take(rpc, &then);

	for (unsigned i = 0; !r && i < n; i++) {
		struct canvas cv = {0};

		(void)poll(NULL, 0, (int)(delay * 1000));
		r = sample_take(rpc, &now);
		if (r)
			break;
		if (i)
			putchar('\n');
		draw(&cv, &now, &then);
		r = ctl_flush();
		sample_free(&then);
		then = now;
		now = (struct sample){0};
	}
	sample_free(&then);
	sample_free(&now);
	return r;
}

int
cmd_top(const struct ctl *ctl, char **args, unsigned n)
{
	double delay = ctl->delay > 0 ? ctl->delay : DEFAULT_DELAY;
	struct rpc *rpc = NULL;
	int r = rpc_open(ctl, &rpc);

	if (r)
		return r;
	r = term_is() ? run_term(ctl, rpc, delay) : run_plain(ctl, rpc, delay);
	rpc_close(rpc);
	return r;
}
