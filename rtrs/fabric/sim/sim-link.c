/* SPDX-License-Identifier: BSD-3-Clause */
/* The wire of one connection: what passes, what is held, what is lost. */
#include "rtrs/fabric/sim/sim-priv.h"

#include <errno.h>
#include <stdlib.h>

struct sim_link *
sim_link_new(struct sim_net *net)
{
	struct sim_link *link = sim_alloc(sizeof(*link));

	link->net = net;
	link->id = (unsigned)++net->next_id;
	link->drep_late = sim_net_below(net, 2);
	DL_APPEND(net->links, link);
	return link;
}

struct sim_link *
sim_link_ref(struct sim_link *link)
{
	link->refs++;
	return link;
}

void
sim_pkt_free(struct sim_pkt *pkt)
{
	free(pkt->data);
	free(pkt);
}

void
sim_link_unref(struct sim_link *link)
{
	struct sim_pkt *pkt, *tmp;
	int i;

	if (--link->refs)
		return;
	for (i = 0; i < 2; i++)
		DL_FOREACH_SAFE(link->fifo[i], pkt, tmp)
			sim_pkt_free(pkt);
	DL_DELETE(link->net->links, link);
	free(link);
}

static void
cut(struct sim_link *link)
{
	static const int errs[] = {-ECONNRESET, -EIO, -ETIMEDOUT};
	struct sim_net *net = link->net;
	uint64_t t;
	int i;

	if (link->cut)
		return;
	link->cut = true;
	link->cut_cm = sim_net_below(net, 4) == 0;
	for (i = 0; i < 2; i++) {
		t = net->now + sim_net_below(net, net->faults.notice_max_ns);
		sim_at(link, i, SIM_EV_NOTICE, t)->err =
			errs[sim_net_below(net, ARRAY_SIZE(errs))];
	}
}

static bool
takes_route(const struct sim_link *link, const unsigned *host)
{
	return link->host[END_CLT] == host[END_CLT] &&
	       link->host[END_SRV] == host[END_SRV];
}

/*
 * All that takes this route is struck: a server gives up the others of a path
 * when one connection ends, and what is late on them would never be seen.
 */
static void
orphan(struct sim_net *net, const unsigned *host, uint64_t hold)
{
	uint64_t reset = net->now + hold, until;
	struct sim_link *link;

	until = reset + sim_net_below(net, net->faults.stall_max_ns);
	DL_FOREACH(net->links, link)
		if (takes_route(link, host) &&
		    link->stalled_until[END_SRV] > until)
			until = link->stalled_until[END_SRV];
	DL_FOREACH(net->links, link) {
		if (!takes_route(link, host))
			continue;
		link->stalled_until[END_SRV] = until;
		link->orphaned_at = net->seq;
		sim_at(link, END_CLT, SIM_EV_NOTICE, reset)->err = -ECONNRESET;
		/* Not with the last byte: there is time to act on that. */
		sim_at(link, END_SRV, SIM_EV_NOTICE, until + sim_delay(net))
			->err = -ECONNRESET;
	}
}

void
sim_net_orphan(struct sim_net *net, const struct sim_node *clt,
	       const struct sim_node *srv, uint64_t hold_ns)
{
	const unsigned host[] = {[END_CLT] = clt->host, [END_SRV] = srv->host};

	net->fault_count[SIM_FAULT_ORPHAN]++;
	sim_net_note(net, "fault: orphan %s of %s in %.3f ms", clt->name,
		     srv->name, (double)hold_ns / 1e6);
	orphan(net, host, hold_ns);
}

void
sim_link_fault(struct sim_link *link, enum sim_fault fault)
{
	struct sim_net *net = link->net;
	unsigned which = (unsigned)sim_net_below(net, 3);
	uint64_t until;
	int i;

	net->fault_count[fault]++;
	sim_trace(link, 0, "fault: %s", sim_fault_name(fault));
	switch (fault) {
	case SIM_FAULT_CUT:
		cut(link);
		break;
	case SIM_FAULT_LOSE:
		for (i = 0; i < 2; i++)
			if (which == 2 || (int)which == i)
				link->silent[i] = true;
		break;
	case SIM_FAULT_STALL:
		until = net->now + sim_net_below(net, net->faults.stall_max_ns);
		for (i = 0; i < 2; i++)
			if (which == 2 || (int)which == i)
				link->stalled_until[i] = until;
		break;
	case SIM_FAULT_ORPHAN:
		orphan(net, link->host, 0);
		break;
	case SIM_FAULT_HOOK:
	case SIM_FAULT_NONE:
	case SIM_N_FAULTS:
		break;
	}
}

