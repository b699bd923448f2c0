/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/export.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "gateway/export-priv.h"

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

void
export_unref(struct gw_exports *x, struct gw_export *ex)
{
	unsigned refs;

	if (!ex)
		return;
	pthread_mutex_lock(&x->lock);
	refs = --ex->refs;
	pthread_mutex_unlock(&x->lock);
	if (!refs)
		export_free(ex);
}

/* The references of a table that is none any more. */
static void
table_free(struct gw_exports *x, struct export_slot *table)
{
	struct export_slot *slot, *next;

	HASH_ITER(hh, table, slot, next) {
		HASH_DEL(table, slot);
		export_unref(x, slot->ex);
		free(slot);
	}
}

void
gw_exports_free(struct gw_exports *x)
{
	struct sess_name *name, *next_name;

	if (!x)
		return;
	table_free(x, x->table);
	HASH_ITER(hh, x->sess_names, name, next_name) {
		HASH_DEL(x->sess_names, name);
		free(name);
	}
	export_unref(x, x->search);
	gw_durables_free(&x->durables);
	pthread_mutex_destroy(&x->lock);
	free(x);
}

static struct export_slot *
slot_find(struct export_slot *table, const char *name)
{
	struct export_slot *slot;

	HASH_FIND_STR(table, name, slot);
	return slot;
}

/* Takes over the reference, but not on failure. -EEXIST, -ENOMEM. */
static int
slot_add(struct export_slot **table, struct gw_export *ex)
{
	struct export_slot *slot;

	if (slot_find(*table, ex->spec.name))
		return -EEXIST;
	slot = calloc(1, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->ex = ex;
	HASH_ADD_KEYPTR(hh, *table, ex->spec.name, strlen(ex->spec.name), slot);
	if (!slot->hh.tbl) {
		free(slot);
		return -ENOMEM;
	}
	return 0;
}

static int
say_unadded(int err, const char *name, char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, err, "export '%s': %s",
			   gw_name_text(name).s,
			   err == -EEXIST ? "there is one of that name already"
					  : "out of memory");
}

struct gw_export *
export_find(const struct gw_exports *x, const char *name)
{
	struct export_slot *slot = slot_find(x->table, name);

	return slot ? slot->ex : NULL;
}

/* Puts ex into the table, or frees it. */
static int
insert(struct gw_exports *x, struct gw_export *ex)
{
	int err;

	pthread_mutex_lock(&x->lock);
	err = slot_add(&x->table, ex);
	ex->listed = !err;
	pthread_mutex_unlock(&x->lock);
	if (err)
		export_unref(x, ex);
	return err;
}

int
gw_exports_add(struct gw_exports *x, const struct gw_spec *spec,
	       char err_text[GW_TEXT_MAX])
{
	struct gw_export *ex;
	int err;

	/* Before a file is made for it. */
	if (export_find(x, spec->name))
		return say_unadded(-EEXIST, spec->name, err_text);
	err = export_make(x, spec, &ex, err_text);
	if (err)
		return err;
	err = insert(x, ex);
	return err ? say_unadded(err, spec->name, err_text) : 0;
}

int
gw_exports_add_text(struct gw_exports *x, const char *name_spec,
		    char err_text[GW_TEXT_MAX])
{
	struct gw_spec spec;
	int err = gw_spec_parse(name_spec, &spec, err_text);

	if (err)
		return err;
	err = gw_exports_add(x, &spec, err_text);
	gw_spec_deinit(&spec);
	return err;
}

int
gw_exports_add_backend(struct gw_exports *x, const char *name,
		       const struct backend_ops *ops, void *store,
		       uint64_t size, bool read_only)
{
	char unused[GW_TEXT_MAX];
	struct gw_export *ex;

	if (gw_spec_check_name(name, unused))
		return -EINVAL;
	ex = calloc(1, sizeof(*ex));
	if (!ex)
		return -ENOMEM;
	ex->refs = 1;
	snprintf(ex->spec.name, sizeof(ex->spec.name), "%s", name);
	ex->spec.backend = strdup(ops->name);
	if (!ex->spec.backend) {
		export_free(ex);
		return -ENOMEM;
	}
	ex->ops = ops;
	ex->store = store;
	ex->spec.size = size;
	ex->spec.read_only = read_only;
	ex->size_bytes = size;
	return insert(x, ex);
}

int
export_say_unknown(const char *name, char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, -ENOENT,
			   "export '%s': there is none of that name",
			   gw_name_text(name).s);
}

int
gw_exports_remove(struct gw_exports *x, const char *name,
		  char err_text[GW_TEXT_MAX])
{
	struct export_slot *slot;

	pthread_mutex_lock(&x->lock);
	slot = slot_find(x->table, name);
	if (slot) {
		HASH_DEL(x->table, slot);
		slot->ex->listed = false;
	}
	pthread_mutex_unlock(&x->lock);
	if (!slot)
		return export_say_unknown(name, err_text);
	log_info(x->log, "export '%s': removed", gw_name_text(name).s);
	export_unref(x, slot->ex);
	free(slot);
	return 0;
}

