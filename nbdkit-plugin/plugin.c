/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The nbdkit callbacks, but for those of the session's life, which are in
 * plugin-session.c. One RTRS session serves all NBD connections; the device is
 * open on the server while at least one of them is there.
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <pthread.h>
#include <string.h>

#include <utlist.h>

#include "nbdkit-plugin/blocks.h"
#include "nbdkit-plugin/plugin-session.h"
#include "rtrs/base/remedy.h"

#define THREAD_MODEL NBDKIT_THREAD_MODEL_PARALLEL

/*
 * What NBD clients may count on being served in one request, whatever the
 * session's own limit is: larger I/O is split here.
 */
#define MAX_REQUEST (32u << 20)

/* What the NBD connections to one device share. */
struct shared {
	struct shared *prev, *next;
	unsigned users;
	struct block_ranges ranges;
	char name[RNBD_NAME_LEN];
};
static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct shared *shared_devices; /* few; under the lock */

/* One NBD connection. */
struct handle {
	struct rnbd_clt_dev *dev;
	struct shared *shared;
	bool readonly;
	struct rnbd_clt_geometry geo;
	struct blocks blocks;
};

/* ------------------------------------------------- errors */

/* What NBD has no word for would reach the client as EINVAL, as if it were to
 * blame; the kernel's client makes EIO of it, too. */
static int
nbd_errno(int err)
{
	switch (-err) {
	case EPERM:
	case EROFS:
	case ENOMEM:
	case EINVAL:
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
	case EOVERFLOW:
	case EOPNOTSUPP:
	case ESHUTDOWN:
		return -err;
	default:
		return EIO;
	}
}

/* For an NBD connection. */
static void
no_memory(void)
{
	nbdkit_error("session %s: cannot open: %s%s", params.sessname,
		     strerror(ENOMEM), remedy_words(-ENOMEM));
	errno = ENOMEM;
}

/* Says what failed, and why if the session knows more than errno. */
static int
fail(struct handle *h, const char *what, uint64_t count, uint64_t offset,
     int err)
{
	char why[RNBD_WAIT_TEXT_MAX];

	rnbd_wait_why(session, h->dev, why);
	nbdkit_error("%s: %s of %" PRIu64 " bytes at %" PRIu64 ": %s%s%s",
		     h->shared->name, what, count, offset, strerror(-err),
		     *why ? ": " : "", why);
	errno = nbd_errno(err);
	return -1;
}

/* ------------------------------------------------- configuration */

static int
plugin_config(const char *key, const char *value)
{
	cleanup_free char *path = NULL;
	char err[PARAMS_ERR_MAX];

	/* nbdkit changes its directory. */
	if (!strcmp(key, "control")) {
		path = nbdkit_absolute_path(value);
		if (!path)
			return -1;
		value = path;
	}
	if (!params_set(&params, key, value, err))
		return 0;
	nbdkit_error("%s", err);
	return -1;
}

static int
plugin_config_complete(void)
{
	char err[PARAMS_ERR_MAX];

	if (!params_check(&params, err))
		return 0;
	nbdkit_error("%s", err);
	return -1;
}

static void
plugin_dump(void)
{
	printf("rnbd_version=%s\n", RNBD_VERSION);
	printf("rnbd_fabrics=tcp%s\n", fabric_by_name("verbs") ? " verbs" : "");
	printf("rnbd_rtrs_protocol=%d\n", RTRS_PROTO_VER_MAJOR);
	printf("rnbd_protocol=%d\n", RNBD_PROTO_VER_MAJOR);
	printf("rnbd_max_paths=%d\n", RTRS_MAX_PATHS);
}

/* ------------------------------------------------- connections */

static int
handle_io(void *user, enum rnbd_clt_op op, unsigned flags, void *buf,
	  uint64_t len, uint64_t off)
{
	struct handle *h = user;

	return rnbd_wait_io(session, h->dev, op, flags, buf, len, off);
}

