/* SPDX-License-Identifier: BSD-3-Clause */
/* Cases of hostile-client.c. Each breaks one rule and knows the answer. */
#ifndef TESTS_VM_HOSTILE_H
#define TESTS_VM_HOSTILE_H

#include "rtrs/base/util.h"
#include "tests/vm/raw-client.h"

struct hostile_case {
	const char *name;
	void (*run)(void);
	/* The kernel's server survives it, and has the same answer. */
	bool kernel;
};

struct hostile_names {
	const char *disk;    /* free for the cases to write; of 1 MiB or more */
	const char *ro;      /* read-only for the server */
	bool kernel;         /* the peer is the kernel's server */
	const char *without; /* a case that is left out, or NULL */
};
extern struct hostile_names names;

extern const struct hostile_case hostile_conn[], hostile_path[], hostile_io[],
	hostile_rnbd[];
extern const unsigned n_hostile_conn, n_hostile_path, n_hostile_io,
	n_hostile_rnbd;

/* The path of the session that runs alongside: a stranger to every case. */
struct hostile_stranger {
	uint64_t addr;
	uint32_t key;
	char name[64];
};
extern struct hostile_stranger stranger;

#endif
