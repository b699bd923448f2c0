/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How a thread that waits for another machine is told to end soon: an eventfd
 * that it polls beside its socket, and does not read. Any thread may tell it.
 */
#ifndef GATEWAY_BACKEND_CANCEL_H
#define GATEWAY_BACKEND_CANCEL_H

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rtrs/base/log.h"

/* A descriptor for close(2), or a negative errno of eventfd(2). */
static inline int
gw_cancel_new(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	return fd < 0 ? -errno : fd;
}

/* Negative is fine: then nobody waits. */
static inline void
gw_cancel(int fd, const struct log *log)
{
	const uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		/* One of which nobody reads fills at 2^64. */
		log_err(log, "eventfd: %s", strerrordesc_np(errno));
}

#endif
