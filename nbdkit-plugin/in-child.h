/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef NBDKIT_PLUGIN_IN_CHILD_H
#define NBDKIT_PLUGIN_IN_CHILD_H

/*
 * Calls fn in a process of its own, and returns what it returned (0 to 255).
 *
 * For what touches RDMA before nbdkit forks: the libraries open devices once
 * for the life of a process, and the kernel refuses such a descriptor to the
 * children of the process that opened it.
 *
 * To be called before there are threads. Errors: -EINTR it was killed, those
 * of fork().
 */
int in_child(int (*fn)(void *arg), void *arg);

#endif
