/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registered memory of a path. It is made when connection 0 told the sizes
 * and goes when the last connection is gone, so no request allocates and the
 * keys of one incarnation mean nothing to the next.
 *
 *   ctl     [INFO_REQ][8 bytes per receive, if NEW_RKEY][slots][INFO_RSP]
 *           source of sends and target of receives; the peer cannot write it
 *   bounce  max_io_size per permit, where caller's buffers cannot be registered
 *           for one request: the peer writes read data there
 */
#include "rtrs/clt/clt.h"

#include <errno.h>
#include <stdio.h>

static size_t
n_rkey_bufs(const struct rtrs_clt_path *path)
{
	size_t n = 0;

	if (!path->new_rkey)
		return 0;
	for (unsigned i = 0; i < path->n_cons; i++)
		n += clt_con_n_recvs(&path->cons[i]);
	return n;
}

static int
new_ctl(struct rtrs_clt_path *path)
{
	struct clt_mem *m = &path->mem;
	size_t rkeys = n_rkey_bufs(path) * RTRS_RKEY_RSP_LEN;
	size_t slots = (size_t)path->n_slots * CLT_SLOT_LEN;
	size_t info = rtrs_msg_info_rsp_len(path->srv_depth);
	size_t len = RTRS_INFO_REQ_LEN + rkeys + slots + info;

	/* calloc, so that pages come only when they are used. */
	m->ctl = calloc(1, len);
	if (!m->ctl)
		return -ENOMEM;
	m->info_req = m->ctl;
	m->rkey_bufs = m->info_req + RTRS_INFO_REQ_LEN;
	m->slots = m->rkey_bufs + rkeys;
	m->info_rsp = m->slots + slots;
	m->info_rsp_len = (uint32_t)info;
	return path->fab->ops->mr_reg(path->pd, m->ctl, len,
				      FABRIC_ACCESS_LOCAL, &m->ctl_mr);
}

static int
new_bounce(struct rtrs_clt_path *path)
{
	struct clt_mem *m = &path->mem;
	const struct fabric_ops *ops = path->fab->ops;
	size_t len = (size_t)path->n_slots * path->max_io_size;
	unsigned access = path->inval ? FABRIC_ACCESS_MW_BIND
				      : FABRIC_ACCESS_REMOTE_WRITE;
	int r = bigmem_new(len, ops->pd_numa_node(path->pd), &m->bounce);

	if (r)
		return r;
	log_dbg(path->clt->log,
		"%zu KiB of buffers for path %u, %s pages, NUMA node %d",
		len / 1024, path->idx, bigmem_kind_name(m->bounce.kind),
		m->bounce.node);
	return ops->mr_reg(path->pd, m->bounce.addr, len, access,
			   &m->bounce_mr);
}

int
clt_mem_new_windows(struct rtrs_clt_path *path)
{
	struct clt_mem *m = &path->mem;
	int r;

	if (path->cheap_mr || !path->inval)
		return 0;
	m->mw = calloc(path->n_slots, sizeof(struct fabric_mw *));
	if (!m->mw)
		return -ENOMEM;
	for (; m->n_mw < path->n_slots; m->n_mw++) {
		r = path->fab->ops->mw_new(path->pd, FABRIC_MW_CONN,
					   &m->mw[m->n_mw]);
		if (r)
			return r;
	}
	return 0;
}

int
clt_mem_new(struct rtrs_clt_path *path, char *why, size_t why_len)
{
	struct clt_mem *m = &path->mem;
	const char *words;
	/* The largest first: if it does not fit, its size is what to tell. */
	int r = path->cheap_mr ? 0 : new_bounce(path);

	if (!r)
		r = new_ctl(path);
	if (r)
		goto err;
	r = -ENOMEM;
	m->chunks = calloc(path->n_slots, sizeof(*m->chunks));
	if (!m->chunks)
		goto err;
	return 0;
err:
	words = path->fab->ops->pd_why(path->pd);
	snprintf(why, why_len, "%s", words ? words : "");
	clt_mem_free(path);
	return r;
}

void
clt_mem_free_windows(struct rtrs_clt_path *path)
{
	struct clt_mem *m = &path->mem;

	while (m->n_mw)
		path->fab->ops->mw_free(m->mw[--m->n_mw]);
	free(m->mw);
	m->mw = NULL;
}

void
clt_mem_free(struct rtrs_clt_path *path)
{
	struct clt_mem *m = &path->mem;
	const struct fabric_ops *ops = path->fab->ops;
	char buf[64];
	int r = 0;

	/* Windows went before: what fails now is the device. */
	if (m->bounce_mr)
		r = ops->mr_dereg(m->bounce_mr);
	if (r) {
		/* Better lost than written to by a peer that kept a key. */
		log_err(path->clt->log,
			"path %u: buffers stay mapped, their key can not be "
			"ended: %s",
			path->idx, clt_errno_words(r, buf, sizeof(buf)));
		m->bounce = (struct bigmem){0};
	}
	if (m->ctl_mr)
		ops->mr_dereg(m->ctl_mr);
	bigmem_free(&m->bounce);
	free(m->ctl);
	free(m->chunks);
	*m = (struct clt_mem){0};
	if (path->pd)
		ops->pd_unref(path->pd);
	path->pd = NULL;
}
