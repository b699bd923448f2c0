/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * relay: TCP links that can be cut, and that can deliver late.
 *
 *   relay LISTEN DEST [LISTEN DEST]...      each HOST:PORT of IPv4
 *
 * Prints "link I on HOST:PORT" for each, then obeys lines from standard input,
 * each answered by "ok", and ends with it. I counts from 0.
 *
 *   cut I          resets what is connected, and whoever connects
 *   stall I        takes all bytes and passes none on, ends included
 *   stall I up     the same towards DEST only
 *   orphan I MS    resets the clients; DEST gets what they had sent MS later,
 *                  and only then learns that they are gone. New ones pass.
 *   delay I MS     passes everything on, so much later
 *   mend I         passes on what was held, then works as at the beginning
 *   flap MS DOWN SEED [KINDS]
 *                  by itself: every MS each link has an even chance of a fault
 *                  of KINDS (letters: c s u o l, all by default), for DOWN ms
 *                  at most. "flap 0 0 0" ends it and mends all. l: "stall up"
 *                  for a part of the time, then "orphan": what was held when
 *                  the client gave up arrives when it has gone on long since.
 *   count          answers "faults N"
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_LINKS 64
#define CHUNK     65536
/* Held for one direction; more is left in the kernel. */
#define MAX_HELD  (64u << 20)
#define NEVER     UINT64_MAX

enum side {
	CLIENT,
	SERVER
};

struct chunk {
	struct chunk *next;
	uint64_t due; /* ms */
	size_t len, off;
	bool end; /* no bytes: the sender has closed */
	char data[];
};

/* What one side sent and the other has to get. */
struct flow {
	struct chunk *head, **tail;
	size_t held;
	bool ended; /* nothing more will be read */
};

struct pair {
	struct pair *next;
	struct link *link;
	int fd[2];           /* -1: closed */
	struct flow flow[2]; /* by sender */
	uint64_t orphan_due; /* CLIENT's bytes wait until then; 0: no orphan */
};

enum fault {
	NO_FAULT,
	CUT,
	STALL,
	STALL_UP
};

struct link {
	int fd;
	struct sockaddr_in dest;
	enum fault fault;
	uint64_t delay;
	uint64_t mend_at;
	uint64_t late; /* when mended, orphan for so long; 0: no */
};

static struct link links[MAX_LINKS];
static unsigned n_links, n_faults;
static struct pair *pairs;
static uint64_t now, flap_every, flap_down, flap_next = NEVER, rnd = 1;
static char flap_kinds[8];

