/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Paths and devices for the fake client session: what rtrs.h and rnbd-clt.h say
 * of them for administrators. Commands end in the next progress.
 */
#ifndef TESTS_FAKE_PATHS_H
#define TESTS_FAKE_PATHS_H

#include <stdatomic.h>

#include "nbdkit-plugin/rnbd-clt.h"

#define FAKE_MAX_PATHS 4

extern struct fake_paths {
	unsigned n, last_id;
	struct rtrs_clt_path_info path[FAKE_MAX_PATHS];
	enum rtrs_mp_policy policy;
	atomic_bool hold;        /* commands do not end */
	atomic_int begin_err;    /* of the next commands */
	atomic_int end_err;      /* as they end */
	const char *_Atomic why; /* the same in words */
	atomic_uint_fast64_t
		dev_size;         /* of the device "disk"; 0: there is none */
	atomic_int remaps, asked; /* commands on it */
} fake_paths;

/* One connected path, 127.0.0.1:1234, and no device. */
void fake_paths_reset(void);
/* Under the session's lock: ends what began. */
void fake_paths_progress(void);

#endif
