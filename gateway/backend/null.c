/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The backend that holds nothing: writes vanish, reads give zeroes. It is the
 * specification by example of backend.h, and the ceiling for benches.
 *
 * A read fills its buffer: buffers are reused, and what an earlier request left
 * there belongs to another client.
 */
#include "gateway/backend/backend.h"

#include <errno.h>
#include <string.h>

static int
null_open(const struct backend_open_params *p, struct backend **ret)
{
	struct backend *b;

	if (!p->size || p->size % 512)
		return -EINVAL;
	b = calloc(1, sizeof(*b));
	if (!b)
		return -ENOMEM;
	b->ops = &backend_null;
	b->id.kind = BACKEND_KIND_NULL;
	b->id.a = (uintptr_t)p->store;
	b->geo = (struct backend_geometry){
		.size_bytes = p->size,
		.logical_block_size = 512,
		.physical_block_size = 4096,
		.max_discard_bytes = BACKEND_MAX_RANGE,
		.discard_granularity = 512,
		.max_write_zeroes_bytes = BACKEND_MAX_RANGE,
		.read_only = p->read_only,
		/* Nothing is kept, so nothing waits to become durable. */
		.writeback = false,
		.fua = false,
	};
	*ret = b;
	return 0;
}

static void
null_close(struct backend *b)
{
	free(b);
}

static void
null_submit(struct backend *b, struct backend_io *io)
{
	io->backend = b;
	if (io->op == BACKEND_READ)
		memset(io->buf, 0, io->len);
	io->done(io, 0);
}

const struct backend_ops backend_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.submit = null_submit,
	.grows = true,
};
