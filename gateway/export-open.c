/* SPDX-License-Identifier: BSD-3-Clause */
/* Mappings: from a name that a session gave to an open backend and back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "gateway/export-priv.h"

/* ---------------------------------------------------------- who may have it */

/* Under the lock. */
static int
allow(const struct gw_export *ex, const struct gw_asker *who,
      char err_text[GW_TEXT_MAX])
{
	const struct gw_spec *spec = &ex->spec;

	if (spec->sessions.n &&
	    !gw_name_list_match(&spec->sessions, who->sess_name))
		return gw_text_err(err_text, -EACCES,
				   "export '%s' is not for session '%s'",
				   gw_name_text(spec->name).s,
				   gw_name_text(who->sess_name).s);
	if (!spec->addresses.n)
		return 0;
	for (unsigned i = 0; i < who->n_peers; i++)
		if (!gw_net_list_match(&spec->addresses, &who->peers[i]))
			return gw_text_err(err_text, -EACCES,
					   "export '%s' is not for the address "
					   "of session '%s'",
					   gw_name_text(spec->name).s,
					   gw_name_text(who->sess_name).s);
	return 0;
}

int
gw_exports_allow(struct gw_exports *x, const char *dev_name,
		 const struct gw_asker *who, char err_text[GW_TEXT_MAX])
{
	const struct gw_export *ex;
	int err = 0;

	pthread_mutex_lock(&x->lock);
	ex = export_find(x, dev_name);
	if (ex)
		err = allow(ex, who, err_text);
	pthread_mutex_unlock(&x->lock);
	return err;
}

int
gw_export_allow(struct gw_exports *x, const struct gw_opened *o,
		const struct gw_asker *who, uint64_t *ret_size,
		char err_text[GW_TEXT_MAX])
{
	const struct gw_export *ex = o->export;
	int err;

	pthread_mutex_lock(&x->lock);
	err = ex->listed ? allow(ex, who, err_text)
			 : gw_text_err(err_text, -ENOENT,
				       "the export is gone or was replaced");
	*ret_size = ex->size_looks == o->size_looks ? 0 : ex->size_bytes;
	pthread_mutex_unlock(&x->lock);
	return err;
}

const char *
gw_export_name(const struct gw_export *ex)
{
	return ex->spec.name;
}

bool
gw_export_is_writethrough(const struct gw_export *ex)
{
	return ex->spec.writethrough;
}

struct gw_throttle *
gw_export_throttle(struct gw_export *ex)
{
	return &ex->throttle;
}

/* ------------------------------------------------------------------- open */

static int
check_request(const struct gw_open_params *p, char err_text[GW_TEXT_MAX])
{
	if (p->access_mode > RNBD_ACCESS_MIGRATION)
		return gw_text_err(err_text, -EINVAL,
				   "access mode %u is unknown", p->access_mode);
	if (!*p->dev_name)
		return gw_text_err(err_text, -EINVAL,
				   "the device name is empty");
	if (strstr(p->dev_name, ".."))
		return gw_text_err(err_text, -EINVAL,
				   "device name '%s': \"..\" is not allowed",
				   gw_name_text(p->dev_name).s);
	return 0;
}

static int
say_read_only(const char *dev_name, char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, -EACCES,
			   "export '%s' is read-only: open it with "
			   "access_mode=ro",
			   gw_name_text(dev_name).s);
}

/* What open() of a backend says, for the peer; paths are not its business. */
static const char *
reason(int err)
{
	switch (err) {
	case -EINVAL:
		return "it is empty, or its blocks are of no usable size";
	case -ENOTBLK:
		return "it is neither a regular file nor a block device";
	default:
		return strerrordesc_np(-err);
	}
}

static int
open_named(const struct gw_export *ex, const struct gw_open_params *p,
	   struct backend_open_params *params, struct backend **ret,
	   char err_text[GW_TEXT_MAX])
{
	bool read_only = p->access_mode == RNBD_ACCESS_RO;
	char text[GW_TEXT_MAX] = "";
	int err;

	if (ex->spec.read_only && !read_only)
		return say_read_only(p->dev_name, err_text);
	params->exec = p->exec;
	params->io = p->io;
	params->events = p->events;
	params->log = p->log;
	params->read_only = read_only;
	params->cancel_fd = p->cancel_fd;
	params->err_text = text;
	err = ex->ops->open(params, ret);
	if (err)
		return gw_text_err(err_text, err == -EROFS ? -EACCES : err,
				   "the server cannot open export '%s': %s",
				   gw_name_text(p->dev_name).s,
				   *text ? text : reason(err));
	return 0;
}

static int
open_searched(const struct gw_export *ex, const struct gw_open_params *p,
	      struct backend **ret, char err_text[GW_TEXT_MAX])
{
	bool read_only = p->access_mode == RNBD_ACCESS_RO;
	char path[GW_PATH_MAX];
	struct backend_open_params params = {
		.exec = p->exec,
		.io = p->io,
		.log = p->log,
		.read_only = read_only,
		.path = path,
		.fd = -1,
		.cancel_fd = -1,
	};
	int err;

