/* SPDX-License-Identifier: BSD-3-Clause */
/* Between fault.c, which decides, and the files of wrappers. */
#ifndef TESTS_FAULTS_FAULT_PRIV_H
#define TESTS_FAULTS_FAULT_PRIV_H

#include "tests/faults/fault.h"

/* Shall this call fail? It is counted. errno stays. */
bool fault_hit(unsigned kind, const char *name, const void *site);
enum fault_mode fault_mode(void);

/* addr, which may be NULL, was allocated at site. Returns addr. */
void *fault_track(void *addr, size_t size, const void *site);
void fault_untrack(const void *addr);
void fault_mapped(long bytes);
/* n more of them. */
void fault_rdma(enum fault_rdma what, int n);

/* For libraries that let us allocate for them. */
void *fault_malloc(size_t size);
void *fault_realloc(void *p, size_t size);
void fault_free(void *p);

#define SITE __builtin_return_address(0)

/* Declares what the linker calls the real one and its stand-in. */
#define WRAPPED(ret, name, ...)                                                \
	ret __real_##name(__VA_ARGS__);                                        \
	ret __wrap_##name(__VA_ARGS__);                                        \
	ret __wrap_##name(__VA_ARGS__)

/* In a wrapper: fails with errno. */
#define FAIL(kind, name, err, value)                                           \
	do {                                                                   \
		if (fault_hit((kind), (name), SITE)) {                         \
			errno = (err);                                         \
			return (value);                                        \
		}                                                              \
	} while (0)

#endif
