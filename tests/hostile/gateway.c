/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/gateway.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <utlist.h>

#include "gateway/access-conf.h"

/* --- executor: the job at once, its end later */

struct exec_job {
	struct stage_timer timer;
	struct gateway *g;
	struct gw_job *job;
};

static void
job_fire(struct stage_timer *t)
{
	struct exec_job *e = container_of(t, struct exec_job, timer);

	e->g->jobs--;
	e->job->done(e->job);
	free(e);
}

static void
exec_run(struct gw_exec *exec, struct gw_job *job)
{
	struct gateway *g = container_of(exec, struct gateway, exec);
	struct exec_job *e = calloc(1, sizeof(*e));

	if (!e)
		abort();
	*e = (struct exec_job){.timer.fire = job_fire, .g = g, .job = job};
	g->jobs++;
	job->work(job);
	stage_timer_set(
		g->stage, &e->timer,
		stage_now(g->stage) +
			sim_net_below(g->stage->net, 200 * NSEC_PER_USEC));
}

/* --- rules */

struct word {
	const char *key, *value;
};

static void
add_rule(struct gw_ruleset *rs, const struct word *words)
{
	char err[GW_TEXT_MAX], conf_err[CONF_TEXT_MAX];
	const struct conf_key *key;
	struct gw_rule rule = {0};

	for (; words->key; words++) {
		for (key = gw_rule_keys; key->name; key++)
			if (!strcmp(key->name, words->key))
				break;
		if (!key->name || key->set(&rule, words->value, conf_err))
			abort();
	}
	if (gw_ruleset_add(rs, &rule, err))
		abort();
}

static void
make_access(struct gateway *g)
{
	static const struct word honest[] = {
		{"action", "bind"},        {"address", "10.0.0.10"},
		{"address", "10.0.0.13"},  {"session", HONEST_NAME},
		{"export", HONEST_EXPORT}, {0}};
	static const struct word other[] = {{"action", "bind"},
					    {"address", "10.0.0.14"},
					    {"session", OTHER_NAME},
					    {"export", OTHER_EXPORT},
					    {0}};
	static const struct word liars[] = {{"action", "allow"},
					    {"session", LIAR_PREFIX "*"},
					    {"export", LIAR_PREFIX "*"},
					    {0}};
	const struct gw_access_params p = {.log = &g->stage->log,
					   .now = stage_clock};
	struct gw_ruleset *rs;

	if (gw_access_new(&p, &g->access) || gw_ruleset_new(&rs))
		abort();
	add_rule(rs, honest);
	add_rule(rs, other);
	add_rule(rs, liars);
	gw_access_replace(g->access, rs);
	g->limits = (struct gw_access_limits){
		.addr_sessions = 6,
		.addr_connections = 24,
		.addr_memory = (uint64_t)8 * g->queue_depth * g->chunk_size,
		.addr_bits4 = 32,
		.addr_bits6 = 64,
		.sessions = 16,
		.memory = (uint64_t)20 * g->queue_depth * g->chunk_size,
	};
	gw_access_set_limits(g->access, &g->limits);
}

/* --- acceptor */

static unsigned
host_of(const struct sockaddr_storage *ss)
{
	const struct sockaddr_in *sin = (const void *)ss;

	return ntohl(sin->sin_addr.s_addr) & 0xff;
}

const struct heard *
gateway_heard(const struct gateway *g, const struct rtrs_msg_conn_req *msg)
{
	const struct heard *h;

	for (h = g->heard; h < g->heard + g->n_heard; h++)
		if (!memcmp(&h->sess, &msg->sess_uuid, sizeof(h->sess)) &&
		    !memcmp(&h->path, &msg->path_uuid, sizeof(h->path)))
			return h;
	return NULL;
}

static void
overhear(struct gateway *g, struct rtrs_conn_request *req)
{
	const struct rtrs_msg_conn_req *msg = rtrs_conn_request_msg(req);
	unsigned host = host_of(&rtrs_conn_request_addrs(req)->peer);
	struct heard *h;

	if (host != HOST_HONEST && host != HOST_HONEST_2)
		return;
	h = (struct heard *)gateway_heard(g, msg);
	if (!h && g->n_heard < HONEST_PATHS)
		h = &g->heard[g->n_heard++];
	if (h)
		*h = (struct heard){.sess = msg->sess_uuid,
				    .path = msg->path_uuid,
				    .recon_cnt = msg->recon_cnt};
}

static void
on_request(void *user, struct rtrs_conn_request *req)
{
	struct gateway *g = user;
	int err;

	overhear(g, req);
	err = gw_access_check_connect(g->access,
				      &rtrs_conn_request_addrs(req)->peer);
	if (!err)
		err = rtrs_srv_take(gw_server_rtrs(g->server), req);
	if (err)
		rtrs_conn_request_reject(req, err);
}

static bool
acceptor_ready(struct player *p)
{
	struct gateway *g = container_of(p, struct gateway, acceptor);

	return rtrs_listener_arm(g->listener);
}

static uint64_t
acceptor_deadline(struct player *p)
{
	struct gateway *g = container_of(p, struct gateway, acceptor);

	return rtrs_listener_deadline(g->listener);
}

static void
acceptor_turn(struct player *p)
{
	struct gateway *g = container_of(p, struct gateway, acceptor);

	rtrs_listener_progress(g->listener, stage_now(g->stage));
}

/* --- worker */

static uint64_t
worker_deadline(struct player *p)
{
	struct gateway *g = container_of(p, struct gateway, worker);

	return time_min(gw_server_deadline(g->server),
			gw_access_deadline(g->access));
}

