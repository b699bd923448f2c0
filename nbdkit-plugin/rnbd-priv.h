/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Inside the RNBD client session. Three nouns: the session (rnbd-clt.c), its
 * devices (rnbd-dev.c; what is said about them rnbd-dev-msg.c, their shape
 * rnbd-dev-shape.c, what a lost session left open rnbd-dev-left.c, commands
 * rnbd-ask.c), their I/O (rnbd-io.c).
 *
 *   link_up -> SESS_INFO -> CLOSE of what was left and is not wanted so
 *           -> OPEN of every device -> what waits is sent
 *
 * A device that cannot be reopened is tried again from time to time; only its
 * own I/O waits for it.
 */
#ifndef NBDKIT_PLUGIN_RNBD_PRIV_H
#define NBDKIT_PLUGIN_RNBD_PRIV_H

#include "nbdkit-plugin/rnbd-clt.h"
#include "nbdkit-plugin/rnbd-stats.h"

#define REOPEN_RETRY_MS   500
/* CLOSE is tried so often, with such pauses, if there is no memory for it. */
#define CLOSE_TRIES       10
#define CLOSE_RETRY_MS    500
/* So long no other device is opened while a CLOSE is out. */
#define CLOSE_PATIENCE_MS 5000

enum clt_state {
	CLT_DOWN,     /* no path is up, or was ever */
	CLT_GREETING, /* a path is up, SESS_INFO is under way */
	CLT_READY,    /* devices are opened and used as they come */
	CLT_FAILED,   /* will not come up by itself */
	CLT_CLOSING,
	CLT_CLOSED,
	CLT_FREEING, /* completions only */
};

/* One SESS_INFO, OPEN, CLOSE or EXPLAIN at a time and owner. */
struct admin {
	struct rnbd_clt *c;
	struct rtrs_clt_req req;
	struct rtrs_permit_waiter waiter;
	void (*done)(struct admin *a, int err);
	enum rtrs_dir dir;
	uint16_t usr_len;
	uint32_t data_len;
	uint64_t since; /* of admin_send() */
	bool busy;      /* from admin_send() to done() */
	bool waiting;   /* for a permit */
	uint8_t usr[RNBD_USR_LEN_MAX];
	uint8_t data[RNBD_EXPLAIN_RSP_LEN];
};

/*
 * Sends what was filled in. 0: done() will follow, not from within. Negative:
 * it will not.
 */
int admin_send(struct admin *a);
/* Takes back what waits for a permit; what was sent still ends in done(). */
void admin_cancel(struct admin *a);

enum dev_state {
	DEV_WANTED,  /* to be opened as soon as the session is ready */
	DEV_OPENING, /* OPEN is under way */
	DEV_EXPLAIN, /* OPEN failed, the reason was asked for */
	DEV_OPEN,
	DEV_TURNING, /* CLOSE waits or is under way, to be opened again */
	DEV_CLOSING, /* CLOSE is under way */
	DEV_FAILED,  /* for good; text says why */
	/* Nobody has it; freed when nothing of it is left at the server. */
	DEV_GONE,
};

struct opener {
	struct opener *next;
	struct rnbd_clt_dev *handle;
	rnbd_clt_opened_fn opened;
	void *user;
	uint64_t deadline; /* 0: not set yet */
};

/* A command of an administrator; see rnbd_clt_dev_ask(). */
struct ask {
	enum rnbd_clt_ask what;
	bool sent; /* its OPEN or CLOSE is out, or was */
	rnbd_clt_asked_fn asked;
	void *user;
};

/* Somebody who waits for the session itself. */
struct ready {
	struct ready *next;
	rnbd_clt_ready_fn ready;
	void *user;
	uint64_t deadline; /* 0: not set yet */
};

