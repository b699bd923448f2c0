/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A sparse region of memory. Nothing outlives the process, so a completed write
 * is as durable as it will ever be: no write-back cache is announced, and FLUSH
 * and FUA have nothing to do.
 *
 * Everything completes within submit(). Mappings of several workers touch the
 * region at the same time without a lock: as on a disk, overlapping requests
 * that are in flight together leave either's bytes.
 */
#include "gateway/backend/backend.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

/*
 * The longest discard or zeroing in one request: freeing that many touched
 * pages takes a worker a few milliseconds.
 */
#define MEMORY_MAX_RANGE (UINT64_C(64) << 20)

struct memory_store {
	atomic_uint refs;
	atomic_uint_fast64_t size_bytes;
	uint64_t room; /* bytes of address space; what is behind size_bytes
			* cannot be touched */
	size_t page_size;
	uint8_t *mem;
};

struct memory_backend {
	struct backend base;
	struct memory_store *store;
};

/* Of address space that costs nothing until it is used. */
#define GROWTH     16
#define GROWTH_MAX (UINT64_C(1) << 40)

static uint64_t
room_for(uint64_t size_bytes)
{
	uint64_t more = GROWTH_MAX;

	if (size_bytes < GROWTH_MAX / (GROWTH - 1))
		more = size_bytes * (GROWTH - 1);
	return size_bytes < PTRDIFF_MAX - more ? size_bytes + more : size_bytes;
}

static void *
map_room(uint64_t *room, uint64_t size_bytes)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *mem = mmap(NULL, *room, PROT_NONE, flags, -1, 0);

	if (mem == MAP_FAILED) {
		/* Then it stays as it is. */
		*room = size_bytes;
		mem = mmap(NULL, *room, PROT_NONE, flags, -1, 0);
	}
	if (mem == MAP_FAILED)
		return NULL;
	if (mprotect(mem, size_bytes, PROT_READ | PROT_WRITE)) {
		int err = errno;

		munmap(mem, *room);
		errno = err;
		return NULL;
	}
	return mem;
}

int
memory_store_new(uint64_t size_bytes, struct memory_store **ret)
{
	uint64_t room = room_for(size_bytes);
	struct memory_store *s;
	void *mem;

	if (!size_bytes || size_bytes % 512)
		return -EINVAL;
	if (size_bytes > PTRDIFF_MAX)
		return -ENOMEM;
	mem = map_room(&room, size_bytes);
	if (!mem)
		return -errno;
	s = calloc(1, sizeof(*s));
	if (!s) {
		munmap(mem, room);
		return -ENOMEM;
	}
	atomic_init(&s->refs, 1);
	atomic_init(&s->size_bytes, size_bytes);
	s->room = room;
	s->page_size = (size_t)sysconf(_SC_PAGESIZE);
	s->mem = mem;
	*ret = s;
	return 0;
}

int
memory_store_grow(struct memory_store *s, uint64_t size_bytes)
{
	if (size_bytes % 512 || size_bytes < s->size_bytes)
		return -EINVAL;
	if (size_bytes > s->room)
		return -ENOMEM;
	if (mprotect(s->mem, size_bytes, PROT_READ | PROT_WRITE))
		return -errno;
	s->size_bytes = size_bytes;
	return 0;
}

struct memory_store *
memory_store_ref(struct memory_store *s)
{
	atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
	return s;
}

void
memory_store_unref(struct memory_store *s)
{
	/* acq_rel: the last one sees all that the others did to the region. */
	if (!s ||
	    atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
		return;
	munmap(s->mem, s->room);
	free(s);
}

static int
memory_open(const struct backend_open_params *p, struct backend **ret)
{
	struct memory_store *store = p->store;
	struct memory_backend *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	m->store = memory_store_ref(store);
	m->base.ops = &backend_memory;
	m->base.id.kind = BACKEND_KIND_MEMORY;
	m->base.id.a = (uintptr_t)store;
	m->base.geo = (struct backend_geometry){
		.size_bytes = store->size_bytes,
		.logical_block_size = 512,
		.physical_block_size = 4096,
		.max_discard_bytes = MEMORY_MAX_RANGE,
		.discard_granularity = (uint32_t)store->page_size,
		.max_write_zeroes_bytes = MEMORY_MAX_RANGE,
		.read_only = p->read_only,
		.writeback = false,
		.fua = false,
	};
	*ret = &m->base;
	return 0;
}

static void
memory_close(struct backend *b)
{
	struct memory_backend *m;

	if (!b)
		return;
	m = container_of(b, struct memory_backend, base);
	memory_store_unref(m->store);
	free(m);
}

/* Zeroes a range; whole pages go back to the system unless keep. */
static void
store_zero(struct memory_store *s, uint64_t off, uint64_t len, bool keep)
{
	uint64_t end = off + len;
	uint64_t first = (off + s->page_size - 1) & ~(s->page_size - 1);
	uint64_t last = end & ~(s->page_size - 1);

	if (keep || first >= last ||
	    madvise(s->mem + first, last - first, MADV_DONTNEED)) {
		memset(s->mem + off, 0, len);
		return;
	}
	memset(s->mem + off, 0, first - off);
	memset(s->mem + last, 0, end - last);
}

static void
memory_submit(struct backend *b, struct backend_io *io)
{
	struct memory_store *s =
		container_of(b, struct memory_backend, base)->store;

	io->backend = b;
	switch (io->op) {
	case BACKEND_READ:
		memcpy(io->buf, s->mem + io->off, io->len);
		break;
	case BACKEND_WRITE:
		memcpy(s->mem + io->off, io->buf, io->len);
		break;
	case BACKEND_FLUSH:
		break;
	case BACKEND_DISCARD:
		store_zero(s, io->off, io->len, false);
		break;
	case BACKEND_WRITE_ZEROES:
		store_zero(s, io->off, io->len, io->flags & BACKEND_F_NOUNMAP);
		break;
	}
	io->done(io, 0);
}

const struct backend_ops backend_memory = {
	.name = "memory",
	.open = memory_open,
	.close = memory_close,
	.submit = memory_submit,
	.grows = true,
};