/* Under the lock. */
static void
set_limits(struct gw_export *ex, uint64_t iops, uint64_t bandwidth)
{
	if (ex->spec.iops == iops && ex->spec.bandwidth == bandwidth)
		return;
	ex->spec.iops = iops;
	ex->spec.bandwidth = bandwidth;
	gw_throttle_set(&ex->throttle, iops, bandwidth);
}

int
gw_exports_set_limits(struct gw_exports *x, const char *name, uint64_t iops,
		      uint64_t bandwidth, char err_text[GW_TEXT_MAX])
{
	struct gw_export *ex;

	if (iops > GW_SPEC_MAX_IOPS ||
	    (bandwidth && bandwidth < GW_SPEC_MIN_BANDWIDTH))
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': give iops up to 100000000, "
				   "and a bandwidth of 4096 or more; 0 is no "
				   "limit",
				   gw_name_text(name).s);
	pthread_mutex_lock(&x->lock);
	ex = export_find(x, name);
	if (ex)
		set_limits(ex, iops, bandwidth);
	pthread_mutex_unlock(&x->lock);
	return ex ? 0 : export_say_unknown(name, err_text);
}

void
export_set_size(struct gw_exports *x, struct gw_export *ex, uint64_t size_bytes)
{
	uint64_t before;

	pthread_mutex_lock(&x->lock);
	before = ex->size_bytes;
	ex->size_bytes = size_bytes;
	ex->size_looks++;
	pthread_mutex_unlock(&x->lock);
	if (size_bytes != before)
		log_info(x->log,
			 "export '%s': %" PRIu64 " bytes now, %" PRIu64
			 " before",
			 gw_name_text(ex->spec.name).s, size_bytes, before);
}

int
gw_exports_resize(struct gw_exports *x, const char *name, uint64_t size,
		  uint64_t *ret_size, char err_text[GW_TEXT_MAX])
{
	struct gw_export *ex = export_find(x, name);
	uint64_t now;
	int err = 0;

	/* Only this thread takes it out of the table. */
	if (!ex)
		return export_say_unknown(name, err_text);
	now = ex->size_bytes;
	if (size)
		err = export_grow(x, ex, size, &now, err_text);
	else if (ex->spec.path)
		err = export_look(x, ex, &now, err_text);
	if (err)
		return err;
	export_set_size(x, ex, now);
	*ret_size = now;
	return 0;
}

/* ---------------------------------------------------------------- reload */

/* What an export that stays takes over. */
struct live_change {
	struct gw_export *ex;
	struct gw_spec spec;
};

struct gw_exports_change {
	struct export_slot *table; /* the new one, with references */
	struct live_change *live;
	unsigned n_live;
};

static bool
stays(const struct gw_export *ex, const struct gw_spec *spec)
{
	struct gw_spec wanted = *spec;

	if (ex->spec.kind != GW_SPEC_FILE && spec->size == ex->size_bytes)
		wanted.size = ex->spec.size;
	return gw_spec_same_backend(&ex->spec, &wanted);
}

static int
change_add(struct gw_exports *x, struct gw_exports_change *c,
	   const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	struct gw_export *ex = export_find(x, spec->name);
	int err = gw_spec_check(spec, err_text);

	if (err)
		return err;
	if (slot_find(c->table, spec->name))
		return say_unadded(-EEXIST, spec->name, err_text);
	if (ex && stays(ex, spec)) {
		struct live_change *live = &c->live[c->n_live];

		if (gw_spec_copy(&live->spec, spec))
			return say_unadded(-ENOMEM, spec->name, err_text);
		live->ex = ex;
		c->n_live++;
		pthread_mutex_lock(&x->lock);
		ex->refs++;
		pthread_mutex_unlock(&x->lock);
	} else {
		err = export_make(x, spec, &ex, err_text);
		if (err)
			return err;
	}
	err = slot_add(&c->table, ex);
	if (err) {
		export_unref(x, ex);
		return say_unadded(err, spec->name, err_text);
	}
	return 0;
}

int
gw_exports_prepare(struct gw_exports *x, const struct gw_spec *specs,
		   unsigned n, struct gw_exports_change **ret,
		   const struct gw_spec **ret_bad, char err_text[GW_TEXT_MAX])
{
	struct gw_exports_change *c = calloc(1, sizeof(*c));
	int err = 0;

	*ret_bad = NULL;

	if (c)
		c->live = calloc(n + 1, sizeof(*c->live));
	if (!c || !c->live) {
		free(c);
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	}
	for (unsigned i = 0; i < n && !err; i++) {
		err = change_add(x, c, &specs[i], err_text);
		if (err)
			*ret_bad = &specs[i];
	}
	if (err)
		gw_exports_drop(x, c);
	else
		*ret = c;
	return err;
}

static void
change_free(struct gw_exports_change *c)
{
	for (unsigned i = 0; i < c->n_live; i++)
		gw_spec_deinit(&c->live[i].spec);
	free(c->live);
	free(c);
}

