/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A disk in memory whose operations take their time, so that sessions end with
 * some under way. The honest one's holds nothing but sectors that its owner
 * stamped: who finds another kind of sector, in either direction, was harmed.
 */
#ifndef TESTS_HOSTILE_DISK_H
#define TESTS_HOSTILE_DISK_H

#include "gateway/backend/backend.h"
#include "tests/hostile/stage.h"

#define DISK_SECTOR 512

struct disk {
	struct stage *stage;
	unsigned index;
	uint64_t bytes;
	uint32_t block_size;
	uint8_t *mem;
	bool stamped; /* of who is honest */
	/* Told of each operation that takes effect; NULL: nobody. */
	void (*watch)(void *user, const struct backend_io *io);
	void *watch_user;
	unsigned inflight;
};

void disk_init(struct disk *d, struct stage *s, unsigned index, uint64_t bytes,
	       uint32_t block_size, bool stamped);
void disk_deinit(struct disk *d);

/* n sectors from first, written for the version-th time. */
void stamp_fill(uint8_t *buf, uint64_t first, uint64_t n, uint64_t version);
bool stamp_ok(const uint8_t *buf, uint64_t first, uint64_t n,
	      uint64_t *ret_version);
/* Is anything of a stamped sector in it? */
bool stamp_leaked(const uint8_t *buf, size_t len);

extern const struct backend_ops backend_disk;

#endif
