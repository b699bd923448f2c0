/* SPDX-License-Identifier: BSD-3-Clause */
/* The shape of a device: what an OPEN answered, and what users may rely on. */
#include "nbdkit-plugin/rnbd-priv.h"

#include <inttypes.h>
#include <stdio.h>

bool
dev_shape(const struct rnbd_clt *c, const struct rnbd_msg_open_rsp *m,
	  struct rnbd_clt_geometry *ret)
{
	struct rnbd_clt_geometry g = {
		.logical_block_size = m->logical_block_size,
		.physical_block_size = m->physical_block_size,
		.max_io_size = rtrs_clt_max_io_size(c->rtrs),
		.discard_granularity = m->discard_granularity,
		.writeback = m->cache_policy & RNBD_CACHE_WRITEBACK,
		.fua = m->cache_policy & RNBD_CACHE_FUA,
	};
	uint32_t lbs = g.logical_block_size;

	if (m->nsectors > (uint64_t)INT64_MAX / RNBD_SECTOR_SIZE)
		return false;
	g.size_bytes = m->nsectors * RNBD_SECTOR_SIZE;
	if (lbs < RNBD_SECTOR_SIZE || (lbs & (lbs - 1)) || lbs > g.max_io_size)
		return false;
	if (g.size_bytes % lbs)
		g.size_bytes -= g.size_bytes % lbs;
	/* Only advice, so nonsense is replaced. */
	if (g.physical_block_size < lbs ||
	    (g.physical_block_size & (g.physical_block_size - 1)))
		g.physical_block_size = lbs;
	g.max_io_size -= g.max_io_size % lbs;
	/* One message carries 32 bits of bytes, in whole blocks. */
	g.max_discard_bytes =
		(uint64_t)m->max_discard_sectors * RNBD_SECTOR_SIZE;
	if (g.max_discard_bytes > UINT32_MAX)
		g.max_discard_bytes = UINT32_MAX;
	g.max_discard_bytes -= g.max_discard_bytes % lbs;
	if (c->trust_write_zeroes)
		g.max_write_zeroes_bytes =
			(uint64_t)m->max_write_zeroes_sectors *
			RNBD_SECTOR_SIZE;
	if (g.max_write_zeroes_bytes > UINT32_MAX)
		g.max_write_zeroes_bytes = UINT32_MAX;
	g.max_write_zeroes_bytes -= g.max_write_zeroes_bytes % lbs;
	*ret = g;
	return true;
}

bool
dev_shape_fits(const struct device *d, const struct rnbd_clt_geometry *now,
	       char *text, size_t len)
{
	const struct rnbd_clt_geometry *was = &d->geo;

	if (now->size_bytes < was->size_bytes) {
		snprintf(text, len,
			 "the device shrank from %" PRIu64 " to %" PRIu64
			 " bytes while the server was away",
			 was->size_bytes, now->size_bytes);
		return false;
	}
	if (now->logical_block_size != was->logical_block_size) {
		snprintf(text, len,
			 "the logical block size changed from %u to %u bytes "
			 "while the server was away",
			 was->logical_block_size, now->logical_block_size);
		return false;
	}
	return true;
}

void
dev_reshape(struct device *d, const struct rnbd_clt_geometry *now)
{
	/*
	 * Users who saw a write-through cache never flush. If it is volatile
	 * now, each of their writes must bring its own durability.
	 */
	if (d->was_open && !d->geo.writeback && now->writeback)
		d->sync_writes = true;
	d->geo = *now;
}