void
gw_exports_drop(struct gw_exports *x, struct gw_exports_change *c)
{
	struct export_slot *slot, *next;

	HASH_ITER(hh, c->table, slot, next)
		if (slot->ex->made_file && !slot->ex->listed)
			(void)unlink(slot->ex->spec.path);
	table_free(x, c->table);
	change_free(c);
}

/* Under the lock. The old lists end up in the change. */
static void
apply_live(struct live_change *live)
{
	struct gw_spec *spec = &live->ex->spec, *new = &live->spec;
	struct gw_name_list sessions = spec->sessions;
	struct gw_net_list addresses = spec->addresses;

	set_limits(live->ex, new->iops, new->bandwidth);
	spec->create = new->create;
	spec->sessions = new->sessions;
	spec->addresses = new->addresses;
	new->sessions = sessions;
	new->addresses = addresses;
}

void
gw_exports_apply(struct gw_exports *x, struct gw_exports_change *c)
{
	struct export_slot *old, *slot, *next;
	unsigned n_old, n_new;

	pthread_mutex_lock(&x->lock);
	old = x->table;
	n_old = HASH_COUNT(old);
	HASH_ITER(hh, old, slot, next)
		slot->ex->listed = false;
	x->table = c->table;
	c->table = NULL;
	n_new = HASH_COUNT(x->table);
	HASH_ITER(hh, x->table, slot, next)
		slot->ex->listed = true;
	for (unsigned i = 0; i < c->n_live; i++)
		apply_live(&c->live[i]);
	pthread_mutex_unlock(&x->lock);
	log_info(x->log, "exports: %u stay, %u come, %u leave", c->n_live,
		 n_new - c->n_live, n_old - c->n_live);
	table_free(x, old);
	change_free(c);
}

int
gw_exports_reload(struct gw_exports *x, const struct gw_spec *specs, unsigned n,
		  char err_text[GW_TEXT_MAX])
{
	const struct gw_spec *bad;
	struct gw_exports_change *c;
	int err = gw_exports_prepare(x, specs, n, &c, &bad, err_text);

	if (!err)
		gw_exports_apply(x, c);
	return err;
}

int
gw_exports_set_search_path(struct gw_exports *x, const char *dir,
			   char err_text[GW_TEXT_MAX])
{
	struct gw_export *ex = NULL, *old = x->search;
	int err;

	if (dir && old && !strcmp(old->spec.backend, dir))
		return 0;
	if (dir) {
		ex = calloc(1, sizeof(*ex));
		if (!ex || !(ex->spec.backend = strdup(dir))) {
			free(ex);
			return gw_text_err(err_text, -ENOMEM, "out of memory");
		}
		ex->refs = 1;
		ex->ops = &backend_file;
		ex->listed = true;
		err = gw_search_new(dir, &ex->search, err_text);
		if (err) {
			export_free(ex);
			return err;
		}
	}
	pthread_mutex_lock(&x->lock);
	x->search = ex;
	if (old)
		old->listed = false;
	pthread_mutex_unlock(&x->lock);
	export_unref(x, old);
	return 0;
}

/* --------------------------------------------------------------- listing */

unsigned
gw_exports_count(struct gw_exports *x)
{
	unsigned n;

	pthread_mutex_lock(&x->lock);
	n = HASH_COUNT(x->table);
	pthread_mutex_unlock(&x->lock);
	return n;
}

/* "memory:100M" */
static char *
sized_backend(const struct gw_export *ex, char *dst, size_t len)
{
	static const char units[] = "KMGT";
	uint64_t size = ex->size_bytes;
	unsigned n = 0;

	while (n < 4 && size && !(size % 1024)) {
		size /= 1024;
		n++;
	}
	snprintf(dst, len, "%s:%" PRIu64 "%.*s", ex->ops->name, size, n ? 1 : 0,
		 n ? units + n - 1 : units);
	return dst;
}

void
gw_exports_for_each(struct gw_exports *x,
		    void (*fn)(void *user, const struct gw_exports_item *info),
		    void *user)
{
	struct export_slot *slot, *next;

	pthread_mutex_lock(&x->lock);
	HASH_ITER(hh, x->table, slot, next) {
		const struct gw_export *ex = slot->ex;
		const struct gw_durable *d =
			gw_durables_find(&x->durables, &ex->id);
		char text[1024], backend[64];
		struct gw_spec now = ex->spec;
		struct gw_exports_item info = {
			.spec = &ex->spec,
			.size_bytes = ex->size_bytes,
			.mappings = ex->mappings,
			.flush_failed = d && gw_durable_has_failed(d),
		};

		/* One that has grown since it was given. */
		if (ex->store && ex->size_bytes != ex->spec.size)
			now.backend =
				sized_backend(ex, backend, sizeof(backend));
		info.text = gw_spec_text(&now, text, sizeof(text));
		fn(user, &info);
	}
	pthread_mutex_unlock(&x->lock);
}
