/* SPDX-License-Identifier: BSD-3-Clause */
/* What the files of the simulated application share. */
#ifndef TESTS_SIM_SIM_CLIENT_PRIV_H
#define TESTS_SIM_SIM_CLIENT_PRIV_H

#include "nbdkit-plugin/rnbd-clt.h"
#include "tests/sim/model.h"
#include "tests/sim/sim-client.h"

enum app_state {
	APP_DOWN,    /* no process; the timer starts one */
	APP_OPENING, /* waits for its devices */
	APP_RUNNING,
	APP_CHECKING, /* reads everything once more */
	APP_CLOSING_DEVS,
	APP_CLOSING,
	APP_HANGING_UP, /* as APP_CLOSING, but there is more to do */
	APP_DONE,
};

struct app_dev {
	struct sim_client *c;
	struct sim_disk *disk;
	struct rnbd_clt_dev *handle;
	struct rnbd_clt_geometry geo;
	unsigned index; /* of the disk */
	bool writable, opening, checked;
};

struct app_io {
	struct rnbd_clt_io io;
	struct sim_client *c;
	struct app_dev *dev;
	enum rnbd_clt_op op; /* io.op may change under way */
	enum model_kind kind;
	uint64_t tag, begin;
	bool checks, done;
	struct app_io *prev, *next; /* of ios, or (next) of ended */
};

struct sim_client {
	struct actor actor;
	struct world *w;
	unsigned index;
	struct sim_node *node;
	struct rnbd_clt *clt;
	enum app_state state;
	struct app_dev devs[MAX_DISKS];
	unsigned n_devs, n_closed;
	struct app_io *ios;
	struct app_io *ended; /* kept a while, for a second completion */
	unsigned n_ios, left;
	bool broken;  /* an open failed: the process gives up */
	bool patient; /* checks all data when the faults are over */
	struct world_timer timer;
	uint64_t next_check;
	uint64_t permits_by;
	uint64_t idle_until;
	struct rtrs_clt_path_op op;
	bool op_busy;
	struct world_timer mend;
	bool due;
};

/* --- sim-io.c */

/* Something in this world may make an I/O or an open fail. */
bool client_may_fail(const struct sim_client *c);
/*
 * Another client wants to write the same disk: the open may fail, and the next
 * process may find the name of the last one still in use.
 */
bool client_competes(const struct sim_client *c);
void client_submit(struct sim_client *c, struct app_dev *dev,
		   enum rnbd_clt_op op, unsigned flags, uint64_t off,
		   uint64_t len, bool checks);
void client_submit_random(struct sim_client *c);
/* Frees what completed. */
void client_forget_ended(struct sim_client *c);

/* --- sim-paths.c */

/* The address of a path, by its index. */
void client_path_addr(struct sim_client *c, unsigned i,
		      struct rtrs_path_addr *ret);
/* Without faults no path may have been lost. */
void client_check_calm(struct sim_client *c);

#endif
