/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The RNBD server between doubles: RTRS below it is this file, exports are a
 * table of scripted backends, and jobs run when the test says so.
 */
#ifndef TESTS_UNIT_GATEWAY_SERVER_RIG_H
#define TESTS_UNIT_GATEWAY_SERVER_RIG_H

#include "gateway/access.h"
#include "gateway/durable.h"
#include "gateway/server.h"

#define RIG_CHUNK_SIZE  131072u
#define RIG_QUEUE_DEPTH 16
#define RIG_MAX_IOS     16
#define RIG_PENDING     1 /* rig_op.err until the answer */

/* --- exports: what gw_exports_open() finds */

struct rig_export {
	const char *name;
	struct backend_geometry geo;
	struct backend_identity id;
	int open_err;
	const char *open_text;
	int allow_err; /* for this session */
	bool gone;     /* since it was opened */
	uint64_t size_now;
	bool writethrough;
	struct gw_durable durable;
	struct gw_throttle throttle;
	struct gw_throttle *shared; /* instead, if it is set */
	bool attaches;              /* a backend of the worker's loop */
	bool plain;                 /* one that neither kicks nor grows */
	bool remote;                /* on another server */
	int attach_err;
	/* Seen: */
	unsigned opens, closes, attached, detached;
	uint8_t mode; /* of the last open */
};

/* --- the backend: records what is submitted */

struct rig_io {
	enum backend_op op;
	unsigned flags;
	uint64_t off, len;
	void *buf;
};

struct rig {
	struct gw_server *server;
	struct rig_export exports[8];
	unsigned n_exports;
	/* true: submit() completes at once with io_err */
	bool complete_at_once;
	int io_err;
	struct rig_io ios[RIG_MAX_IOS]; /* all submitted, in order */
	unsigned n_ios;
	struct backend_io *held[RIG_MAX_IOS]; /* not yet completed */
	unsigned n_held;
	unsigned kicks, engine_submits;
	uint64_t rtrs_deadline;
	struct sockaddr_storage peer;
	struct gw_access *access; /* without rules and limits */
	unsigned remote_jobs;     /* of all: for what may take long */
	unsigned paths_closed;    /* by the server, not by the client */
	bool no_peers;            /* all paths of the session are gone */
	bool fates_open; /* vital answers do not arrive by themselves */
	enum rtrs_srv_path_state path_state;
	/* the log, from rig_hear() on: the last line */
	struct log log;
	char heard[512];
	/* time */
	uint64_t now;
	unsigned clock_reads;
	/* sessions */
	int name_err,
		new_err; /* of the next name, of the next rtrs_srv_new() */
	bool tells_gone;
	unsigned names_claimed, names_released, downs_done, sess_gone;
};

extern struct rig rig;

/* Fixtures; the session "sess" is up and exports are empty. */
void rig_setup(void);
/* The same with other parameters than those that rig_params() gives. */
struct gw_server_params rig_params(void);
void rig_setup_with(const struct gw_server_params *p);
void rig_hear(void);
/* Also checks that everything that was taken was given back. */
void rig_teardown(void);
/* An export with usual geometry: 1 MiB of 512-byte blocks, all operations. */
struct rig_export *rig_add_export(const char *name);

/* --- RTRS: sessions and requests */

struct rig_op {
	struct rtrs_srv_op op;
	int err; /* RIG_PENDING, 0 or negative */
	unsigned answers;
	bool lost; /* the path by which it came */
	void *sess;
	uint8_t usr[RTRS_USR_LEN_MAX];
	uint8_t data[8192];
};

void *rig_sess_up(const char *name);
/* One more path of the session: 0 or the errno of the refusal. */
int rig_path_up(void *sess, const char *name,
		const struct sockaddr_storage *peer);
/* A path that connects, and one that is gone with its memory. */
int rig_path_new(const struct rtrs_srv_new_path *np);
void rig_path_gone(const struct rtrs_uuid *sess_uuid,
		   const struct rtrs_uuid *path_uuid);
void rig_sess_down(void *sess);
void rig_requests_lost(void *sess);
/* What became of the answer to op, which was vital. */
void rig_answer_fate(struct rig_op *op, bool told);
/* Sends usr (copied) with data_len bytes of data; answers land in op. */
void rig_request(void *sess, struct rig_op *op, enum rtrs_dir dir,
		 const void *usr, uint16_t usr_len, uint32_t data_len);

/* Messages of the session that rig_setup() made. */
extern void *rig_sess;
void rig_open(struct rig_op *op, const char *name, uint8_t mode);
void rig_close(struct rig_op *op, uint32_t device_id);
/* data_len 0 or bi_size, as the kernel's client has it. */
void rig_io(struct rig_op *op, uint32_t device_id, uint32_t rw, uint64_t sector,
	    uint32_t bi_size);
void rig_io_raw(struct rig_op *op, enum rtrs_dir dir,
		const struct rnbd_msg_io *m, uint32_t data_len);
/* Opens an export that must open; its id. */
uint32_t rig_opened(const char *name, uint8_t mode);

/* --- time */

/* Runs the work of jobs, then their done(); false: there were none. */
bool rig_run_jobs(void);
/* Jobs and kicks until nothing moves. */
void rig_settle(void);
/* Completes the oldest held IO. */
void rig_complete(int err);

#endif