static uint64_t
clock_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
die(const char *what)
{
	fprintf(stderr, "relay: %s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned
below(unsigned n)
{
	rnd ^= rnd << 13;
	rnd ^= rnd >> 7;
	rnd ^= rnd << 17;
	return (unsigned)((rnd >> 16) % n);
}

static struct sockaddr_in
parse_addr(const char *s)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	char host[64];
	unsigned port;

	if (sscanf(s, "%63[0-9.]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &a.sin_addr) != 1 || port > 65535) {
		fprintf(stderr, "relay: '%s' is not HOST:PORT\n", s);
		exit(2);
	}
	a.sin_port = htons((uint16_t)port);
	return a;
}

static void
close_side(struct pair *p, enum side s, bool reset)
{
	const struct linger lg = {.l_onoff = 1};

	if (p->fd[s] < 0)
		return;
	if (reset)
		setsockopt(p->fd[s], SOL_SOCKET, SO_LINGER, &lg, sizeof(lg));
	close(p->fd[s]);
	p->fd[s] = -1;
	p->flow[s].ended = true;
}

static void
drop_flow(struct flow *f)
{
	struct chunk *c;

	while ((c = f->head)) {
		f->head = c->next;
		free(c);
	}
	f->tail = &f->head;
	f->held = 0;
}

static void
cut_pair(struct pair *p)
{
	close_side(p, CLIENT, true);
	close_side(p, SERVER, true);
	drop_flow(&p->flow[CLIENT]);
	drop_flow(&p->flow[SERVER]);
}

/* Does what s sent have to wait? */
static uint64_t
due(const struct pair *p, enum side s, const struct chunk *c)
{
	const struct link *l = p->link;

	if (p->orphan_due)
		return p->orphan_due;
	if (l->fault == STALL || (l->fault == STALL_UP && s == CLIENT))
		return NEVER;
	return c->due;
}

static void
hold(struct pair *p, enum side s, const char *data, size_t len, bool end)
{
	struct flow *f = &p->flow[s];
	struct chunk *c = malloc(sizeof(*c) + len);

	if (!c)
		die("memory");
	*c = (struct chunk){
		.due = now + p->link->delay, .len = len, .end = end};
	if (len)
		memcpy(c->data, data, len);
	*f->tail = c;
	f->tail = &c->next;
	f->held += len;
}

/* Takes what s sends, as long as it sends. */
static void
take(struct pair *p, enum side s)
{
	static char buf[CHUNK];
	struct flow *f = &p->flow[s];
	ssize_t n;

	while (p->fd[s] >= 0 && !f->ended && f->held < MAX_HELD) {
		n = recv(p->fd[s], buf, sizeof(buf), MSG_DONTWAIT);
		if (n > 0) {
			hold(p, s, buf, (size_t)n, false);
			continue;
		}
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		f->ended = true;
		hold(p, s, NULL, 0, true);
		if (n < 0)
			close_side(p, s, true);
	}
}

/* Gives what s sent to the other side, as far as it is due and fits. */
static void
give(struct pair *p, enum side s)
{
	struct flow *f = &p->flow[s];
	int to = p->fd[!s];
	struct chunk *c;
	ssize_t n;

	while ((c = f->head) && due(p, s, c) <= now) {
		if (to < 0) {
			drop_flow(f);
			return;
		}
		if (c->end)
			shutdown(to, SHUT_WR);
		while (c->off < c->len) {
			n = send(to, c->data + c->off, c->len - c->off,
				 MSG_DONTWAIT | MSG_NOSIGNAL);
			if (n < 0 && (errno == EAGAIN || errno == EINTR))
				return;
			if (n < 0) {
				close_side(p, !s, true);
				drop_flow(f);
				return;
			}
			c->off += (size_t)n;
		}
		f->head = c->next;
		if (!f->head)
			f->tail = &f->head;
		f->held -= c->len;
		free(c);
	}
}

static bool
is_over(const struct pair *p)
{
	bool up = p->flow[CLIENT].ended && !p->flow[CLIENT].head;
	bool down = p->flow[SERVER].ended && !p->flow[SERVER].head;

	return (up && down) || (up && p->fd[CLIENT] < 0);
}

static void
reap(void)
{
	struct pair **at = &pairs, *p;

	while ((p = *at)) {
		if (!is_over(p)) {
			at = &p->next;
			continue;
		}
		*at = p->next;
		cut_pair(p);
		free(p);
	}
}

static void
accept_one(struct link *l)
{
	struct pair *p;
	int on = 1, fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC);

	if (fd < 0)
		return;
	p = calloc(1, sizeof(*p));
	if (!p)
		die("memory");
	p->link = l;
	p->fd[CLIENT] = fd;
	p->fd[SERVER] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	p->flow[CLIENT].tail = &p->flow[CLIENT].head;
	p->flow[SERVER].tail = &p->flow[SERVER].head;
	/* On loopback connect() does not block; a daemon that is away refuses.
	 */
	if (l->fault == CUT || p->fd[SERVER] < 0 ||
	    connect(p->fd[SERVER], (struct sockaddr *)&l->dest,
		    sizeof(l->dest)) < 0) {
		cut_pair(p);
		free(p);
		return;
	}
	for (int i = 0; i < 2; i++) {
		fcntl(p->fd[i], F_SETFL, O_NONBLOCK);
		setsockopt(p->fd[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
	p->next = pairs;
	pairs = p;
}

static void
link_fault(struct link *l, enum fault fault)
{
	l->fault = fault;
	l->mend_at = NEVER;
	n_faults += fault != NO_FAULT;
	if (fault != CUT)
		return;
	for (struct pair *p = pairs; p; p = p->next)
		if (p->link == l)
			cut_pair(p);
}

static void
link_orphan(struct link *l, uint64_t ms)
{
	n_faults++;
	for (struct pair *p = pairs; p; p = p->next) {
		if (p->link != l || p->orphan_due)
			continue;
		/* What it sent and has not been taken would go with the reset.
		 */
		take(p, CLIENT);
		if (!p->flow[CLIENT].ended)
			hold(p, CLIENT, NULL, 0, true);
		close_side(p, CLIENT, true);
		p->orphan_due = now + ms;
	}
}

static void
flap(void)
{
	if (now < flap_next)
		return;
	flap_next = now + flap_every;
	for (unsigned i = 0; i < n_links; i++) {
		struct link *l = &links[i];
		uint64_t ms = 1 + below((unsigned)flap_down);

		if (l->fault != NO_FAULT || below(2))
			continue;
		switch (flap_kinds[below((unsigned)strlen(flap_kinds))]) {
		case 'c':
			link_fault(l, CUT);
			break;
		case 's':
			link_fault(l, STALL);
			break;
		case 'u':
			link_fault(l, STALL_UP);
			break;
		case 'o':
			link_orphan(l, ms);
			break;
		case 'l':
			link_fault(l, STALL_UP);
			l->late = ms;
			ms = 1 + ms / 8;
			break;
		}
		l->mend_at = now + ms;
	}
}

static void
mend(struct link *l)
{
	if (l->late)
		link_orphan(l, l->late);
	l->late = 0;
	link_fault(l, NO_FAULT);
}

static void
end_flap(void)
{
	flap_next = NEVER;
	for (unsigned i = 0; i < n_links; i++)
		mend(&links[i]);
}

static void
obey(char *line)
{
	char word[16] = "", arg[16] = "", kinds[8] = "csuol";
	unsigned i = 0, ms = 0;
	unsigned long long seed;
	struct link *l;

	if (sscanf(line, "flap %u %u %llu %7s", &i, &ms, &seed, kinds) >= 3) {
		flap_every = i;
		flap_down = ms;
		rnd = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) | 1;
		strcpy(flap_kinds, kinds);
		flap_next = now;
		if (!i)
			end_flap();
		printf("ok\n");
		return;
	}
	if (!strncmp(line, "count", 5)) {
		printf("faults %u\n", n_faults);
		return;
	}
	if (sscanf(line, "%15s %u %15s", word, &i, arg) < 2 || i >= n_links) {
		printf("what?\n");
		return;
	}
	l = &links[i];
	ms = (unsigned)atoi(arg);
	if (!strcmp(word, "cut"))
		link_fault(l, CUT);
	else if (!strcmp(word, "stall"))
		link_fault(l, strcmp(arg, "up") ? STALL : STALL_UP);
	else if (!strcmp(word, "orphan"))
		link_orphan(l, ms);
	else if (!strcmp(word, "delay"))
		l->delay = ms;
	else if (!strcmp(word, "mend"))
		mend(l);
	printf("ok\n");
}

static void
read_commands(void)
{
	static char buf[4096];
	static size_t len;
	ssize_t n = read(STDIN_FILENO, buf + len, sizeof(buf) - 1 - len);
	char *nl;

	if (n <= 0)
		exit(0);
	len += (size_t)n;
	buf[len] = '\0';
	while ((nl = strchr(buf, '\n'))) {
		*nl = '\0';
		obey(buf);
		len -= (size_t)(nl + 1 - buf);
		memmove(buf, nl + 1, len + 1);
	}
}

/* Also what becomes due without a command. */
static void
move_bytes(void)
{
	for (unsigned i = 0; i < n_links; i++)
		if (links[i].mend_at <= now)
			mend(&links[i]);
	flap();
	for (struct pair *p = pairs; p; p = p->next) {
		take(p, CLIENT);
		take(p, SERVER);
		give(p, CLIENT);
		give(p, SERVER);
	}
	reap();
}

static int
wait_ms(void)
{
	uint64_t t = flap_next;

	for (unsigned i = 0; i < n_links; i++)
		if (links[i].mend_at < t)
			t = links[i].mend_at;
	for (struct pair *p = pairs; p; p = p->next)
		for (int s = 0; s < 2; s++)
			if (p->flow[s].head &&
			    due(p, (enum side)s, p->flow[s].head) < t)
				t = due(p, (enum side)s, p->flow[s].head);
	if (t == NEVER)
		return -1;
	/* What is due and is still there waits for room: POLLOUT tells. */
	return t > now ? (int)(t - now) : -1;
}

/* Waits for something to happen. Returns how many were watched. */
static void
wait_for_events(void)
{
	static struct pollfd *p;
	static unsigned cap;
	unsigned n = 0, need = 1 + n_links;

	for (struct pair *q = pairs; q; q = q->next)
		need += 2;
	if (need > cap) {
		cap = need * 2;
		p = realloc(p, cap * sizeof(*p));
		if (!p)
			die("memory");
	}
	p[n++] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
	for (unsigned i = 0; i < n_links; i++)
		p[n++] = (struct pollfd){.fd = links[i].fd, .events = POLLIN};
	for (struct pair *q = pairs; q; q = q->next)
		for (int s = 0; s < 2; s++) {
			const struct flow *in = &q->flow[s];
			const struct chunk *out = q->flow[!s].head;
			short ev = 0;

			if (!in->ended && in->held < MAX_HELD)
				ev |= POLLIN;
			if (out && due(q, (enum side) !s, out) <= now)
				ev |= POLLOUT;
			p[n++] = (struct pollfd){.fd = ev ? q->fd[s] : -1,
						 .events = ev};
		}
	fflush(stdout);
	if (poll(p, n, wait_ms()) < 0 && errno != EINTR)
		die("poll");
	now = clock_ms();
	if (p[0].revents)
		read_commands();
	for (unsigned i = 0; i < n_links; i++)
		if (p[1 + i].revents)
			accept_one(&links[i]);
}

static void
listen_on(struct link *l, const char *addr, const char *dest)
{
	struct sockaddr_in a = parse_addr(addr);
	socklen_t len = sizeof(a);
	char text[64];
	int on = 1;

	l->dest = parse_addr(dest);
	l->mend_at = NEVER;
	l->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		die("socket");
	setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(l->fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    listen(l->fd, 128) < 0)
		die(addr);
	if (getsockname(l->fd, (struct sockaddr *)&a, &len) < 0)
		die(addr);
	printf("link %td on %s:%u\n", l - links,
	       inet_ntop(AF_INET, &a.sin_addr, text, sizeof(text)),
	       ntohs(a.sin_port));
}

int
main(int argc, char **argv)
{
	if (argc < 3 || argc % 2 == 0 || argc > 1 + 2 * MAX_LINKS) {
		fprintf(stderr, "usage: relay LISTEN DEST [LISTEN DEST]...\n");
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int i = 1; i < argc; i += 2)
		listen_on(&links[n_links++], argv[i], argv[i + 1]);
	now = clock_ms();
	while (true) {
		wait_for_events();
		move_bytes();
	}
}