static struct shared *
shared_get(const char *name)
{
	struct shared *sh;

	pthread_mutex_lock(&shared_lock);
	DL_FOREACH(shared_devices, sh)
		if (!strcmp(sh->name, name))
			break;
	if (!sh) {
		sh = calloc(1, sizeof(*sh));
		if (sh) {
			sh->ranges = (struct block_ranges)BLOCK_RANGES_INIT;
			snprintf(sh->name, sizeof(sh->name), "%s", name);
			DL_APPEND(shared_devices, sh);
		}
	}
	if (sh)
		sh->users++;
	pthread_mutex_unlock(&shared_lock);
	return sh;
}

static void
shared_put(struct shared *sh)
{
	pthread_mutex_lock(&shared_lock);
	if (!--sh->users) {
		DL_DELETE(shared_devices, sh);
		pthread_mutex_destroy(&sh->ranges.lock);
		pthread_cond_destroy(&sh->ranges.left);
		free(sh);
	}
	pthread_mutex_unlock(&shared_lock);
}

static int
plugin_list_exports(int readonly, int is_tls, struct nbdkit_exports *list)
{
	const struct exports *x = &params.exports;

	if (x->only)
		return nbdkit_use_default_export(list);
	/* What a server has besides, the protocol can not ask. */
	for (unsigned i = 0; i < x->n_items; i++)
		if (nbdkit_add_export(list, x->items[i].name,
				      x->items[i].device))
			return -1;
	return 0;
}

static const char *
plugin_default_export(int readonly, int is_tls)
{
	return exports_default(&params.exports);
}

/* Fills a handle; on errors what was filled is left to the caller. */
static int
handle_open(struct handle *h, bool readonly)
{
	struct export_choice choice;
	char why[EXPORTS_TEXT_MAX];
	enum rnbd_access_mode mode;
	int err;

	err = exports_choose(&params.exports, nbdkit_export_name(), &choice,
			     why);
	if (err) {
		nbdkit_error("%s", why);
		errno = -err;
		return -1;
	}
	mode = choice.mode < 0 ? params.access_mode
			       : (enum rnbd_access_mode)choice.mode;
	h->readonly = readonly || choice.read_only || mode == RNBD_ACCESS_RO;
	if (h->readonly)
		mode = RNBD_ACCESS_RO;
	h->shared = shared_get(choice.device);
	if (!h->shared) {
		no_memory();
		return -1;
	}
	if (device_open(session, choice.device, mode, &h->dev))
		return -1;
	if (rnbd_wait_geometry(session, h->dev, &h->geo)) {
		nbdkit_error("shutting down");
		return -1;
	}
	h->blocks.size = h->geo.logical_block_size;
	h->blocks.ranges = &h->shared->ranges;
	h->blocks.io = handle_io;
	h->blocks.user = h;
	return 0;
}

static void
plugin_close(void *handle)
{
	struct handle *h = handle;

	if (h->dev)
		rnbd_wait_close(session, h->dev);
	if (h->shared)
		shared_put(h->shared);
	free(h);
}

static void *
plugin_open(int readonly)
{
	struct handle *h = calloc(1, sizeof(*h));

	if (!h) {
		no_memory();
		return NULL;
	}
	if (handle_open(h, readonly)) {
		int err = errno;

		plugin_close(h);
		errno = err;
		return NULL;
	}
	return h;
}

static int64_t
plugin_get_size(void *handle)
{
	const struct handle *h = handle;

	/* Whole blocks: a rest could be neither read nor written. */
	return (int64_t)(h->geo.size_bytes -
			 h->geo.size_bytes % h->geo.logical_block_size);
}

static int
plugin_block_size(void *handle, uint32_t *minimum, uint32_t *preferred,
		  uint32_t *maximum)
{
	const struct handle *h = handle;

	/*
	 * Smaller than a block is done right, so it is not refused: clients
	 * that obey strictly would fail rather than adapt. From preferred on
	 * nothing has to be read before it is written.
	 */
	*minimum = 1;
	*preferred = h->geo.physical_block_size;
	if (*preferred < 4096)
		*preferred = 4096;
	*maximum = MAX_REQUEST;
	return 0;
}

static int
plugin_can_write(void *handle)
{
	const struct handle *h = handle;

	return !h->readonly;
}

static int
plugin_true(void *handle)
{
	return 1;
}

static int
plugin_can_trim(void *handle)
{
	const struct handle *h = handle;

	return h->geo.max_discard_bytes != 0;
}

