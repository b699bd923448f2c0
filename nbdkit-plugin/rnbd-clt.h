/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RNBD client session: devices and block I/O over an RTRS session that
 * heals itself. Passive like the engine below it: no thread, no clock, no
 * nbdkit, so tests, benches and the simulator use it too. One user at a time
 * (wait.c brings the lock).
 *
 * While no path is up, I/O waits; when one is back the session says SESS_INFO,
 * reopens its devices, compares their geometry and only then sends what waits.
 */
#ifndef NBDKIT_PLUGIN_RNBD_CLT_H
#define NBDKIT_PLUGIN_RNBD_CLT_H

#include "proto/rnbd-msg.h"
#include "rtrs/rtrs.h"

struct rnbd_clt;
struct rnbd_clt_dev;
struct rnbd_stats;
struct rnbd_dev_stats;

struct rnbd_clt_params {
	struct rtrs_clt_params rtrs; /* callbacks and user are filled in here */
	/*
	 * How long an I/O may wait for the session to come back, counted from
	 * the loss, or from its submission if it came later; then it ends with
	 * -EIO. 0: fail at once, as the kernel's client does.
	 */
	unsigned io_timeout_ms;
	/* The first connect and open end with an error after this; 0: never. */
	unsigned open_timeout_ms;
	/* Write zeroes by op 5 where offered (else by writes of zeroes). */
	bool trust_write_zeroes;
	/* Where I/O is counted (rnbd-stats.h); outlives the session. May be
	 * NULL. */
	struct rnbd_stats *stats;
};

int rnbd_clt_new(const struct rnbd_clt_params *p, struct rnbd_clt **ret);
/* Frees at once; whatever is outstanding ends with -ESHUTDOWN from within. */
void rnbd_clt_free(struct rnbd_clt *c);
/*
 * Orderly end: whatever waits ends with -ESHUTDOWN, the paths disconnect (the
 * server closes devices that were not closed before). Goes on in progress
 * until rnbd_clt_closed().
 */
void rnbd_clt_close(struct rnbd_clt *c);
bool rnbd_clt_closed(const struct rnbd_clt *c);

int rnbd_clt_fds(const struct rnbd_clt *c, int *fds, int n);
bool rnbd_clt_arm(struct rnbd_clt *c);
uint64_t rnbd_clt_deadline(const struct rnbd_clt *c);
void rnbd_clt_progress(struct rnbd_clt *c, uint64_t now);
void rnbd_clt_flush(struct rnbd_clt *c);

struct rtrs_clt *rnbd_clt_rtrs(struct rnbd_clt *c);
bool rnbd_clt_is_up(const struct rnbd_clt *c);
/* It will not come up any more. */
bool rnbd_clt_failed(const struct rnbd_clt *c);

/*
 * Tells when devices can be opened, which rnbd_clt_dev_open() waits for by
 * itself: exactly once, not from within. err 0, or negative with words in text
 * (borrowed for the call). -ENOMEM.
 */
typedef void (*rnbd_clt_ready_fn)(void *user, int err, const char *text);
int rnbd_clt_wait_ready(struct rnbd_clt *c, rnbd_clt_ready_fn ready,
			void *user);

/*
 * Opens a device: waits for the session, then OPEN. The same name twice gives
 * two handles of one device, whose mapping is as strong as the strongest of
 * them: a server knows one of a name in a session. So it is opened anew, with
 * I/O held, when the first that writes comes beside those that only read, or
 * the last one leaves them. RW and MIGRATION do not go together (-EBUSY).
 * opened() comes exactly once, not from
 * within; err 0, or negative with words in text (borrowed for the call):
 * "no such export 'x'", "busy: ...", "rejected: ...".
 */
typedef void (*rnbd_clt_opened_fn)(void *user, struct rnbd_clt_dev *dev,
				   int err, const char *text);
int rnbd_clt_dev_open(struct rnbd_clt *c, const char *name,
		      enum rnbd_access_mode mode, rnbd_clt_opened_fn opened,
		      void *user);
/*
 * closed() comes exactly once, when the server has answered or is gone; from
 * within, if nothing has to be sent. No I/O may be outstanding on dev.
 */
void rnbd_clt_dev_close(struct rnbd_clt_dev *dev, void (*closed)(void *user),
			void *user);

struct rnbd_clt_geometry {
	uint64_t size_bytes;
	uint32_t logical_block_size, physical_block_size;
	uint32_t max_io_size;       /* bytes; larger I/O is split here */
	uint64_t max_discard_bytes; /* 0: none */
	uint32_t discard_granularity;
	uint64_t max_write_zeroes_bytes; /* 0: not offered */
	bool writeback, fua, rotational;
};
void rnbd_clt_dev_geometry(const struct rnbd_clt_dev *dev,
			   struct rnbd_clt_geometry *ret);
