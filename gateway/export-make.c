/* SPDX-License-Identifier: BSD-3-Clause */
/* What an export is made of: files are looked at, and created. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "gateway/backend/nbd-params.h"
#include "gateway/disk-use.h"
#include "gateway/export-priv.h"
#include "rtrs/base/remedy.h"

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
		.cancel_fd = -1,
		.path = ex->spec.path,
		.size = ex->size_bytes,
		.store = ex->store,
		.read_only = ex->spec.read_only,
		.buffered = ex->spec.buffered,
	};
}

/* What a path begins with that was meant as another kind of backend: the length
 * up to the colon; 0: none. */
static int
scheme_len(const struct gw_spec *spec)
{
	size_t n = strspn(spec->path, "abcdefghijklmnopqrstuvwxyz0123456789+");

	return spec->path == spec->backend && n && spec->path[n] == ':' ? (int)n
									: 0;
}

static int
say_missing(const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	const char *comma = strrchr(spec->path, ','), *hint = "";
	int len = scheme_len(spec);

	if (len)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': '%.*s:' begins no backend: "
				   "give a path, file:PATH, memory:SIZE, "
				   "null:SIZE, or an NBD URI: nbd://, nbds://, "
				   "nbd+unix://, nbds+unix://",
				   gw_name_text(spec->name).s, len, spec->path);
	if (comma && !spec->in_section)
		return gw_text_err(
			err_text, -ENOENT,
			"export '%s': there is no file '%s', and "
			"'%.20s' is no option: known are " GW_SPEC_OPTIONS,
			gw_name_text(spec->name).s, gw_name_text(spec->path).s,
			comma + 1);
	/* A device comes by itself, or by other means. */
	if (strncmp(spec->path, "/dev/", 5))
		hint = spec->read_only ? ": create it first (truncate -s SIZE)"
		       : spec->in_section
			       ? ": create it first (truncate -s SIZE), or add "
				 "a line 'create = SIZE'"
			       : ": create it first (truncate -s SIZE), or add "
				 "',create=SIZE'";
	return gw_text_err(
		err_text, -ENOENT, "export '%s': cannot open '%s': %s%s",
		gw_name_text(spec->name).s, gw_name_text(spec->path).s,
		strerrordesc_np(ENOENT), hint);
}

/*
 * The backend found no size, or blocks, that it could offer: which it was. A
 * file may be filled and a device get its medium, the blocks stay.
 */
static int
say_useless(const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	cleanup_close int fd =
		open(spec->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct gw_name_text name = gw_name_text(spec->name);
	uint64_t size = 0;
	int block = RNBD_SECTOR_SIZE;
	struct stat st;

	if (fd < 0 || fstat(fd, &st))
		return gw_text_err(err_text, -errno,
				   "export '%s': cannot open '%s': %s", name.s,
				   gw_name_text(spec->path).s,
				   strerrordesc_np(errno));
	if (S_ISREG(st.st_mode))
		size = (uint64_t)st.st_size;
	else if (ioctl(fd, BLKGETSIZE64, &size) || ioctl(fd, BLKSSZGET, &block))
		size = 0;
	if (size >= (uint64_t)block)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s': '%s' has blocks of %d bytes: "
				   "those of 512 to 4096 can be offered",
				   name.s, gw_name_text(spec->path).s, block);
	if (size)
		return gw_text_err(err_text, -ENODATA,
				   "export '%s': '%s' has %" PRIu64
				   " bytes, less than a block of %d",
				   name.s, gw_name_text(spec->path).s, size,
				   block);
	return gw_text_err(err_text, -ENODATA, "export '%s': '%s' is empty",
			   name.s, gw_name_text(spec->path).s);
}

static int
say_unopened(int err, const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	const char *hint = "";

	switch (err) {
	case -ENOENT:
		return say_missing(spec, err_text);
	case -EACCES:
	case -EROFS:
		if (spec->read_only || access(spec->path, R_OK))
			break;
		hint = spec->in_section ? ": to offer it read-only add a line "
					  "'read-only = yes'"
					: ": to offer it read-only add ',ro'";
		break;
	case -ENOTBLK:
		return gw_text_err(err_text, err,
				   "export '%s': '%s' is neither a regular "
				   "file nor a block device",
				   gw_name_text(spec->name).s,
				   gw_name_text(spec->path).s);
	case -EINVAL:
		return say_useless(spec, err_text);
	default:
		hint = remedy_words(err);
		break;
	}
	return gw_text_err(err_text, err, "export '%s': cannot open '%s': %s%s",
			   gw_name_text(spec->name).s,
			   gw_name_text(spec->path).s, strerrordesc_np(-err),
			   hint);
}

int
export_look_by(const struct gw_export *ex, struct backend_open_params *params,
	       uint64_t *ret_size, char err_text[GW_TEXT_MAX])
{
	char text[GW_TEXT_MAX] = "";
	struct backend *b;
	int err;

	params->err_text = text;
	err = ex->ops->open(params, &b);
	if (!err) {
		if (b->geo.read_only && !ex->spec.read_only)
			err = -EACCES;
		*ret_size = b->geo.size_bytes;
		ex->ops->close(b);
	}
	if (*text)
		return gw_text_err(err_text, err, "export '%s': %s",
				   gw_name_text(ex->spec.name).s, text);
	return err ? say_unopened(err, &ex->spec, err_text) : 0;
}