	err = gw_search_open(ex->search, p->sess_name, p->dev_name, read_only,
			     &params.fd, path, err_text);
	if (err)
		return err;
	err = ex->ops->open(&params, ret);
	if (err)
		return gw_text_err(err_text, err,
				   "the server cannot use '%s': %s",
				   gw_name_text(p->dev_name).s, reason(err));
	return 0;
}

/* A reference to the export of that name, or to the search path's. */
static struct gw_export *
find_ref(struct gw_exports *x, const char *dev_name, unsigned *ret_size_looks,
	 struct backend_open_params *ret_params)
{
	struct gw_export *ex;

	pthread_mutex_lock(&x->lock);
	ex = export_find(x, dev_name);
	if (!ex)
		ex = x->search;
	if (ex) {
		ex->refs++;
		*ret_size_looks = ex->size_looks;
		export_open_params(ex, ret_params);
	}
	pthread_mutex_unlock(&x->lock);
	return ex;
}

/* What a mapping of mode needs beyond that it could be opened. */
static int
check_opened(const struct backend *b, const struct gw_open_params *p,
	     char err_text[GW_TEXT_MAX])
{
	if (b->ops == &backend_file && !p->io)
		return gw_text_err(err_text, -EOPNOTSUPP,
				   "'%s' is a file: this server has none",
				   gw_name_text(p->dev_name).s);
	if (b->geo.read_only && p->access_mode != RNBD_ACCESS_RO)
		return say_read_only(p->dev_name, err_text);
	return 0;
}

/* Under the lock. */
static int
claim(struct gw_exports *x, const struct gw_open_params *p, struct gw_opened *o,
      char err_text[GW_TEXT_MAX])
{
	const struct backend_identity *id = &o->backend->id;
	int err = gw_claims_add(&x->claims, id, p->sess_name, p->dev_name,
				p->access_mode, &o->claim, err_text);

	if (err)
		return err;
	err = gw_durables_open(&x->durables, id, &o->durable);
	if (err) {
		gw_claims_remove(&x->claims, o->claim);
		return gw_text_err(err_text, err,
				   "the server is out of memory");
	}
	o->export->mappings++;
	if (!o->export->search)
		o->export->id = *id;
	return 0;
}

int
gw_exports_open(struct gw_exports *x, const struct gw_open_params *p,
		struct gw_opened *ret, char err_text[GW_TEXT_MAX])
{
	struct backend_open_params params;
	struct gw_opened o = {0};
	int err;

	err = check_request(p, err_text);
	if (err)
		return err;
	o.export = find_ref(x, p->dev_name, &o.size_looks, &params);
	if (!o.export)
		return gw_text_err(err_text, -ENOENT, "no such export '%s'",
				   gw_name_text(p->dev_name).s);
	err = o.export->search
		      ? open_searched(o.export, p, &o.backend, err_text)
		      : open_named(o.export, p, &params, &o.backend, err_text);
	if (err)
		goto err_unref;
	err = check_opened(o.backend, p, err_text);
	if (err)
		goto err_close;
	pthread_mutex_lock(&x->lock);
	err = claim(x, p, &o, err_text);
	pthread_mutex_unlock(&x->lock);
	if (err)
		goto err_close;
	*ret = o;
	return 0;

err_close:
	o.backend->ops->close(o.backend);
err_unref:
	export_unref(x, o.export);
	return err;
}

void
gw_exports_close(struct gw_exports *x, const struct gw_opened *o)
{
	if (o->backend)
		o->backend->ops->close(o->backend);
	pthread_mutex_lock(&x->lock);
	gw_durables_close(&x->durables, o->durable);
	gw_claims_remove(&x->claims, o->claim);
	o->export->mappings--;
	pthread_mutex_unlock(&x->lock);
	export_unref(x, o->export);
}

/* ---------------------------------------------------------- session names */

int
gw_exports_name_claim(struct gw_exports *x, const char *sess_name)
{
	struct sess_name *entry = calloc(1, sizeof(*entry)), *old;
	int err = 0;

	if (!entry)
		return -ENOMEM;
	snprintf(entry->name, sizeof(entry->name), "%s", sess_name);
	pthread_mutex_lock(&x->lock);
	HASH_FIND_STR(x->sess_names, entry->name, old);
	if (old) {
		err = -EPERM;
	} else {
		HASH_ADD_STR(x->sess_names, name, entry);
		if (!entry->hh.tbl)
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&x->lock);
	if (err)
		free(entry);
	return err;
}

void
gw_exports_name_release(struct gw_exports *x, const char *sess_name)
{
	struct sess_name *entry;

	pthread_mutex_lock(&x->lock);
	HASH_FIND_STR(x->sess_names, sess_name, entry);
	if (entry)
		HASH_DEL(x->sess_names, entry);
	pthread_mutex_unlock(&x->lock);
	free(entry);
}
