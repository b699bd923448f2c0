/* SPDX-License-Identifier: BSD-3-Clause */
/* Clock, randomness, event queue, fault plan, nodes. */
#include "rtrs/fabric/sim/sim-priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

void
sim_bug(const char *func, const char *what)
{
	fprintf(stderr, "sim: contract of fabric.h broken: %s: %s\n", func,
		what);
	abort();
}

void *
sim_alloc(size_t n)
{
	const size_t align = _Alignof(max_align_t);
	/* Not calloc(), which tests make fail under the engines' feet. */
	void *p = aligned_alloc(align, (n + align - 1) / align * align);

	if (!p) {
		fprintf(stderr, "sim: out of memory\n");
		abort();
	}
	return memset(p, 0, n);
}

/* --- randomness: splitmix64 */

uint64_t
sim_net_rand(struct sim_net *net)
{
	uint64_t z = net->prng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t
sim_net_below(struct sim_net *net, uint64_t n)
{
	return n ? sim_net_rand(net) % n : 0;
}

bool
sim_net_chance(struct sim_net *net, unsigned ppm)
{
	return ppm && sim_net_below(net, 1000000) < ppm;
}

static void
rng_fill(void *user, void *buf, size_t len)
{
	uint8_t *p = buf;
	uint64_t v;
	size_t n;

	for (; len; p += n, len -= n) {
		v = sim_net_rand(user);
		n = len < sizeof(v) ? len : sizeof(v);
		memcpy(p, &v, n);
	}
}

struct rng
sim_net_rng(struct sim_net *net)
{
	return (struct rng){.fill = rng_fill, .user = net};
}

/* --- event queue: a heap by (time, seq) */

static bool
before(const struct sim_event *a, const struct sim_event *b)
{
	return a->time != b->time ? a->time < b->time : a->seq < b->seq;
}

static void
heap_push(struct sim_net *net, struct sim_event *ev)
{
	size_t i = net->n_heap++, up;

	if (i == net->cap_heap) {
		struct sim_event **old = net->heap;

		net->cap_heap = net->cap_heap ? 2 * net->cap_heap : 64;
		net->heap = sim_alloc(net->cap_heap * sizeof(*net->heap));
		if (old)
			memcpy(net->heap, old, i * sizeof(*old));
		free(old);
	}
	for (; i && before(ev, net->heap[up = (i - 1) / 2]); i = up)
		net->heap[i] = net->heap[up];
	net->heap[i] = ev;
}

static struct sim_event *
heap_pop(struct sim_net *net)
{
	struct sim_event *top = net->heap[0], *last = net->heap[--net->n_heap];
	size_t i = 0, kid;

	while ((kid = 2 * i + 1) < net->n_heap) {
		if (kid + 1 < net->n_heap &&
		    before(net->heap[kid + 1], net->heap[kid]))
			kid++;
		if (!before(net->heap[kid], last))
			break;
		net->heap[i] = net->heap[kid];
		i = kid;
	}
	net->heap[i] = last;
	return top;
}

static void
event_free(struct sim_event *ev)
{
	free(ev->wc);
	sim_link_unref(ev->link);
	free(ev);
}

struct sim_event *
sim_at(struct sim_link *link, int end, enum sim_ev_kind kind, uint64_t time)
{
	struct sim_event *ev = sim_alloc(sizeof(*ev));

	ev->time = time;
	ev->seq = ++link->net->seq;
	ev->kind = kind;
	ev->link = sim_link_ref(link);
	ev->end = end;
	heap_push(link->net, ev);
	return ev;
}

uint64_t
sim_delay(struct sim_net *net)
{
	const struct sim_faults *f = &net->faults;

	return f->delay_min_ns +
	       sim_net_below(net, f->delay_max_ns > f->delay_min_ns
					  ? f->delay_max_ns - f->delay_min_ns
					  : 0);
}

struct sim_event *
sim_send_cm(struct sim_link *link, int to, enum sim_ev_kind kind)
{
	uint64_t t = link->net->now + sim_delay(link->net);

	if (t < link->last_cm[to])
		t = link->last_cm[to];
	link->last_cm[to] = t;
	return sim_at(link, to, kind, t);
}

/* --- faults */

const char *
sim_fault_name(unsigned fault)
{
	static const char *const names[] = {
		[SIM_FAULT_NONE] = "none",     [SIM_FAULT_CUT] = "cut",
		[SIM_FAULT_LOSE] = "lose",     [SIM_FAULT_STALL] = "stall",
		[SIM_FAULT_ORPHAN] = "orphan", [SIM_FAULT_HOOK] = "hook",
	};

	return fault < ARRAY_SIZE(names) ? names[fault] : "unknown";
}

bool
sim_faults_on(const struct sim_net *net)
{
	return !net->faults.until_ns || net->now < net->faults.until_ns;
}

bool
sim_call_fails(struct sim_net *net, const char *what)
{
	struct sim_faults *f = &net->faults;

	net->calls++;
	if (net->calls != f->enomem_at &&
	    !(sim_faults_on(net) && sim_net_chance(net, f->enomem_ppm)))
		return false;
	sim_net_note(net, "fault: %s fails (call %llu)", what,
		     (unsigned long long)net->calls);
	return true;
}

void
sim_net_fault_all(struct sim_net *net, enum sim_fault fault)
{
	struct sim_link *link, *tmp;

	if (fault == SIM_FAULT_HOOK) {
		net->fault_count[fault]++;
		sim_net_note(net, "fault: hook");
		if (net->faults.hook)
			net->faults.hook(net->faults.hook_user);
		return;
	}
	DL_FOREACH_SAFE(net->links, link, tmp)
		sim_link_fault(link, fault);
}

/* The faults that strike before a wire event. */
static void
strike(struct sim_net *net, struct sim_link *link)
{
	const struct sim_faults *f = &net->faults;

	if (net->steps == f->at_step) {
		if (f->at_all || f->at_fault == SIM_FAULT_HOOK)
			sim_net_fault_all(net, f->at_fault);
		else
			sim_link_fault(link, f->at_fault);
	}
	if (!sim_faults_on(net))
		return;
	if (sim_net_chance(net, f->cut_ppm))
		sim_link_fault(link, SIM_FAULT_CUT);
	if (sim_net_chance(net, f->lose_ppm))
		sim_link_fault(link, SIM_FAULT_LOSE);
	if (sim_net_chance(net, f->stall_ppm))
		sim_link_fault(link, SIM_FAULT_STALL);
	if (f->orphan_ppm && sim_net_chance(net, f->orphan_ppm))
		sim_link_fault(link, SIM_FAULT_ORPHAN);
}

/* --- the net */

int
sim_net_new(uint64_t seed, struct sim_net **ret)
{
	struct sim_net *net = calloc(1, sizeof(*net));

	if (!net)
		return -ENOMEM;
	net->prng = seed;
	/* Not zero, so that a forgotten `now` shows. */
	net->now = NSEC_PER_SEC;
	net->next_port = 40000;
	*ret = net;
	return 0;
}

void
sim_net_free(struct sim_net *net)
{
	struct sim_node *node, *next;
	struct sim_partition *part, *tmp;

	if (!net)
		return;
	while (net->n_heap)
		event_free(heap_pop(net));
	for (node = net->nodes; node; node = next) {
		next = node->next;
		sim_require(!node->ctxs, "a context outlives its net");
		free(node);
	}
	LL_FOREACH_SAFE(net->partitions, part, tmp)
		free(part);
	free(net->heap);
	free(net);
}

struct sim_faults *
sim_net_faults(struct sim_net *net)
{
	return &net->faults;
}

void
sim_net_trace(struct sim_net *net, FILE *to)
{
	net->trace = to;
}

uint64_t
sim_net_now(const struct sim_net *net)
{
	return net->now;
}

uint64_t
sim_net_next_time(const struct sim_net *net)
{
	return net->n_heap ? net->heap[0]->time : TIME_NEVER;
}

uint64_t
sim_net_steps(const struct sim_net *net)
{
	return net->steps;
}

uint64_t
sim_net_calls(const struct sim_net *net)
{
	return net->calls;
}

uint64_t
sim_net_fault_count(const struct sim_net *net, enum sim_fault fault)
{
	return net->fault_count[fault];
}

bool
sim_net_step(struct sim_net *net)
{
	struct sim_event *ev;
	uint64_t when = 0;
	int pass = 0;

	if (!net->n_heap)
		return false;
	ev = heap_pop(net);
	if (ev->time > net->now)
		net->now = ev->time;
	if (ev->kind <= SIM_EV_LAST_WIRE) {
		if (!ev->held) {
			net->steps++;
			strike(net, ev->link);
		}
		pass = sim_link_passes(ev->link, ev, &when);
	}
	if (pass == 1) {
		ev->time = when;
		ev->seq = ++net->seq;
		ev->held = true;
		heap_push(net, ev);
		return true;
	}
	if (pass == 0)
		sim_dispatch(ev);
	event_free(ev);
	return true;
}

void
sim_net_advance(struct sim_net *net, uint64_t t)
{
	while (sim_net_next_time(net) <= t)
		sim_net_step(net);
	if (t > net->now)
		net->now = t;
}

void
sim_net_counts(const struct sim_net *net, struct sim_counts *ret)
{
	*ret = net->counts;
}

/* --- trace */

static void
trace_time(struct sim_net *net)
{
	fprintf(net->trace, "%14.6f ms #%-6llu ", (double)net->now / 1e6,
		(unsigned long long)net->steps);
}

void
sim_net_vnote(struct sim_net *net, const char *fmt, va_list ap)
{
	if (!net->trace)
		return;
	trace_time(net);
	vfprintf(net->trace, fmt, ap);
	fputc('\n', net->trace);
}

void
sim_net_note(struct sim_net *net, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	sim_net_vnote(net, fmt, ap);
	va_end(ap);
}

void
sim_trace(struct sim_link *link, int end, const char *fmt, ...)
{
	struct sim_node *at = link->node[end], *from = link->node[!end];
	va_list ap;

	if (!link->net->trace)
		return;
	trace_time(link->net);
	fprintf(link->net->trace, "conn %u %s<-%s: ", link->id,
		at ? at->name : "?", from ? from->name : "?");
	va_start(ap, fmt);
	vfprintf(link->net->trace, fmt, ap);
	va_end(ap);
	fputc('\n', link->net->trace);
}

/* --- nodes */

int
sim_node_new(struct sim_net *net, const char *name, unsigned host,
	     struct sim_node **ret)
{
	struct sim_node *node = calloc(1, sizeof(*node));

	if (!node)
		return -ENOMEM;
	node->net = net;
	node->host = host;
	snprintf(node->name, sizeof(node->name), "%s", name);
	LL_PREPEND(net->nodes, node);
	*ret = node;
	return 0;
}

socklen_t
sim_node_addr(const struct sim_node *node, unsigned port,
	      struct sockaddr_storage *ret)
{
	struct sockaddr_in in = {
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr.s_addr = htonl(UINT32_C(0x0a000000) | node->host),
	};

	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &in, sizeof(in));
	return sizeof(in);
}