static uint64_t
held_until(const struct sim_link *link, int end)
{
	uint64_t until = link->stalled_until[end];
	const struct sim_partition *p;

	LL_FOREACH(link->net->partitions, p) {
		if ((p->host[0] == link->host[0] &&
		     p->host[1] == link->host[1]) ||
		    (p->host[0] == link->host[1] &&
		     p->host[1] == link->host[0]))
			until = until > p->until ? until : p->until;
	}
	return until;
}

/* A client that is struck so cannot say goodbye any more. */
static bool
is_unsaid(const struct sim_link *link, const struct sim_event *ev)
{
	return link->orphaned_at && ev->end == END_SRV && !ev->held &&
	       ev->seq > link->orphaned_at &&
	       (ev->kind == SIM_EV_DREQ || ev->kind == SIM_EV_GONE);
}

int
sim_link_passes(struct sim_link *link, const struct sim_event *ev,
		uint64_t *when)
{
	bool cm = ev->kind <= SIM_EV_GONE;
	struct sim_node *from = link->node[!ev->end];
	/* Whose work stays unanswered if this does not pass. */
	struct fabric_conn *waits =
		link->end[ev->kind == SIM_EV_DATA ? !ev->end : ev->end];
	struct sim_pkt *pkt;
	bool lost;

	/* The host of a killed process still says that it is no more. */
	lost = link->silent[ev->end] || is_unsaid(link, ev) ||
	       (cm ? link->cut_cm : link->cut) ||
	       (cm && from && from->killed && ev->kind != SIM_EV_GONE &&
		ev->kind != SIM_EV_DREP && ev->kind != SIM_EV_REFUSED);
	if (!lost) {
		*when = held_until(link, ev->end);
		if (*when <= link->net->now)
			return 0;
		if (!cm && waits)
			sim_qp_unanswered(waits);
		if (ev->kind == SIM_EV_DATA && *when > link->last_data[ev->end])
			link->last_data[ev->end] = *when;
		if (cm && *when > link->last_cm[ev->end])
			link->last_cm[ev->end] = *when;
		return 1;
	}
	if (!cm && waits)
		sim_qp_unanswered(waits);
	if (ev->kind == SIM_EV_DATA) {
		link->gap[ev->end] = true;
		pkt = link->fifo[ev->end];
		DL_DELETE(link->fifo[ev->end], pkt);
		sim_pkt_free(pkt);
	}
	return -1;
}

static void
trace(const struct sim_event *ev)
{
	static const char *const names[] = {
		[SIM_EV_REQ] = "connect request",
		[SIM_EV_REP] = "accept",
		[SIM_EV_RTU] = "ready to use",
		[SIM_EV_REJ] = "reject",
		[SIM_EV_REFUSED] = "nobody listens",
		[SIM_EV_DREQ] = "disconnect request",
		[SIM_EV_DREP] = "disconnect reply",
		[SIM_EV_GONE] = "peer is gone",
		[SIM_EV_NAK] = "nak",
		[SIM_EV_NOTICE] = "notices",
		[SIM_EV_CONNECT_TIMEOUT] = "connect time-out",
		[SIM_EV_HANDSHAKE_TIMEOUT] = "handshake time-out",
		[SIM_EV_DISCONNECT_TIMEOUT] = "disconnect time-out",
		[SIM_EV_PEER_TIMEOUT] = "peer time-out",
	};

	/* Data is traced where it is taken apart; the rest is noise. */
	if (names[ev->kind])
		sim_trace(ev->link, ev->end, "%s", names[ev->kind]);
}

void
sim_dispatch(struct sim_event *ev)
{
	struct fabric_conn *conn = ev->link->end[ev->end];

	trace(ev);
	if (ev->kind == SIM_EV_DATA) {
		sim_qp_data(ev);
		return;
	}
	if (!conn) {
		if (ev->kind <= SIM_EV_GONE)
			sim_conn_cm_stray(ev->link, ev);
		return;
	}
	switch (ev->kind) {
	case SIM_EV_ACK:
	case SIM_EV_NAK:
		sim_qp_ack(conn, ev);
		break;
	case SIM_EV_RESUME:
		conn->resume_timer = false;
		sim_qp_receive(conn);
		break;
	case SIM_EV_WC:
		sim_qp_wc_arrived(conn, ev->wc);
		ev->wc = NULL;
		break;
	case SIM_EV_NOTICE:
		sim_conn_die(conn, ev->err);
		break;
	case SIM_EV_PEER_TIMEOUT:
		sim_qp_peer_timeout(conn);
		break;
	default:
		sim_conn_cm(conn, ev);
		break;
	}
}