/* Why the device failed for good (shrunk, block size changed), or NULL. */
const char *rnbd_clt_dev_failed(const struct rnbd_clt_dev *dev);

/* A device as its administrator sees it, all its handles together. */
struct rnbd_clt_dev_info {
	const char *name;
	/* "init" it was never open, "open", "closed" it will be open again, or
	 * "failed" for good. */
	const char *state;
	const char *why; /* it is not open; "" */
	enum rnbd_access_mode mode;
	unsigned users; /* handles */
	uint32_t id;    /* the server's; of the last time it was open */
	struct rnbd_clt_geometry geo;
};
/* All of it is borrowed for the call of fn. */
void rnbd_clt_for_each_dev(const struct rnbd_clt *c,
			   void (*fn)(void *user,
				      const struct rnbd_clt_dev_info *info),
			   void *user);

enum rnbd_clt_ask {
	/* The server is asked for the size again; I/O goes on. */
	RNBD_CLT_RESIZE,
	/* The device is closed and opened again; I/O waits meanwhile. */
	RNBD_CLT_REMAP,
};
/*
 * Asks the server again how large the device is, for handles that are opened
 * from now on. asked() comes exactly once, not from within; err 0 with the size
 * in bytes, or negative with words in text (borrowed for the call): -EINVAL
 * what it says now does not fit those who have the device open. A command that
 * cannot begin returns an error instead, with words in text: -ENOENT nobody has
 * such a device open, -EBUSY it is being opened, closed or asked for already,
 * -ENOTCONN the session is not connected, -EIO the device has failed, -ENOMEM.
 */
typedef void (*rnbd_clt_asked_fn)(void *user, int err, uint64_t size_bytes,
				  const char *text);
int rnbd_clt_dev_ask(struct rnbd_clt *c, const char *name,
		     enum rnbd_clt_ask what, rnbd_clt_asked_fn asked,
		     void *user, char *text, size_t text_len);

enum rnbd_clt_op {
	RNBD_CLT_READ,
	RNBD_CLT_WRITE,
	RNBD_CLT_FLUSH,
	RNBD_CLT_DISCARD,
	RNBD_CLT_WRITE_ZEROES,
};
#define RNBD_CLT_N_OPS     (RNBD_CLT_WRITE_ZEROES + 1)
#define RNBD_CLT_F_FUA     BIT(0)
#define RNBD_CLT_F_NOUNMAP BIT(1)

/*
 * One I/O of any length, aligned to the logical block, within the size. Split
 * into pieces of at most max_io_size, which are sent in parallel.
 */
struct rnbd_clt_io {
	struct rnbd_clt_dev *dev;
	enum rnbd_clt_op op;
	unsigned flags;
	unsigned con_hint; /* chooses the connection */
	uint64_t off;      /* bytes */
	uint64_t len;      /* bytes */
	void *buf;         /* lent until done() */
	uint64_t asked_ns; /* when, by the clock; 0: its time is not counted */
	/*
	 * Exactly once, from progress; never from within submit. err: 0 or
	 * negative. op may have become FLUSH (the second half of a FUA).
	 */
	void (*done)(struct rnbd_clt_io *io, int err);
	void *user;
	/* The session's: */
	uint64_t next_off;      /* first byte not yet sent */
	uint64_t deadline;      /* while it waits; 0: it does not */
	uint64_t left_ns;       /* of its time to wait; 0: all of it */
	unsigned waited_link;   /* links of the session when that began */
	unsigned pieces;        /* under way or held */
	int err;                /* the first one wins */
	enum rnbd_clt_op asked; /* op, before the flush of a FUA */
	unsigned acked_by;      /* oldest incarnation that acknowledged some */
	uint8_t where;          /* which list it is on */
	bool flush_after;       /* a part went out without the FUA it needs */
	bool all_sent;
	struct rnbd_clt_io *prev, *next;
};
/* Leaves at the next flush, arm or progress. Errors come through done(). */
void rnbd_clt_submit(struct rnbd_clt_io *io);

struct rnbd_clt_stats {
	/* I/Os; requests that they were cut into; I/Os that had to wait for the
	 * server; requests that were sent again; I/Os that waited too long. */
	uint64_t ios, pieces, held, resent, timeouts;
};
void rnbd_clt_stats(const struct rnbd_clt *c, struct rnbd_clt_stats *ret);

#endif