/* Clients count in sectors. */
static void
warn_if_cut(const struct gw_exports *x, const struct gw_spec *spec,
	    uint64_t size)
{
	struct stat st;

	if (stat(spec->path, &st) || !S_ISREG(st.st_mode) ||
	    (uint64_t)st.st_size <= size)
		return;
	log_warn(x->log,
		 "export '%s': '%s' has %" PRIu64 " bytes, of which %" PRIu64
		 " are offered: a size is a multiple of %d",
		 gw_name_text(spec->name).s, gw_name_text(spec->path).s,
		 (uint64_t)st.st_size, size, RNBD_SECTOR_SIZE);
}

/* A file that cannot be served is better told now than to the first client. */
int
export_look(const struct gw_exports *x, const struct gw_export *ex,
	    uint64_t *ret_size, char err_text[GW_TEXT_MAX])
{
	struct backend_open_params params;
	int err;

	export_open_params(ex, &params);
	params.log = x->log;
	err = export_look_by(ex, &params, ret_size, err_text);
	if (!err && ex->spec.kind == GW_SPEC_FILE)
		warn_if_cut(x, &ex->spec, *ret_size);
	return err;
}

/* Whoever names it may have it; but is it what they meant? */
static void
warn_if_used(const struct gw_exports *x, const struct gw_spec *spec)
{
	cleanup_close int fd = open(spec->path, O_PATH | O_CLOEXEC);
	struct stat st;

	if (spec->read_only || fd < 0 || fstat(fd, &st) ||
	    !S_ISBLK(st.st_mode) || gw_disk_in_use(fd) <= 0)
		return;
	log_warn(x->log,
		 "export '%s': '%s' is in use on this machine (mounted, swap, "
		 "or part of another device): a client that writes to it "
		 "destroys what is there",
		 gw_name_text(spec->name).s, gw_name_text(spec->path).s);
}

/*
 * As text only: a server that is away now may be there when a client opens, and
 * the other exports do not have to wait for it.
 */
static int
check_nbd(const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	struct nbd_params params;
	char text[GW_TEXT_MAX];
	int err = nbd_params_parse(spec->path, &params, text);

	if (err)
		return gw_text_err(err_text, err, "export '%s': %s",
				   gw_name_text(spec->name).s, text);
	nbd_params_deinit(&params);
	return 0;
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
					   "bytes of memory: %s%s",
					   gw_name_text(spec->name).s,
					   (unsigned long long)spec->size,
					   strerrordesc_np(-err),
					   remedy_words(err));
		ex->store = ex->owned_store;
		break;
	case GW_SPEC_NBD:
		ex->ops = &backend_nbd;
		err = check_nbd(spec, err_text);
		break;
	case GW_SPEC_FILE:
		ex->ops = &backend_file;
		if (spec->create)
			err = create_file(x, ex, err_text);
		if (!err)
			err = export_look(x, ex, &ex->size_bytes, err_text);
		if (!err)
			warn_if_used(x, spec);
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

/* ------------------------------------------------------------------ grow */

static int
say_ungrown(int err, const struct gw_spec *spec, char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, err, "export '%s': cannot grow it: %s",
			   gw_name_text(spec->name).s, strerrordesc_np(-err));
}

static int
grow_file(const struct gw_spec *spec, uint64_t size, char err_text[GW_TEXT_MAX])
{
	cleanup_close int fd = -1;
	struct stat st;

	if (spec->read_only)
		return gw_text_err(err_text, -EROFS,
				   "export '%s' is read-only: grow '%s' "
				   "yourself, then resize without a size",
				   gw_name_text(spec->name).s,
				   gw_name_text(spec->path).s);
	fd = open(spec->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st))
		return say_ungrown(-errno, spec, err_text);
	if (!S_ISREG(st.st_mode))
		return gw_text_err(
			err_text, -EINVAL,
			"export '%s': '%s' is a device: grow it with "
			"its own tools, then resize without a size",
			gw_name_text(spec->name).s, gw_name_text(spec->path).s);
	if (size < (uint64_t)st.st_size)
		return gw_text_err(
			err_text, -EINVAL,
			"export '%s' has %" PRIu64 " bytes: it can only grow",
			gw_name_text(spec->name).s, (uint64_t)st.st_size);
	if (ftruncate(fd, (off_t)size))
		return say_ungrown(-errno, spec, err_text);
	return 0;
}

int
export_grow(const struct gw_exports *x, const struct gw_export *ex,
	    uint64_t size, uint64_t *ret_size, char err_text[GW_TEXT_MAX])
{
	const struct gw_spec *spec = &ex->spec;
	int err;

	if (size % RNBD_SECTOR_SIZE || size > INT64_MAX)
		return gw_text_err(
			err_text, -EINVAL,
			"export '%s': a size is a multiple of %d, up "
			"to 8E",
			gw_name_text(spec->name).s, RNBD_SECTOR_SIZE);
	if (spec->kind == GW_SPEC_NBD)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s' is on another server: grow it "
				   "there, then resize without a size",
				   gw_name_text(spec->name).s);
	if (spec->kind == GW_SPEC_FILE) {
		err = grow_file(spec, size, err_text);
		return err ? err : export_look(x, ex, ret_size, err_text);
	}
	if (size < ex->size_bytes)
		return gw_text_err(err_text, -EINVAL,
				   "export '%s' has %" PRIu64
				   " bytes: it can only grow",
				   gw_name_text(spec->name).s, ex->size_bytes);
	err = ex->owned_store ? memory_store_grow(ex->owned_store, size) : 0;
	if (err == -ENOMEM)
		return gw_text_err(
			err_text, err,
			"export '%s': no memory for that: at most 16 "
			"times its first size",
			gw_name_text(spec->name).s);
	if (err)
		return say_ungrown(err, spec, err_text);
	*ret_size = size;
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
