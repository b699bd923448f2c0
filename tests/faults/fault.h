/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Calls that fail on purpose. The linker puts these wrappers (meson.build has
 * the list) between the tree's own code and libc, liburing and verbs: the n-th
 * call of the chosen kinds fails, once or several times, and what was
 * allocated, mapped, or made on an RDMA device is counted, with the place that
 * asked for memory. libevent and jansson allocate through them, too.
 *
 * A driver in the same process uses the functions below. A program that was
 * linked with the wrappers takes its orders from the environment:
 *
 *   FAULT_KINDS   words of fault_kinds_parse(); not set: nothing fails
 *   FAULT_NTH     which call of these kinds fails, from 1
 *   FAULT_WIDTH   how many in a row (1)
 *   FAULT_MODE    "fail" (default), "short": transfers move a part of what was
 *                 asked for, "again": transfers say EAGAIN
 *   FAULT_REPORT  file that gets a line for each failure, and at the end of
 *                 the process one with the numbers of calls and of failures,
 *                 and what is left allocated and mapped
 */
#ifndef TESTS_FAULTS_FAULT_H
#define TESTS_FAULTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

enum fault_kind {
	FAULT_MEM = 1 << 0,  /* malloc and its like, mmap */
	FAULT_DESC = 1 << 1, /* whatever makes a descriptor */
	FAULT_NET = 1 << 2,  /* connect, bind, listen, epoll_ctl, ... */
	FAULT_XFER = 1 << 3, /* sendmsg, recvmsg, recv, read, write */
	FAULT_DISK = 1 << 4, /* pread, pwrite, fdatasync, fallocate, ... */
	FAULT_THREAD = 1 << 5,
	FAULT_URING = 1 << 6,
	FAULT_VERBS = 1 << 7, /* resources of RDMA, and connecting */
	FAULT_POST = 1 << 8,  /* work requests, windows, asking for events */
	FAULT_POLL = 1 << 9,  /* fetching completions and events */
	FAULT_END = 1 << 10,  /* giving resources of RDMA back */
};
#define FAULT_N_KINDS 11

/* Which calls count, where a client and a server are in one process. */
enum fault_side {
	FAULT_NO_SIDE, /* counts for both */
	FAULT_CLIENT = 1 << 0,
	FAULT_SERVER = 1 << 1,
};

enum fault_mode {
	FAULT_FAIL,
	FAULT_SHORT,
	FAULT_AGAIN,
};

/* "mem,desc,..."; 0: there is a word that is none. */
unsigned fault_kinds_parse(const char *words);
const char *fault_kind_name(unsigned i);
/* -1: no such mode. */
int fault_mode_parse(const char *word);

/* From the next call on; nth 0: count only. */
void fault_arm(unsigned kinds, enum fault_mode mode, unsigned long nth,
	       unsigned long width);
void fault_disarm(void);
/* This thread's side, and that of the threads it makes from now on. */
void fault_set_side(enum fault_side side);
enum fault_side fault_get_side(void);
/* The next fault_arm() means this side only; FAULT_NO_SIDE: both. */
void fault_only(enum fault_side side);
/* Calls since fault_arm(), and how many of them failed. */
unsigned long fault_calls(void);
unsigned long fault_hits(void);
/* The first failure: "calloc at 0x1234"; "" none. For addr2line -e. */
const char *fault_where(void);

/* Calls of this thread between the two do not count and do not fail. */
void fault_pause(void);
void fault_resume(void);

/* What a process has of an RDMA device. */
enum fault_rdma {
	FAULT_PD,
	FAULT_CQ,
	FAULT_QP,
	FAULT_SRQ,
	FAULT_MR,
	FAULT_MW,
	FAULT_CM_ID,
	FAULT_CHANNEL, /* of events of the connection manager */
	FAULT_COMP,    /* of completions */
	FAULT_N_RDMA
};
const char *fault_rdma_name(unsigned i);

struct fault_live {
	size_t blocks; /* allocated by the tree's code, not freed */
	size_t mapped; /* bytes */
	unsigned fds;  /* open in this process */
	unsigned rdma[FAULT_N_RDMA];
};
void fault_live(struct fault_live *ret);
/* Forgets the blocks that there are: only later ones are listed. */
void fault_live_mark(void);
/* Prints where the blocks since the mark came from; at most max lines. */
void fault_live_print(unsigned max);

#endif
