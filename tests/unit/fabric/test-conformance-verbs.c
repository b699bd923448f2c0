/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The fabric contract, kept by the verbs fabric between contexts of this
 * process on one RDMA device. RNBD_TEST_RDMA_ADDR is an IP address of that
 * device; without it there is nothing to test on, and that is said.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <netinet/in.h>
#include <sys/random.h>

#include "tests/unit/fabric/conformance.h"

/* Nobody listens there: it is the port of a service that has no RDMA. */
#define DEAD_PORT 9

static struct sockaddr_storage own;
static socklen_t own_len;

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

static void
log_line(void *user, enum log_level level, const char *line)
{
	(void)user;
	fprintf(stderr, "%s: %s\n", log_level_name(level), line);
}

static const struct log verbose = {.sink = log_line,
				   .threshold = LOG_LVL_DEBUG};

static const struct log *
log_of(int side)
{
	(void)side;
	return getenv("RNBD_TEST_VERBOSE") ? &verbose : NULL;
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
with_port(struct sockaddr_storage *ret, unsigned port)
{
	*ret = own;
	if (own.ss_family == AF_INET)
		((struct sockaddr_in *)ret)->sin_port = htons((uint16_t)port);
	else
		((struct sockaddr_in6 *)ret)->sin6_port = htons((uint16_t)port);
	return own_len;
}

static socklen_t
listen_addr(struct sockaddr_storage *ret)
{
	return with_port(ret, 0);
}

static socklen_t
dead_addr(struct sockaddr_storage *ret)
{
	return with_port(ret, DEAD_PORT);
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
		fds[i].fd = fabric_verbs.ctx_fd(ctx[i]);
		fds[i].events = POLLIN;
		some |= fabric_verbs.ctx_arm(ctx[i]);
		deadline =
			time_min(deadline, fabric_verbs.ctx_deadline(ctx[i]));
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
	return wait_ms(ctx, n, 20000);
}

static void
settle(struct fabric_ctx *const *ctx, int n)
{
	int i, round;

	/* Polled results may stay, so that it need not fall quiet. */
	for (round = 0; round < 20; round++) {
		if (!wait_ms(ctx, n, 20))
			break;
		for (i = 0; i < n; i++)
			fabric_verbs.ctx_poll(ctx[i], now());
	}
}

static struct conf_driver drv = {
	.ops = &fabric_verbs,
	.inv_is_not_answered = true,
	/* Guests are slow, and wait for each other. */
	.connect_timeout_ms = 15000,
	.setup = setup,
	.teardown = teardown,
	.priv = priv,
	.log = log_of,
	.rng = rng,
	.now = now,
	.listen_addr = listen_addr,
	.dead_addr = dead_addr,
	.wait = wait_,
	.settle = settle,
	.rounds = 2,
};

static int
parse_addr(const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
		memcpy(&own, &in, sizeof(in));
		own_len = sizeof(in);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
		memcpy(&own, &in6, sizeof(in6));
		own_len = sizeof(in6);
		return 0;
	}
	fprintf(stderr, "RNBD_TEST_RDMA_ADDR: '%s' is not an IP address\n",
		text);
	return -1;
}

int
main(void)
{
	const char *text = getenv("RNBD_TEST_RDMA_ADDR");
	SRunner *sr;
	int failed;

	if (!text) {
		printf("1..0 # SKIP RNBD_TEST_RDMA_ADDR names no RDMA device: "
		       "the verbs fabric was NOT tested\n");
		return EXIT_SUCCESS;
	}
	if (parse_addr(text) < 0)
		return EXIT_FAILURE;
	sr = srunner_create(conf_suite("verbs", &drv));
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
