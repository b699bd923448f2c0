/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * From the name of an RDMA device to the addresses of its network interfaces,
 * by sysfs.
 */
#ifndef GATEWAY_RDMA_DEV_H
#define GATEWAY_RDMA_DEV_H

#include <net/if.h>
#include <stddef.h>
#include <sys/socket.h>

#define RDMA_DEV_SYSFS      "/sys/class/infiniband"
#define RDMA_DEV_MAX_ADDRS  64
#define RDMA_DEV_MAX_IFACES 32

/*
 * The interfaces of device name; their number, which may be 0. -ENOENT: there
 * is no such device.
 */
int rdma_dev_interfaces(const char *sysfs, const char *name,
			char ret[RDMA_DEV_MAX_IFACES][IF_NAMESIZE]);
/*
 * Their IPv4 and IPv6 addresses, without ports; their number, at least 1.
 * -ENODEV, with words in err.
 */
int rdma_dev_addrs(const char *sysfs, const char *name,
		   struct sockaddr_storage ret[RDMA_DEV_MAX_ADDRS], char *err,
		   size_t err_len);

#endif