/* An open export of the session, shared by all its handles. */
struct device {
	struct device *prev, *next;
	struct rnbd_clt *c;
	enum dev_state state;
	enum rnbd_access_mode mode; /* of the mapping; see wanted_mode() */
	bool was_open;              /* geo is what users rely on */
	bool sync_writes;    /* the cache became volatile after users looked */
	uint32_t id;         /* valid in DEV_OPEN */
	unsigned left_modes; /* BIT(mode): left open so, see rnbd-dev-left.c */
	bool left_id;        /* as id, of the session that was lost */
	bool overtakes;      /* its OPEN, a CLOSE that takes long */
	unsigned closes_before; /* closes_ended when it was sent */
	unsigned incarnation;   /* OPENs that succeeded */
	struct rnbd_clt_geometry geo;
	struct admin admin;
	unsigned n_out;     /* pieces that are under way */
	unsigned n_handles; /* given out, or to be by openers */
	struct rnbd_clt_dev *handles;
	struct opener *openers;
	/* CLOSE: for the answer to ask's OPEN, for memory, or for pieces. */
	bool close_waits;
	unsigned close_tries;
	struct ask *ask;              /* NULL: none under way */
	struct rnbd_dev_stats *stats; /* NULL: not counted */
	void (*closed)(void *user);
	void *closed_user;
	uint64_t retry_at;  /* of what is to be sent, after a failure */
	uint64_t reopen_at; /* not earlier, if the server closes it again */
	int open_err;
	char name[RNBD_NAME_LEN];
	char text[512]; /* why opening failed, or failed for good */
};

struct rnbd_clt_dev { /* a handle */
	struct device *d;
	enum rnbd_access_mode mode;
	struct rnbd_clt_dev *next;
};

/* One request of an I/O; it keeps its range while it waits to be sent again. */
struct piece {
	struct rtrs_clt_req req;
	struct rnbd_clt *c;
	struct rnbd_clt_io *io;
	uint64_t off;
	uint32_t len;
	unsigned incarnation;      /* of the device that it was sent to */
	bool extra;                /* not of c->pieces: freed when it ends */
	struct piece *prev, *next; /* held, or free (next only) */
};

enum io_where {
	IO_NOWHERE,
	IO_QUEUED,
	IO_HELD,
	IO_FINISHED
};

struct rnbd_clt {
	struct rtrs_clt *rtrs;
	const struct log *log;
	enum clt_state state;
	int failed_err;
	unsigned io_timeout_ms;
	unsigned open_timeout_ms;
	bool trust_write_zeroes;
	struct rnbd_stats *counts;
	uint64_t now;    /* of the last progress */
	bool submitting; /* then now may be long ago */
	unsigned links;  /* how often the session came up */
	struct admin greet;
	struct ready *ready;
	struct device *devices;
	unsigned closes_ended; /* CLOSEs that were answered, or failed */
	/*
	 * An I/O with bytes still to be sent is on `queued`, round robin, or
	 * on `held` while its device cannot take it. Pieces to be sent again
	 * are on `again`. `finished` is delivered by the next progress.
	 */
	struct rnbd_clt_io *queued, *held, *finished;
	struct piece *again;
	struct piece *free_pieces;
	struct piece *pieces;
	unsigned n_pieces;
	struct rtrs_permit_waiter waiter;
	bool waiting; /* for a permit */
	bool dispatching;
	struct rnbd_clt_stats stats;
};

#define CLOSED_TEXT      "the session was closed"
/* What becomes of commands. */
#define CLOSED_MEANWHILE "it was closed meanwhile"
#define LOST_MEANWHILE                                                         \
	"the session was lost meanwhile; the device is asked for again when "  \
	"it is back"
/* That nothing came of waiting for the session for open_timeout_ms. */
void session_silent_text(const struct rnbd_clt *c, char *buf, size_t len);

