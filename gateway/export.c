/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/export.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gateway/backend/nbd-params.h"
#include "gateway/claim.h"
#include "gateway/hash.h"
#include "gateway/resolve.h"
#include "gateway/spec.h"

/* Constant once it is in the table, and never removed. */
struct export
{
	char name[RNBD_NAME_LEN];
	char *spec; /* for people */
	const struct backend_ops *ops;
	char *path; /* of a file */
	void *store;
	struct memory_store *owned_store;
	uint64_t size;
	bool read_only;
	bool buffered;
	UT_hash_handle hh;
};

struct sess_name {
	char name[RNBD_NAME_LEN];
	UT_hash_handle hh;
};

struct gw_exports {
	const struct log *log;
	pthread_mutex_t lock; /* guards all below; never held while opening */
	struct export *exports;
	struct gw_search *search; /* constant once set */
	struct gw_claims claims;
	struct sess_name *sess_names;
};

int
gw_exports_new(const struct log *log, struct gw_exports **ret)
{
	struct gw_exports *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	x->log = log;
	pthread_mutex_init(&x->lock, NULL);
	*ret = x;
	return 0;
}

static void
export_free(struct export *ex)
{
	memory_store_unref(ex->owned_store);
	free(ex->path);
	free(ex->spec);
	free(ex);
}

