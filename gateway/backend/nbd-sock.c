/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/backend/nbd-sock.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "rtrs/base/util.h"

/* The end of an idle connection: after as long as that of a busy one. */
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_INTV_S 5
#define KEEPALIVE_CNT                                                          \
	((NBD_SILENCE_MS / 1000 - KEEPALIVE_IDLE_S) / KEEPALIVE_INTV_S)

/* One packet may get lost, or be answered just now. */
#define MIN_TRIES 3

/*
 * No TCP_USER_TIMEOUT: Linux then also ends a connection whose other end says,
 * each time it is asked, that it has no room. That is a server whose disk
 * hangs; it is not gone, and still has what it was sent. Requests sent again to
 * it would be executed twice, the second time perhaps after newer ones.
 */
void
nbd_sock_init(int fd)
{
	const struct {
		int level, name, value;
	} opts[] = {
		{SOL_SOCKET, SO_KEEPALIVE, 1},
		{IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S},
		{IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTV_S},
		{IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_CNT},
	};

	/* A unix socket knows none of these, and needs none. */
	for (size_t i = 0; i < ARRAY_SIZE(opts); i++)
		(void)setsockopt(fd, opts[i].level, opts[i].name,
				 &opts[i].value, sizeof(opts[i].value));
}

bool
nbd_sock_is_tcp(int fd)
{
	int protocol = 0;
	socklen_t len = sizeof(protocol);

	return !getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) &&
	       protocol == IPPROTO_TCP;
}

/*
 * The time alone does not tell. A connection that was idle has heard nothing
 * for long, and one whose other end has no room is asked at intervals that grow
 * to two minutes, each time with an answer. Hence the tries: sent again, and
 * nothing came, more than once. They are counted from when the silence began:
 * answers that acknowledge nothing new do not make the system forget them.
 */
bool
nbd_silence_is_death(struct nbd_silence *s, const struct nbd_line *line,
		     uint64_t now, uint64_t limit)
{
	bool heard = !s->since || line->heard_ns <= now - s->looked_at;

	s->looked_at = now;
	if (heard || !line->tries) {
		s->since = now;
		s->tries = line->tries;
		return false;
	}
	return now - s->since >= limit && line->heard_ns >= limit &&
	       line->tries >= s->tries + MIN_TRIES;
}

bool
nbd_sock_is_dead(int fd, struct nbd_silence *s, uint64_t now, uint64_t limit)
{
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);
	struct nbd_line line;
	uint32_t heard_ms;

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
		return false;
	/* Data that acknowledge nothing new are not counted as an answer. */
	heard_ms = info.tcpi_last_ack_recv < info.tcpi_last_data_recv
			   ? info.tcpi_last_ack_recv
			   : info.tcpi_last_data_recv;
	line = (struct nbd_line){
		.tries = (unsigned)info.tcpi_retransmits + info.tcpi_probes,
		.heard_ns = heard_ms * NSEC_PER_MSEC,
	};
	return nbd_silence_is_death(s, &line, now, limit);
}

void
nbd_sock_cut(int fd)
{
	/* Linux resets a TCP connection and empties its queue; close() would go
	 * on sending what is in it. */
	const struct sockaddr nobody = {.sa_family = AF_UNSPEC};

	if (connect(fd, &nobody, sizeof(nobody)) < 0)
		(void)shutdown(fd, SHUT_RDWR);
}