/* devices */
void devs_session_ready(struct rnbd_clt *c);
void devs_session_lost(struct rnbd_clt *c);
/* The state says how: it is CLT_FAILED or a later one. */
void devs_session_failed(struct rnbd_clt *c);
void devs_progress(struct rnbd_clt *c);
uint64_t devs_deadline(const struct rnbd_clt *c);
void devs_free(struct rnbd_clt *c);
/* What those who have the device, or want it, need. */
enum rnbd_access_mode wanted_mode(const struct device *d);
/* Requests are under way whose id may be that of the device opened next. */
bool strays_are_out(const struct rnbd_clt *c);
/* The server does not know the id any more: open again. */
void dev_lost(struct device *d);
/* It is closed, or was never open: whoever closed it is told. */
void dev_closed(struct device *d);
/* One of those who wait is told; err 0: it is open. */
void opener_finish(struct device *d, struct opener *o, int err,
		   const char *text);
/* All of them are. */
void openers_finish(struct device *d, int err, const char *text);
/* The device is open: whoever wants no more than its mode allows has it. */
void openers_serve(struct device *d);

/* what is said about devices (rnbd-dev-msg.c) */
/* 0: OPEN is out. */
int dev_send_open(struct device *d);
void dev_send_close(struct device *d);
/* CLOSE of d->id, whatever the state. 0: it is out. */
int dev_say_close(struct device *d);
/* It was sent, or waits for a permit, and is not answered. */
bool close_is_out(const struct device *d);
/* Until then others wait for that. */
uint64_t close_patience_ends(const struct device *d);
/* A CLOSE of another device with this id is out. */
bool id_is_closing(const struct device *d, uint32_t id);
/* CLOSE, then OPEN in the mode that is wanted now; I/O waits meanwhile. */
void dev_turn(struct device *d);
/* Sends the CLOSE of a turn, if it can go. */
void dev_turn_on(struct device *d);
/* The answer to any of them: d->admin.done. */
void dev_admin_done(struct admin *a, int err);

/* what a session that was lost left open (rnbd-dev-left.c) */
/* The server may have the device open, in d->mode; id: as d->id. */
void dev_leave(struct device *d, bool id);
/* What the answer to an OPEN or CLOSE says about that. */
void dev_left_answered(struct device *d, int err);
/* The greeting is over, and no OPEN is out: closes what is not wanted so. */
void devs_left_close(struct rnbd_clt *c);
/* What was opened now may be what was left, in another mode. */
bool dev_left_differs(const struct device *d);
/* A new device takes over what one of its name, that nobody has, left. */
void dev_left_inherit(struct device *d);
/* Nobody has the device, and something is left of it. */
bool dev_is_left(const struct device *d);
/* The id of that is to be learned by an OPEN, so that it can be closed. */
bool dev_left_find_is_due(const struct device *d);
void dev_left_find(struct device *d);

/* the shape of devices (rnbd-dev-shape.c) */
/* Fills ret; false if no disk can have this shape. */
bool dev_shape(const struct rnbd_clt *c, const struct rnbd_msg_open_rsp *m,
	       struct rnbd_clt_geometry *ret);
/* True if what the users of the device rely on still holds; else text says
 * what does not. */
bool dev_shape_fits(const struct device *d, const struct rnbd_clt_geometry *now,
		    char *text, size_t len);
/* From here on users see this shape. */
void dev_reshape(struct device *d, const struct rnbd_clt_geometry *now);

/* commands on devices (rnbd-ask.c) */
/* Is there something for ask_start()? */
bool ask_is_due(const struct device *d);
void ask_start(struct device *d);
/* The answer to the OPEN of a device that is open. */
void ask_answered(struct device *d, int err, const struct rnbd_msg_open_rsp *m);
/* The end of a command, if one is under way. err 0: the device is open. */
void ask_finish(struct device *d, int err, const char *text);

/* I/O */
void ios_dispatch(struct rnbd_clt *c);
void ios_deliver(struct rnbd_clt *c);
/* Something changed that held I/O may have waited for. */
void ios_release(struct rnbd_clt *c);
void ios_expire(struct rnbd_clt *c);
/* Ends everything that waits, of one device or (NULL) of all. */
void ios_fail(struct rnbd_clt *c, const struct device *d, int err);
uint64_t ios_deadline(const struct rnbd_clt *c);
/* Makes room for as many pieces as the session has permits. */
int ios_resize(struct rnbd_clt *c);

#endif
