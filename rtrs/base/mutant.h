/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Deliberate bugs. In a build with -Dmutations=true the one that $RNBD_MUTANT
 * names is switched on, to see that the suites find it: tests/sim/mutants.sh
 * does that by the table beside it. In any other build RNBD_MUTANT() is false,
 * and the compiler drops what depends on it.
 */
#ifndef RTRS_BASE_MUTANT_H
#define RTRS_BASE_MUTANT_H

#include <stdbool.h>

/* name, and what is wrong while it is on */
#define RNBD_MUTANTS(X)                                                        \
	/* gateway/ */                                                         \
	X(WRITE_UNDONE, "a write is answered, and not executed")               \
	X(FUA_LOST, "FUA of a write is forgotten")                             \
	X(FLUSH_UNDONE, "a flush is answered, and not passed on")              \
	X(FENCE_OPEN, "SESS_INFO does not wait for older requests")            \
	X(ID_AGAIN, "two devices of a session get the same id")                \
	X(LAST_SECTOR, "the last sector counts as beyond the end")             \
	X(CLAIM_SHARED, "two sessions may open a device read-write")           \
	X(REVOKE_LATE, "an access rule that goes leaves what it allowed")      \
	/* rtrs/srv */                                                         \
	X(SLOT_UNORDERED, "a request overtakes an older one of its chunk")     \
	X(PARKED_FORGOTTEN, "what waits for its chunk is not woken")           \
	X(CHUNKS_EARLY, "chunks are freed while requests execute on them")     \
	X(SRV_HB_MUTE, "the server does not answer heartbeats")                \
	X(SRV_RKEY_OLD, "a reply announces the key that was ended")            \
	/* rtrs/clt */                                                         \
	X(RKEY_OLD, "the new key of a chunk is ignored")                       \
	X(CLT_HB_MUTE, "the client does not answer heartbeats")                \
	X(ACK_ON_SEND, "a write ends when it was sent, not when answered")     \
	X(RESEND_EARLY, "fail-over does not wait until the old path is dead")  \
	X(RESET_IS_PROOF, "fail-over takes a reset for the old path's end")    \
	X(LOST_IS_DONE, "a request that is lost with its path succeeds")       \
	/* nbdkit-plugin/ */                                                   \
	X(PERMIT_LOST, "a permit is not given back after a loss")              \
	X(PERMIT_TWICE, "a permit is given back twice")                        \
	X(DONE_TWICE, "an I/O completes twice")                                \
	X(GEO_UNCHECKED, "a device that shrank is used as before")             \
	X(ID_STALE, "a device that was opened again is used by its old id")    \
	X(FLUSH_OTHER, "the flush of a FUA may be that of another server")     \
	X(HELD_FORGOTTEN, "what waited for its device is not sent")

enum rnbd_mutant {
	RNBD_MUTANT_NONE,
#define RNBD_MUTANT_ENUM(name, what) RNBD_MUTANT_##name,
	RNBD_MUTANTS(RNBD_MUTANT_ENUM)
#undef RNBD_MUTANT_ENUM
};

#ifdef RNBD_MUTATIONS
extern enum rnbd_mutant rnbd_mutant_on; /* by its name in $RNBD_MUTANT */
#define RNBD_MUTANT(name) (rnbd_mutant_on == RNBD_MUTANT_##name)
#else
#define RNBD_MUTANT(name) false
#endif

#endif
