/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Sleeping on a word in memory, and a lock made of it. The lock exists because
 * wait.c needs more than pthreads promise: a failed trylock and an unlock are
 * here both sequentially consistent, so that "push, then fail to lock" and
 * "unlock, then look for pushes" cannot miss each other.
 */
#ifndef NBDKIT_PLUGIN_FUTEX_H
#define NBDKIT_PLUGIN_FUTEX_H

#include <limits.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline void
cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ __volatile__("yield");
#endif
}

/*
 * Sleeps while *word is seen, until a wake names one of bits. May return for
 * no reason.
 */
static inline void
futex_wait(atomic_uint *word, unsigned seen, unsigned bits)
{
	syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, seen, NULL, NULL,
		bits);
}

/* Wakes up to n of those that sleep with one of bits. */
static inline void
futex_wake(atomic_uint *word, int n, unsigned bits)
{
	syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, n, NULL, NULL,
		bits);
}

struct futex_lock {
	atomic_uint v; /* 0 free, 1 held, 2 held and somebody may sleep */
};

static inline bool
futex_trylock(struct futex_lock *l)
{
	unsigned zero = 0;

	return atomic_compare_exchange_strong(&l->v, &zero, 1);
}

static inline void
futex_lock(struct futex_lock *l)
{
	/* Holders leave soon: they never block, they make system calls. */
	for (int i = 0; i < 64; i++) {
		if (futex_trylock(l))
			return;
		cpu_relax();
	}
	while (atomic_exchange(&l->v, 2))
		futex_wait(&l->v, 2, FUTEX_BITSET_MATCH_ANY);
}

static inline void
futex_unlock(struct futex_lock *l)
{
	if (atomic_exchange(&l->v, 0) == 2)
		futex_wake(&l->v, 1, FUTEX_BITSET_MATCH_ANY);
}

#endif
