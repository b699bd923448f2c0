/* SPDX-License-Identifier: BSD-3-Clause */
/* Whether this machine itself uses a block device. */
#ifndef GATEWAY_DISK_USE_H
#define GATEWAY_DISK_USE_H

/*
 * Asks the kernel for the device for ourselves alone, and gives it back at
 * once. It says no for what is mounted, in whatever namespace, for swap, for
 * parts of other devices (device mapper, md, bcache), for a disk of which that
 * is true of a partition, and for partitions of a disk of which it is true as a
 * whole: the disk with the root file system is among them. Plain opens, as ours
 * are, do not count, other gateways' included.
 *
 * path_fd is a descriptor of any kind, O_PATH too. 0 free, 1 in use; errors as
 * open(2). Blocking; any thread.
 */
int gw_disk_in_use(int path_fd);

#endif
