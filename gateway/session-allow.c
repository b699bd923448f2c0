/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Who may have the devices of a session: asked before and after an open, of a
 * path that joins, and once more when rules or exports have changed.
 */
#include "gateway/session.h"

#include <errno.h>
#include <inttypes.h>
#include <utlist.h>

#include "gateway/access.h"
#include "rtrs/base/mutant.h"

int
gw_device_check_rules(const struct gw_device *dev, char err_text[GW_TEXT_MAX])
{
	const struct gw_sess *sess = dev->sess;
	struct sockaddr_storage peers[RTRS_MAX_PATHS];
	unsigned n = rtrs_srv_sess_peers(sess->rtrs, peers, RTRS_MAX_PATHS);

	return gw_access_check_open(sess->srv->p.access, peers, n, sess->name,
				    dev->name, dev->access_mode, err_text);
}

/* The same of what is open, or was before the rules changed. */
static bool
rules_allow(const struct gw_device *dev, const struct gw_asker *who)
{
	for (unsigned i = 0; i < who->n_peers && !RNBD_MUTANT(REVOKE_LATE); i++)
		if (!gw_access_allows_open(dev->sess->srv->p.access,
					   &who->peers[i], who->sess_name,
					   dev->name, dev->access_mode))
			return false;
	return true;
}

int
gw_device_check_allowed(const struct gw_device *dev, const struct gw_opened *o,
			uint64_t *ret_size, char err_text[GW_TEXT_MAX])
{
	const struct gw_sess *sess = dev->sess;
	struct gw_exports *x = sess->srv->p.exports;
	struct sockaddr_storage peers[RTRS_MAX_PATHS];
	struct gw_asker who = {
		.sess_name = sess->name,
		.peers = peers,
		.n_peers =
			rtrs_srv_sess_peers(sess->rtrs, peers, RTRS_MAX_PATHS),
	};

	if (!o)
		return gw_exports_allow(x, dev->name, &who, err_text);
	if (!rules_allow(dev, &who))
		return gw_text_err(err_text, -EACCES,
				   "the access rules no longer allow it");
	return gw_export_allow(x, o, &who, ret_size, err_text);
}

int
gw_sess_check_path(struct gw_sess *sess, const struct sockaddr_storage *peer)
{
	const struct gw_server_params *p = &sess->srv->p;
	const struct gw_asker who = {
		.sess_name = sess->name,
		.peers = peer,
		.n_peers = 1,
	};
	char err_text[GW_TEXT_MAX];
	struct gw_device *dev;
	uint64_t unused;
	int r;

	DL_FOREACH(sess->devs, dev) {
		/* On its way out, or checked once more when it is open. */
		if (dev->state != GW_DEV_OPEN)
			continue;
		r = gw_access_check_path(p->access, peer, sess->name, dev->name,
					 dev->access_mode, err_text);
		if (r < 0)
			return r;
		r = gw_export_allow(p->exports, &dev->opened, &who, &unused,
				    err_text);
		if (r == -EACCES) {
			log_warn(sess->srv->log,
				 "session '%s': a path is refused while '%s' "
				 "is open: %s",
				 sess->name, dev->name, err_text);
			return r;
		}
	}
	return 0;
}

void
gw_device_grow(struct gw_device *dev, uint64_t size)
{
	struct backend_geometry *g = &dev->backend->geo;

	size -= size % g->logical_block_size;
	if (size <= g->size_bytes || !dev->backend->ops->grows)
		return;
	log_info(dev->sess->srv->log,
		 "session '%s': '%s' has grown to %" PRIu64 " bytes",
		 dev->sess->name, dev->name, size);
	backend_grow(dev->backend, size);
}

void
gw_sess_recheck(struct gw_sess *sess)
{
	struct gw_device *dev;

	DL_FOREACH(sess->devs, dev) {
		uint64_t size;
		int err;

		/* One that is opening is checked when it is open. */
		if (dev->state != GW_DEV_OPEN)
			continue;
		err = gw_device_check_allowed(dev, &dev->opened, &size,
					      dev->err_text);
		if (err) {
			gw_device_revoke(dev, dev->err_text);
			continue;
		}
		gw_device_grow(dev, size);
		gw_throttled_recheck(dev);
	}
}