void
gw_exports_free(struct gw_exports *x)
{
	struct export *ex, *next_ex;
	struct sess_name *name, *next_name;

	if (!x)
		return;
	HASH_ITER(hh, x->exports, ex, next_ex) {
		HASH_DEL(x->exports, ex);
		export_free(ex);
	}
	HASH_ITER(hh, x->sess_names, name, next_name) {
		HASH_DEL(x->sess_names, name);
		free(name);
	}
	gw_search_free(x->search);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

static void
export_params(const struct export *ex, struct backend_open_params *ret)
{
	*ret = (struct backend_open_params){
		.fd = -1,
		.path = ex->path,
		.size = ex->size,
		.store = ex->store,
		.read_only = ex->read_only,
		.buffered = ex->buffered,
	};
}

/* Puts ex into the table, or frees it. */
static int
export_insert(struct gw_exports *x, struct export *ex)
{
	struct export *old;
	int err = 0;

	pthread_mutex_lock(&x->lock);
	HASH_FIND_STR(x->exports, ex->name, old);
	if (old) {
		err = -EEXIST;
	} else {
		HASH_ADD_STR(x->exports, name, ex);
		if (!ex->hh.tbl)
			err = -ENOMEM;
	}
	pthread_mutex_unlock(&x->lock);
	if (err)
		export_free(ex);
	return err;
}

static int
say_unopened(int err, const struct export *ex, char err_text[GW_TEXT_MAX])
{
	const char *hint = "";

	switch (err) {
	case -ENOENT:
		hint = ": create it first (truncate -s SIZE)";
		break;
	case -EACCES:
	case -EROFS:
		if (!ex->read_only)
			hint = ": to offer it read-only add ',ro'";
		break;
	case -ENOTBLK:
		return gw_text_err(err_text, err,
				   "export '%s': '%s' is neither a regular "
				   "file nor a block device",
				   gw_name_text(ex->name).s,
				   gw_name_text(ex->path).s);
	case -EINVAL:
		return gw_text_err(err_text, err,
				   "export '%s': '%s' is empty, shorter than a "
				   "block, or has blocks of more than 4096 "
				   "bytes",
				   gw_name_text(ex->name).s,
				   gw_name_text(ex->path).s);
	default:
		break;
	}
	return gw_text_err(err_text, err, "export '%s': cannot open '%s': %s%s",
			   gw_name_text(ex->name).s, gw_name_text(ex->path).s,
			   strerrordesc_np(-err), hint);
}

/* A file that cannot be served is better told now than to the first client. */
static int
probe_file(const struct gw_exports *x, const struct export *ex,
	   char err_text[GW_TEXT_MAX])
{
	struct backend_open_params params;
	struct backend *b;
	int err;

	export_params(ex, &params);
	params.log = x->log;
	err = ex->ops->open(&params, &b);
	if (!err) {
		if (b->geo.read_only && !ex->read_only)
			err = -EACCES;
		ex->ops->close(b);
	}
	return err ? say_unopened(err, ex, err_text) : 0;
}

/*
 * As text only: a server that is away now may be there when a client opens, and
 * the other exports do not have to wait for it.
 */
static int
check_nbd(const struct export *ex, char err_text[GW_TEXT_MAX])
{
	struct nbd_params params;
	char text[GW_TEXT_MAX];
	int err = nbd_params_parse(ex->path, &params, text);

	if (err)
		return gw_text_err(err_text, err, "export '%s': %s",
				   gw_name_text(ex->name).s, text);
	nbd_params_deinit(&params);
	return 0;
}

/* Fills ex by spec, whose path it takes over. */
static int
export_by_spec(const struct gw_exports *x, struct export *ex,
	       struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	int err = 0;

	memcpy(ex->name, spec->name, sizeof(ex->name));
	ex->read_only = spec->read_only;
	ex->size = spec->size;
	switch (spec->kind) {
	case GW_SPEC_NULL:
		ex->ops = &backend_null;
		ex->store = ex;
		break;
	case GW_SPEC_MEMORY:
		ex->ops = &backend_memory;
		err = memory_store_new(spec->size, &ex->owned_store);
		if (err)
			return gw_text_err(err_text, err,
					   "export '%s': cannot reserve %llu "
					   "bytes of memory: %s",
					   gw_name_text(ex->name).s,
					   (unsigned long long)spec->size,
					   strerrordesc_np(-err));
		ex->store = ex->owned_store;
		break;
	case GW_SPEC_NBD:
		ex->ops = &backend_nbd;
		ex->path = strdup(spec->path);
		if (!ex->path)
			return gw_text_err(err_text, -ENOMEM, "out of memory");
		err = check_nbd(ex, err_text);
		break;
	case GW_SPEC_FILE:
		ex->ops = &backend_file;
		ex->path = strdup(spec->path);
		if (!ex->path)
			return gw_text_err(err_text, -ENOMEM, "out of memory");
		ex->buffered = spec->buffered;
		err = probe_file(x, ex, err_text);
		break;
	}
	return err;
}

int
gw_exports_add(struct gw_exports *x, const char *name_spec,
	       char err_text[GW_TEXT_MAX])
{
	struct gw_spec spec;
	struct export *ex;
	int err;

	err = gw_spec_parse(name_spec, &spec, err_text);
	if (err)
		return err;
	ex = calloc(1, sizeof(*ex));
	if (!ex) {
		err = gw_text_err(err_text, -ENOMEM, "out of memory");
		goto out;
	}
	ex->spec = strdup(name_spec + strlen(spec.name) + 1);
	err = ex->spec ? export_by_spec(x, ex, &spec, err_text)
		       : gw_text_err(err_text, -ENOMEM, "out of memory");
	if (err) {
		export_free(ex);
		goto out;
	}
	err = export_insert(x, ex);
	if (err)
		gw_text_err(err_text, err, "export '%s': %s",
			    gw_name_text(spec.name).s,
			    err == -EEXIST ? "there is one of that name already"
					   : "out of memory");
out:
	gw_spec_deinit(&spec);
	return err;
}

int
gw_exports_add_backend(struct gw_exports *x, const char *name,
		       const struct backend_ops *ops, void *store,
		       uint64_t size, bool read_only)
{
	char unused[GW_TEXT_MAX];
	struct export *ex;

	if (gw_spec_check_name(name, unused))
		return -EINVAL;
	ex = calloc(1, sizeof(*ex));
	if (!ex)
		return -ENOMEM;
	snprintf(ex->name, sizeof(ex->name), "%s", name);
	ex->spec = strdup(ops->name);
	if (!ex->spec) {
		export_free(ex);
		return -ENOMEM;
	}
	ex->ops = ops;
	ex->store = store;
	ex->size = size;
	ex->read_only = read_only;
	return export_insert(x, ex);
}

int
gw_exports_set_search_path(struct gw_exports *x, const char *dir,
			   char err_text[GW_TEXT_MAX])
{
	struct gw_search *s;
	int err;

	if (x->search)
		return gw_text_err(err_text, -EEXIST,
				   "search path '%s': there is one already",
				   gw_name_text(dir).s);
	err = gw_search_new(dir, &s, err_text);
	if (err)
		return err;
	x->search = s;
	return 0;
}

unsigned
gw_exports_count(struct gw_exports *x)
{
	unsigned n;

	pthread_mutex_lock(&x->lock);
	n = HASH_COUNT(x->exports);
	pthread_mutex_unlock(&x->lock);
	return n;
}

void
gw_exports_for_each(struct gw_exports *x,
		    void (*fn)(void *user, const char *name, const char *spec,
			       bool read_only),
		    void *user)
{
	struct export *ex, *next;

	pthread_mutex_lock(&x->lock);
	HASH_ITER(hh, x->exports, ex, next)
		fn(user, ex->name, ex->spec, ex->read_only);
	pthread_mutex_unlock(&x->lock);
}

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
open_named(const struct export *ex, const struct gw_open_params *p,
	   struct backend_open_params *params, struct backend **ret,
	   char err_text[GW_TEXT_MAX])
{
	bool read_only = p->access_mode == RNBD_ACCESS_RO;
	char text[GW_TEXT_MAX] = "";
	int err;

	if (ex->read_only && !read_only)
		return say_read_only(p->dev_name, err_text);
	export_params(ex, params);
	params->exec = p->exec;
	params->io = p->io;
	params->events = p->events;
	params->log = p->log;
	params->read_only = read_only;
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
open_searched(const struct gw_exports *x, const struct gw_open_params *p,
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
	};
	int err;

	if (!x->search)
		return gw_text_err(err_text, -ENOENT, "no such export '%s'",
				   gw_name_text(p->dev_name).s);
	err = gw_search_open(x->search, p->sess_name, p->dev_name, read_only,
			     &params.fd, path, err_text);
	if (err)
		return err;
	err = backend_file.open(&params, ret);
	if (err)
		return gw_text_err(err_text, err,
				   "the server cannot use '%s': %s",
				   gw_name_text(p->dev_name).s, reason(err));
	return 0;
}

int
gw_exports_open(struct gw_exports *x, const struct gw_open_params *p,
		struct backend **ret, struct gw_claim **ret_claim,
		char err_text[GW_TEXT_MAX])
{
	struct backend_open_params params;
	struct backend *b = NULL;
	struct gw_claim *claim;
	struct export *ex;
	int err;

	err = check_request(p, err_text);
	if (err)
		return err;
	pthread_mutex_lock(&x->lock);
	HASH_FIND_STR(x->exports, p->dev_name, ex);
	pthread_mutex_unlock(&x->lock);
	err = ex ? open_named(ex, p, &params, &b, err_text)
		 : open_searched(x, p, &b, err_text);
	if (err)
		return err;
	if (b->ops == &backend_file && !p->io) {
		err = gw_text_err(err_text, -EOPNOTSUPP,
				  "'%s' is a file: this server has none",
				  gw_name_text(p->dev_name).s);
		goto err_close;
	}
	if (b->geo.read_only && p->access_mode != RNBD_ACCESS_RO) {
		err = say_read_only(p->dev_name, err_text);
		goto err_close;
	}
	pthread_mutex_lock(&x->lock);
	err = gw_claims_add(&x->claims, &b->id, p->sess_name, p->dev_name,
			    p->access_mode, &claim, err_text);
	pthread_mutex_unlock(&x->lock);
	if (err)
		goto err_close;
	*ret = b;
	*ret_claim = claim;
	return 0;

err_close:
	b->ops->close(b);
	return err;
}

void
gw_exports_close(struct gw_exports *x, struct backend *b,
		 struct gw_claim *claim)
{
	if (b)
		b->ops->close(b);
	pthread_mutex_lock(&x->lock);
	gw_claims_remove(&x->claims, claim);
	pthread_mutex_unlock(&x->lock);
}

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