static bool
worker_ready(struct player *p)
{
	struct gateway *g = container_of(p, struct gateway, worker);

	return rtrs_srv_arm(gw_server_rtrs(g->server)) ||
	       worker_deadline(p) <= stage_now(g->stage);
}

static void
worker_turn(struct player *p)
{
	struct gateway *g = container_of(p, struct gateway, worker);

	gw_server_progress(g->server, stage_now(g->stage));
	if (gw_access_deadline(g->access) <= stage_now(g->stage))
		gw_access_tick(g->access);
}

/* --- life */

static void
make_exports(struct gateway *g)
{
	struct stage *s = g->stage;

	disk_init(&g->honest, s, 0, 128 << 10, 512, true);
	disk_init(&g->liars, s, 1, 64 << 10, 512, false);
	disk_init(&g->other, s, 3, 128 << 10, 512, true);
	disk_init(&g->liars_ro, s, 2, 64 << 10, 4096, false);
	if (gw_exports_new(&s->log, &g->exports) ||
	    gw_exports_add_backend(g->exports, HONEST_EXPORT, &backend_disk,
				   &g->honest, g->honest.bytes, false) ||
	    gw_exports_add_backend(g->exports, OTHER_EXPORT, &backend_disk,
				   &g->other, g->other.bytes, false) ||
	    gw_exports_add_backend(g->exports, LIAR_EXPORT, &backend_disk,
				   &g->liars, g->liars.bytes, false) ||
	    gw_exports_add_backend(g->exports, LIAR_RO, &backend_disk,
				   &g->liars_ro, g->liars_ro.bytes, true))
		abort();
}

void
gateway_start(struct gateway *g, struct stage *s)
{
	struct gw_server_params p;
	struct rtrs_listener_params lp;
	struct sockaddr_storage ss;

	*g = (struct gateway){.stage = s, .exec.run = exec_run};
	g->queue_depth = 2 + (unsigned)choose(s->choice, 11);
	g->chunk_size = 8192u << choose(s->choice, 2);
	g->new_rkey =
		choose(s->choice, 2) && s->fabric->caps & FABRIC_CAP_MW_PD;
	if (sim_node_new(s->net, "gateway", HOST_GATEWAY, &g->node))
		abort();
	make_exports(g);
	make_access(g);
	p = (struct gw_server_params){
		.exports = g->exports,
		.access = g->access,
		.exec = &g->exec,
		.rtrs = {.rng = sim_net_rng(s->net),
			 .log = &s->log,
			 .now = stage_now(s),
			 .fabric_priv = g->node,
			 .queue_depth = g->queue_depth,
			 .chunk_size = g->chunk_size,
			 .always_invalidate = g->new_rkey,
			 .info_timeout_ms = 2000},
	};
	if (gw_server_new(&p, &g->server))
		abort();
	lp = (struct rtrs_listener_params){
		.fabric = s->fabric,
		.rng = sim_net_rng(s->net),
		.log = &s->log,
		.now = stage_now(s),
		.fabric_priv = g->node,
		.request = on_request,
		.user = g,
	};
	lp.addr_len = sim_node_addr(g->node, STAGE_PORT, &ss);
	lp.addr = (void *)&ss;
	if (rtrs_listener_new(&lp, &g->listener))
		abort();
	g->worker = (struct player){.ready = worker_ready,
				    .deadline = worker_deadline,
				    .turn = worker_turn};
	g->acceptor = (struct player){.ready = acceptor_ready,
				      .deadline = acceptor_deadline,
				      .turn = acceptor_turn};
	DL_APPEND(s->players, &g->worker);
	DL_APPEND(s->players, &g->acceptor);
}

void
gateway_check(struct gateway *g)
{
	const struct gw_access_limits *l = &g->limits;
	struct gw_access_stats st;
	struct rtrs_srv_counts n;

	gw_access_stats(g->access, &st);
	rtrs_srv_counts(gw_server_rtrs(g->server), &n);
	if (st.now.sessions > l->sessions || st.now.memory > l->memory ||
	    n.chunk_mem != st.now.memory)
		stage_fail(g->stage,
			   "beyond the limits: %u sessions, %llu bytes "
			   "accounted for, %llu promised",
			   st.now.sessions, (unsigned long long)st.now.memory,
			   (unsigned long long)n.chunk_mem);
}

void
gateway_stop(struct gateway *g)
{
	struct stage *s = g->stage;
	struct rtrs_srv *srv = gw_server_rtrs(g->server);
	struct gw_access_stats st;

	DL_DELETE(s->players, &g->acceptor);
	rtrs_listener_free(g->listener);
	rtrs_srv_close(srv);
	while ((!rtrs_srv_closed(srv) || g->jobs) && stage_turn(s))
		;
	if (s->failed)
		return;
	if (!rtrs_srv_closed(srv) || g->jobs) {
		stage_fail(s, "the gateway does not end");
		return;
	}
	gw_access_stats(g->access, &st);
	if (st.now.sessions || st.now.paths || st.now.memory)
		stage_fail(s, "%u sessions, %u paths are charged for ever",
			   st.now.sessions, st.now.paths);
	DL_DELETE(s->players, &g->worker);
	gw_server_free(g->server);
	gw_exports_free(g->exports);
	gw_access_free(g->access);
	disk_deinit(&g->honest);
	disk_deinit(&g->other);
	disk_deinit(&g->liars);
	disk_deinit(&g->liars_ro);
}
