/* SPDX-License-Identifier: BSD-3-Clause */
/* What an export is made of: files are looked at, and created. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "gateway/export-priv.h"

/* -------------------------------------------------------------- creation */

static int
say_uncreated(int err, const struct gw_spec *spec, const char *what,
	      char err_text[GW_TEXT_MAX])
{
	const char *hint = "";

	switch (err) {
	case -ENOENT:
	case -ENOTDIR:
		hint = ": its directory must be there";
		break;
	case -EACCES:
	case -EPERM:
		hint = ": the daemon needs to write its directory";
		break;
	case -ENOSPC:
	case -EDQUOT:
		hint = ": make room there";
		break;
	case -EFBIG:
		hint = ": the file system has no files that large";
		break;
	default:
		break;
	}
	return gw_text_err(err_text, err, "export '%s': cannot %s '%s': %s%s",
			   gw_name_text(spec->name).s, what,
			   gw_name_text(spec->path).s, strerrordesc_np(-err),
			   hint);
}

/*
 * Sparse: a reservation would not outlive the first discard of a client, and
 * takes its time on some file systems. So the room is only compared.
 */
static int
create_file(const struct gw_exports *x, struct gw_export *ex,
	    char err_text[GW_TEXT_MAX])
{
	const struct gw_spec *spec = &ex->spec;
	struct statvfs fs;
	int err, fd;

	fd = open(spec->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOCTTY,
		  0600);
	if (fd < 0)
		/* It is there; what it is shows when it is opened. */
		return errno == EEXIST ? 0
				       : say_uncreated(-errno, spec, "create",
						       err_text);
	ex->made_file = true;
	if (ftruncate(fd, (off_t)spec->create) < 0) {
		err = say_uncreated(-errno, spec, "set the size of", err_text);
		close(fd);
		return err;
	}
	log_info(x->log, "export '%s': created '%s' of %" PRIu64 " bytes",
		 gw_name_text(spec->name).s, gw_name_text(spec->path).s,
		 spec->create);
	if (!fstatvfs(fd, &fs) &&
	    spec->create / fs.f_frsize > (uint64_t)fs.f_bavail)
		log_warn(x->log,
			 "export '%s': its file system has only %" PRIu64
			 " bytes left: writes will fail when they are used up",
			 gw_name_text(spec->name).s,
			 (uint64_t)fs.f_bavail * fs.f_frsize);
	close(fd);
	return 0;
}

/* ------------------------------------------------------------------ look */

void
export_open_params(const struct gw_export *ex, struct backend_open_params *ret)
{
	*ret = (struct backend_open_params){
		.fd = -1,
		.path = ex->spec.path,
		.size = ex->spec.size,
		.store = ex->store,
		.read_only = ex->spec.read_only,
		.buffered = ex->spec.buffered,
	};
}

static int
say_unopened(int err, const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	const char *hint = "";

	switch (err) {
	case -ENOENT:
		hint = ": create it first (truncate -s SIZE), or add "
		       "',create=SIZE'";
		break;
	case -EACCES:
	case -EROFS:
		if (!spec->read_only)
			hint = ": to offer it read-only add ',ro'";
		break;
	case -ENOTBLK:
		return gw_text_err(err_text, err,
				   "export '%s': '%s' is neither a regular "
				   "file nor a block device",
				   gw_name_text(spec->name).s,
				   gw_name_text(spec->path).s);
	case -EINVAL:
		return gw_text_err(err_text, err,
				   "export '%s': '%s' is empty, shorter than a "
				   "block, or has blocks of more than 4096 "
				   "bytes",
				   gw_name_text(spec->name).s,
				   gw_name_text(spec->path).s);
	default:
		break;
	}
	return gw_text_err(err_text, err, "export '%s': cannot open '%s': %s%s",
			   gw_name_text(spec->name).s,
			   gw_name_text(spec->path).s, strerrordesc_np(-err),
			   hint);
}

/* A file that cannot be served is better told now than to the first client. */
static int
look_at_file(const struct gw_exports *x, struct gw_export *ex,
	     char err_text[GW_TEXT_MAX])
{
	struct backend_open_params params;
	struct backend *b;
	int err;

	export_open_params(ex, &params);
	params.log = x->log;
	err = ex->ops->open(&params, &b);
	if (!err) {
		if (b->geo.read_only && !ex->spec.read_only)
			err = -EACCES;
		ex->size_bytes = b->geo.size_bytes;
		ex->ops->close(b);
	}
	return err ? say_unopened(err, &ex->spec, err_text) : 0;
}

/* ------------------------------------------------------------------ make */

static int
make_backend(const struct gw_exports *x, struct gw_export *ex,
	     char err_text[GW_TEXT_MAX])
{
	struct gw_spec *spec = &ex->spec;
	int err = 0;

	ex->size_bytes = spec->size;
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
					   gw_name_text(spec->name).s,
					   (unsigned long long)spec->size,
					   strerrordesc_np(-err));
		ex->store = ex->owned_store;
		break;
	case GW_SPEC_NBD:
		return gw_text_err(err_text, -EOPNOTSUPP,
				   "export '%s': this build has no backend for "
				   "NBD servers",
				   gw_name_text(spec->name).s);
	case GW_SPEC_FILE:
		ex->ops = &backend_file;
		if (spec->create)
			err = create_file(x, ex, err_text);
		if (!err)
			err = look_at_file(x, ex, err_text);
		break;
	}
	return err;
}

int
export_make(const struct gw_exports *x, const struct gw_spec *spec,
	    struct gw_export **ret, char err_text[GW_TEXT_MAX])
{
	struct gw_export *ex;
	int err = gw_spec_check(spec, err_text);

	if (err)
		return err;
	ex = calloc(1, sizeof(*ex));
	if (!ex || gw_spec_copy(&ex->spec, spec)) {
		free(ex);
		return gw_text_err(err_text, -ENOMEM, "out of memory");
	}
	ex->refs = 1;
	gw_throttle_set(&ex->throttle, spec->iops, spec->bandwidth);
	err = make_backend(x, ex, err_text);
	if (err) {
		if (ex->made_file)
			(void)unlink(ex->spec.path);
		export_free(ex);
		return err;
	}
	*ret = ex;
	return 0;
}

void
export_free(struct gw_export *ex)
{
	memory_store_unref(ex->owned_store);
	gw_search_free(ex->search);
	gw_spec_deinit(&ex->spec);
	free(ex);
}
