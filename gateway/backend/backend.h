/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A backend holds the bytes of an export. `null` (null.c) is the specification
 * by example.
 *
 * A struct backend is opened once per mapping (one OPEN of one session) and
 * belongs to the worker of that session: submit, and every completion, happen
 * on its thread. open and close may block and therefore run as a gw_job on
 * another thread; nothing else may block.
 */
#ifndef GATEWAY_BACKEND_BACKEND_H
#define GATEWAY_BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rtrs/base/log.h"
#include "rtrs/base/util.h"

struct backend;
struct gw_io_engine; /* backend/uring.h; NULL in the simulator */
struct gw_events;    /* backend/events.h; NULL in the simulator */

/* A blocking piece of work and the place that runs it. */
struct gw_job {
	void (*work)(struct gw_job *job); /* another thread; may block */
	void (*done)(struct gw_job *job); /* on the worker, afterwards */
	struct gw_job *next;              /* the executor's */
};

/*
 * Takes jobs from its worker's thread. done() is called from the worker's
 * loop, never from within run(). Jobs of one executor may run in parallel and
 * finish in any order. The pool (backend/pool.c) has threads; the simulator's
 * runs the job in place and delays done().
 */
struct gw_exec {
	void (*run)(struct gw_exec *exec, struct gw_job *job);
};

enum backend_op {
	BACKEND_READ,
	BACKEND_WRITE,
	BACKEND_FLUSH,   /* all completed writes are durable when it is done */
	BACKEND_DISCARD, /* contents become undefined */
	BACKEND_WRITE_ZEROES,
};
#define BACKEND_N_OPS 5

#define BACKEND_F_FUA     BIT(0) /* durable before completion */
#define BACKEND_F_NOUNMAP BIT(1) /* WRITE_ZEROES: keep blocks allocated */

/*
 * What a backend without a limit of its own announces for DISCARD and
 * WRITE_ZEROES: the wire counts 32 bits of bytes; a round number below that.
 */
#define BACKEND_MAX_RANGE (UINT64_C(4095) << 20)

/* One operation. The submitter owns the struct; it is lent until done(). */
struct backend_io {
	enum backend_op op;
	unsigned flags;
	uint64_t off; /* bytes */
	uint64_t len; /* bytes; 0 for FLUSH */
	void *buf;    /* READ: filled; WRITE: not changed */
	/*
	 * Exactly once, on the worker, perhaps from within submit(). err: 0 or
	 * negative; -ECANCELED for EIO, if it was given up before the storage
	 * heard of it: then a FLUSH says nothing about what is stored.
	 */
	void (*done)(struct backend_io *io, int err);
	/* The backend's, from submit to done: */
	struct backend *backend;
	uint64_t progress;
	union {
		struct gw_job job;
		void *ptr[12];
	} u;
};

struct backend_geometry {
	uint64_t size_bytes;             /* grows: see backend_grow() */
	uint32_t logical_block_size;     /* power of two, 512..4096 */
	uint32_t physical_block_size;    /* power of two, >= logical */
	uint64_t max_discard_bytes;      /* 0: no discard */
	uint32_t discard_granularity;    /* bytes */
	uint32_t discard_alignment;      /* bytes */
	uint64_t max_write_zeroes_bytes; /* 0: not offered */
	bool read_only;                  /* cannot be written at all */
	bool writeback; /* completed writes need FLUSH to be durable */
	bool fua;       /* BACKEND_F_FUA on writes is honoured natively */
	/* Completed writes are in the page cache: a FLUSH that fails may have
	 * dropped them, so that the next one succeeds without them. */
	bool page_cache;
	bool rotational;
};

enum backend_kind {
	BACKEND_KIND_NULL,
	BACKEND_KIND_MEMORY,
	BACKEND_KIND_FILE,
	BACKEND_KIND_BLOCK,
	BACKEND_KIND_NBD,
	BACKEND_KIND_OTHER, /* of tests and the simulator */
};

/* Two backends with the same identity hold the same bytes. */
struct backend_identity {
	uint64_t kind; /* enum backend_kind */
	/* device and inode; device number; address; hash of host and export */
	uint64_t a, b;
};

