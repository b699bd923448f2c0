/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Addresses of listeners and paths: numbers into sockaddrs, and sockaddrs into
 * the text that people write. The scheme names the fabric: "ip:" and "gid:"
 * are the verbs fabric, as in the kernel; "tcp:" is the tcp fabric.
 */
#ifndef RTRS_ADDR_H
#define RTRS_ADDR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct fabric_ops;

#define RTRS_ADDR_TEXT_MAX 96

/*
 * "tcp:192.0.2.1:1234", "ip:[fe80::1%eth0]:1234", "gid:[fe80::1]:1234": what
 * --listen and path= take. A total function; false: the family is unknown, and
 * the text says so.
 */
bool rtrs_addr_text(const struct fabric_ops *fabric,
		    const struct sockaddr_storage *ss,
		    char ret[RTRS_ADDR_TEXT_MAX]);

/* The same without port and brackets, as the kernel writes it in sysfs. */
void rtrs_addr_host_text(const struct fabric_ops *fabric,
			 const struct sockaddr_storage *ss,
			 char ret[RTRS_ADDR_TEXT_MAX]);
/* 0: the family has none. */
unsigned rtrs_addr_port(const struct sockaddr_storage *ss);

/*
 * IPv4, or IPv6 with the interface of a link-local address behind a "%".
 * -EINVAL, with words in err.
 */
int rtrs_addr_parse_ip(const char *host, uint16_t port,
		       struct sockaddr_storage *ret, socklen_t *ret_len,
		       char *err, size_t err_len);
/* A GID, which is written like an IPv6 address. The same errors. */
int rtrs_addr_parse_gid(const char *host, uint16_t port,
			struct sockaddr_storage *ret, socklen_t *ret_len,
			char *err, size_t err_len);

/*
 * The bare address, without port and interface: IPv4 in its mapped form
 * (::ffff:a.b.c.d), IPv6, or a GID. OTHER: neither; ret is zeroes.
 */
enum rtrs_addr_kind {
	RTRS_ADDR_OTHER,
	RTRS_ADDR_IP,
	RTRS_ADDR_GID,
};
#define RTRS_ADDR_BYTES 16
enum rtrs_addr_kind rtrs_addr_bytes(const struct sockaddr_storage *ss,
				    uint8_t ret[RTRS_ADDR_BYTES]);

/*
 * Do they name the same interface, whatever the port? IPv4 is the same as its
 * mapped form. Equal link-local addresses of two interfaces are not the same.
 */
bool rtrs_addr_same_host(const struct sockaddr_storage *a,
			 const struct sockaddr_storage *b);

#endif
