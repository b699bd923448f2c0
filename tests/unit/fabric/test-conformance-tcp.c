/* SPDX-License-Identifier: BSD-3-Clause */
/* The fabric contract, kept by the tcp fabric over loopback, v4 and v6. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <netinet/in.h>
#include <sys/random.h>
#include <unistd.h>

#include "tests/unit/fabric/conformance.h"

static int family = AF_INET;

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

static void
setup(int round)
{
	(void)round;
}

static void
teardown(void)
{
}

static void *
priv(int side)
{
	(void)side;
	return NULL;
}

static void
fill(void *user, void *buf, size_t len)
{
	(void)user;
	ck_assert_int_eq((int)getrandom(buf, len, 0), (int)len);
}

static struct rng
rng(void)
{
	return (struct rng){.fill = fill};
}

static socklen_t
loopback(struct sockaddr_storage *ret)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_addr = IN6ADDR_LOOPBACK_INIT};

	memset(ret, 0, sizeof(*ret));
	if (family == AF_INET) {
		memcpy(ret, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(ret, &in6, sizeof(in6));
	return sizeof(in6);
}

/* A port that was free a moment ago: bound, asked for, and closed. */
static socklen_t
dead_addr(struct sockaddr_storage *ret)
{
	socklen_t len = loopback(ret);
	int fd = socket(family, SOCK_STREAM, 0);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (void *)ret, len), 0);
	ck_assert_int_eq(getsockname(fd, (void *)ret, &len), 0);
	close(fd);
	return len;
}

/* Waits for up to timeout_ms; true if there is something to poll. */
static bool
wait_ms(struct fabric_ctx *const *ctx, int n, int timeout_ms)
{
	struct pollfd fds[8];
	uint64_t deadline = TIME_NEVER, t;
	bool some = false;
	int i;

	ck_assert_int_le(n, 8);
	for (i = 0; i < n; i++) {
		fds[i].fd = fabric_tcp.ctx_fd(ctx[i]);
		fds[i].events = POLLIN;
		some |= fabric_tcp.ctx_arm(ctx[i]);
		deadline = time_min(deadline, fabric_tcp.ctx_deadline(ctx[i]));
	}
	if (some)
		return true;
	t = now();
	if (deadline <= t)
		return true;
	if (deadline - t < (uint64_t)timeout_ms * NSEC_PER_MSEC)
		timeout_ms = (int)((deadline - t) / NSEC_PER_MSEC) + 1;
	return poll(fds, (nfds_t)n, timeout_ms) > 0 || now() >= deadline;
}

static bool
wait_(struct fabric_ctx *const *ctx, int n)
{
	return wait_ms(ctx, n, 10000);
}

static void
settle(struct fabric_ctx *const *ctx, int n)
{
	int i, round;

	/* Polled results may stay, so that it need not fall quiet. */
	for (round = 0; round < 20; round++) {
		if (!wait_ms(ctx, n, 5))
			break;
		for (i = 0; i < n; i++)
			fabric_tcp.ctx_poll(ctx[i], now());
	}
}

static const struct conf_driver drv = {
	.ops = &fabric_tcp,
	.completes_when_sent = true,
	.setup = setup,
	.teardown = teardown,
	.priv = priv,
	.rng = rng,
	.now = now,
	.listen_addr = loopback,
	.dead_addr = dead_addr,
	.wait = wait_,
	.settle = settle,
	.rounds = 2,
};

int
main(int argc, char **argv)
{
	SRunner *sr;
	int failed;

	if (argc > 1 && !strcmp(argv[1], "ipv6"))
		family = AF_INET6;
	sr = srunner_create(conf_suite("tcp", &drv));
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
