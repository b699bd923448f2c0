/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Errno values travel as Linux numbers of the asm-generic set. Both functions
 * are total: what has no counterpart becomes EIO.
 */
#ifndef PROTO_WIRE_ERRNO_H
#define PROTO_WIRE_ERRNO_H

/* Host errno (0 or negative) -> wire (0 or negative, absolute value <= 511). */
int wire_errno_from_host(int err);
/* Wire errno (0 or negative) -> host (0 or negative). */
int wire_errno_to_host(int err);

#endif