struct backend_open_params {
	/*
	 * Both NULL: opened for a look at geo and id, never submitted to.
	 */
	struct gw_exec *exec;    /* for blocking work */
	struct gw_io_engine *io; /* for files; may be NULL for others */
	const struct log *log;   /* outlives the backend; used on any thread */
	bool read_only;
	bool buffered; /* files: through the page cache, never O_DIRECT */
	/*
	 * An open descriptor of the file or device: the search path resolves
	 * names safely and hands over what it found (file.c dups nothing: it
	 * owns fd from here, even on failure). -1 for other kinds.
	 */
	int fd;
	/* For messages; file backends without fd open it. nbd: the URI and
	 * what follows it. */
	const char *path;
	/* nbd: open() ends early, with -ECANCELED, when this is readable; -1:
	 * none. Others do not wait. */
	int cancel_fd;
	uint64_t size; /* memory, null: bytes, a multiple of 512 */
	/* memory: its memory_store; null: any address that is the export's */
	void *store;
	struct gw_events *events; /* of the worker, for attach(); or NULL */
	/*
	 * NULL, or room for GW_TEXT_MAX: a backend that knows more than an
	 * errno says it here, for the peer that wants to open. Left alone
	 * otherwise.
	 */
	char *err_text;
};

struct backend_ops {
	const char *name;
	/*
	 * Blocking; any thread. Errors as open(2), -ENOTBLK neither a regular
	 * file nor a block device, -EINVAL unusable geometry.
	 */
	int (*open)(const struct backend_open_params *p, struct backend **ret);
	/*
	 * Blocking; any thread. Nothing is in flight; if it was attached, it
	 * is detached. NULL is fine.
	 */
	void (*close)(struct backend *b);
	/*
	 * attach and detach: both or none; NULL for backends that need no loop.
	 * On the worker, once after open and before anything is submitted.
	 */
	int (*attach)(struct backend *b);
	/*
	 * Nobody waits for results any more: what waits for something that may
	 * never come is ended with an error, soon, unless it may be executed
	 * all the same: that is waited for. io is like one operation of
	 * its own: done() when all others are done and the worker's loop knows
	 * nothing of b any more. Steps of operations under way may still be
	 * submitted before that.
	 */
	void (*detach)(struct backend *b, struct backend_io *io);
	/*
	 * The submitter has checked: range within size_bytes as known at open,
	 * alignment to the logical block, not read-only, op is offered.
	 * Ranges longer than the announced limits do not occur. A buffer
	 * that starts at a multiple of 4096 is never copied.
	 */
	void (*submit)(struct backend *b, struct backend_io *io);
	/*
	 * The end of a round of the worker's loop that submitted something; an
	 * op may submit in one go what it queued. NULL if it has no use for
	 * it.
	 */
	void (*kick)(struct backend *b);
	/* What has grown is reached without opening it again. */
	bool grows;
};

/* Backends embed this first. */
struct backend {
	const struct backend_ops *ops;
	struct backend_geometry geo; /* constant while open, but the size */
	struct backend_identity id;
	/* How often what had completed, and no FLUSH since, may have been lost
	 * while b stayed open; on the worker. */
	unsigned losses;
};

/*
 * What is behind b has grown to size_bytes, a multiple of the logical block;
 * on the worker. A backend that looks at the size on another thread does it by
 * backend_size().
 */
static inline void
backend_grow(struct backend *b, uint64_t size_bytes)
{
	__atomic_store_n(&b->geo.size_bytes, size_bytes, __ATOMIC_RELAXED);
}

static inline uint64_t
backend_size(const struct backend *b)
{
	return __atomic_load_n(&b->geo.size_bytes, __ATOMIC_RELAXED);
}

extern const struct backend_ops backend_null;
extern const struct backend_ops backend_memory;
extern const struct backend_ops backend_file;
extern const struct backend_ops backend_nbd;

/* A sparse region of memory shared by all mappings of one memory export. */
struct memory_store;
int memory_store_new(uint64_t size_bytes, struct memory_store **ret);
/*
 * More of it, zeroes, for mappings that are opened from now on; a multiple of
 * 512. Any thread, one at a time. -EINVAL less than before; -ENOMEM, also when
 * there is no address space behind it, of which it has 16 times its first size.
 */
int memory_store_grow(struct memory_store *s, uint64_t size_bytes);
struct memory_store *memory_store_ref(struct memory_store *s); /* any thread */
void memory_store_unref(struct memory_store *s);               /* any thread */

#endif