bool
sim_node_killed(const struct sim_node *node)
{
	return node->killed;
}

uint64_t
sim_node_arrivals(const struct sim_node *node)
{
	return node->arrivals;
}

void
sim_node_kill(struct sim_node *node)
{
	struct sim_net *net = node->net;
	struct fabric_ctx *ctx;
	struct fabric_conn *conn, *tmp;

	sim_net_note(net, "%s is killed", node->name);
	node->killed = true;
	DL_FOREACH(node->ctxs, ctx) {
		DL_FOREACH_SAFE(ctx->conns, conn, tmp) {
			/* Goes out first: a dead node sends nothing. */
			sim_at(conn->link, !conn->end, SIM_EV_GONE,
			       net->now +
				       sim_net_below(
					       net, net->faults.notice_max_ns));
			if (conn->state == SIM_CLOSING)
				sim_conn_closed(conn, true);
			else
				sim_conn_die(conn, -ECONNRESET);
		}
	}
}

void
sim_net_partition(struct sim_net *net, const struct sim_node *a,
		  const struct sim_node *b, uint64_t until)
{
	struct sim_partition *part = sim_alloc(sizeof(*part));

	part->host[0] = a->host;
	part->host[1] = b->host;
	part->until = until;
	LL_PREPEND(net->partitions, part);
	sim_net_note(net, "fault: %s and %s part until %.3f ms", a->name,
		     b->name, (double)until / 1e6);
}