static int
plugin_can_fua(void *handle)
{
	return NBDKIT_FUA_NATIVE;
}

static int
plugin_can_cache(void *handle)
{
	/* There is no such operation, and reading moves all for nothing. */
	return NBDKIT_CACHE_NONE;
}

static int
plugin_is_rotational(void *handle)
{
	const struct handle *h = handle;

	return h->geo.rotational;
}

/* ------------------------------------------------- data */

/* Passed down as it is: the session knows what the server needs for it. */
static unsigned
fua(uint32_t flags)
{
	return flags & NBDKIT_FLAG_FUA ? RNBD_CLT_F_FUA : 0;
}

static int
plugin_pread(void *handle, void *buf, uint32_t count, uint64_t offset,
	     uint32_t flags)
{
	struct handle *h = handle;
	int err = blocks_read(&h->blocks, buf, count, offset);

	return err ? fail(h, "read", count, offset, err) : 0;
}

static int
plugin_pwrite(void *handle, const void *buf, uint32_t count, uint64_t offset,
	      uint32_t flags)
{
	struct handle *h = handle;
	int err = blocks_write(&h->blocks, buf, count, offset, fua(flags));

	return err ? fail(h, "write", count, offset, err) : 0;
}

static int
plugin_flush(void *handle, uint32_t flags)
{
	struct handle *h = handle;
	int err;

	/* If it gets one later, the session makes every write durable. */
	if (!h->geo.writeback)
		return 0;
	err = handle_io(h, RNBD_CLT_FLUSH, 0, NULL, 0, 0);
	return err ? fail(h, "flush", 0, 0, err) : 0;
}

static int
plugin_trim(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct handle *h = handle;
	int err = blocks_discard(&h->blocks, count, offset, fua(flags));

	return err ? fail(h, "trim", count, offset, err) : 0;
}

static int
plugin_zero(void *handle, uint32_t count, uint64_t offset, uint32_t flags)
{
	struct handle *h = handle;
	bool fast = h->geo.max_write_zeroes_bytes &&
		    params.zero != PARAMS_ZERO_WRITE;
	unsigned f = fua(flags);
	int err;

	if (!(flags & NBDKIT_FLAG_MAY_TRIM))
		f |= RNBD_CLT_F_NOUNMAP;
	err = fast ? blocks_zero(&h->blocks, count, offset, f) : -EOPNOTSUPP;
	if (err != -EOPNOTSUPP)
		return err ? fail(h, "zero", count, offset, err) : 0;
	/* Not a failure: nbdkit writes zeroes then, unless that is too slow. */
	errno = EOPNOTSUPP;
	return -1;
}

static struct nbdkit_plugin plugin = {
	.name = "rnbd",
	.longname = "RDMA network block device client",
	.version = RNBD_VERSION,
	.description = "attaches a device of an RNBD server",
	.load = plugin_load,
	.unload = plugin_unload,
	.config = plugin_config,
	.config_complete = plugin_config_complete,
	.config_help = params_help,
	.magic_config_key = "device_path",
	.dump_plugin = plugin_dump,
	.get_ready = plugin_get_ready,
	.after_fork = plugin_after_fork,
	.cleanup = plugin_cleanup,
	.list_exports = plugin_list_exports,
	.default_export = plugin_default_export,
	.open = plugin_open,
	.close = plugin_close,
	.get_size = plugin_get_size,
	.block_size = plugin_block_size,
	.can_write = plugin_can_write,
	.can_flush = plugin_true,
	.can_fua = plugin_can_fua,
	.can_trim = plugin_can_trim,
	.can_zero = plugin_true,
	.can_fast_zero = plugin_true,
	.can_multi_conn = plugin_true,
	.can_cache = plugin_can_cache,
	.is_rotational = plugin_is_rotational,
	.pread = plugin_pread,
	.pwrite = plugin_pwrite,
	.flush = plugin_flush,
	.trim = plugin_trim,
	.zero = plugin_zero,
	.errno_is_preserved = 1,
};

/* nbdkit's header defines it without. */
struct nbdkit_plugin *plugin_init(void);

NBDKIT_REGISTER_PLUGIN(plugin)
