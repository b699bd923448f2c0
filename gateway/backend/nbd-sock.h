/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The socket below a connection to an NBD server: whether the other end is
 * still there, and how to end it so that nothing is sent any more.
 */
#ifndef GATEWAY_BACKEND_NBD_SOCK_H
#define GATEWAY_BACKEND_NBD_SOCK_H

#include <stdbool.h>
#include <stdint.h>

/* So long without a sign of life, and the other end is called gone. */
#define NBD_SILENCE_MS 30000

/* What was seen of one connection so far; zeroes: nothing. */
struct nbd_silence {
	uint64_t since; /* 0: not looked yet */
	uint64_t looked_at;
	unsigned tries; /* at since */
};

/* What the system knows of a TCP connection at one moment. */
struct nbd_line {
	/* Segments and probes that went out again because no answer came; some
	 * that were answered since may be among them. */
	unsigned tries;
	uint64_t heard_ns; /* so long ago anything came from the other end */
};

/* Keepalive, for connections on which nothing is under way. */
void nbd_sock_init(int fd);
bool nbd_sock_is_tcp(int fd);
/*
 * To be asked now and then while requests are under way: has the other end
 * been asked again and again for so long (ns), and not said a word? False for
 * what is not TCP.
 */
bool nbd_sock_is_dead(int fd, struct nbd_silence *s, uint64_t now,
		      uint64_t limit);
/* The same, of what the system said. */
bool nbd_silence_is_death(struct nbd_silence *s, const struct nbd_line *line,
			  uint64_t now, uint64_t limit);
/*
 * Ends the connection at once, without a farewell, and throws away what waits
 * in it to be sent. fd stays open; reading from it fails, or finds the end.
 */
void nbd_sock_cut(int fd);

#endif
