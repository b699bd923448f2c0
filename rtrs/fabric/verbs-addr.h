/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * AF_IB addresses, for those that have no verbs headers. In every build, with
 * or without the verbs fabric.
 */
#ifndef RTRS_FABRIC_VERBS_ADDR_H
#define RTRS_FABRIC_VERBS_ADDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define VERBS_GID_LEN 16

/*
 * The address of a GID, with the service id of a port in the IB port space
 * (RDMA_PS_IB) and the default partition, as the kernel's peers use it.
 */
void verbs_gid_addr(const uint8_t gid[VERBS_GID_LEN], uint16_t port,
		    struct sockaddr_storage *ret, socklen_t *ret_len);
/* The same backwards; false: not AF_IB. */
bool verbs_addr_gid(const struct sockaddr_storage *ss,
		    uint8_t ret_gid[VERBS_GID_LEN], uint16_t *ret_port);

#endif
