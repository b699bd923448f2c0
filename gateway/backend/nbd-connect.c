/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/backend/nbd-connect.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "gateway/backend/nbd-sock.h"

/* The connections behind the first, to a server that was there just now. */
#define MORE_CONNS_MS 2000

/* What NBD says of a server that announces no limits. */
#define MIN_BLOCK_DEFAULT       1
#define PREFERRED_BLOCK_DEFAULT 4096
#define MAX_PAYLOAD_DEFAULT     (32u << 20)

/* libnbd itself refuses more at once: nbd_get_block_size(3). */
#define MAX_PAYLOAD (64u << 20)

static uint64_t
clock_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

/* ---------------------------------------------------------------- errors */

const char *
nbd_error_words(void)
{
	const char *msg = nbd_get_error();
	const char *colon = msg ? strstr(msg, ": ") : NULL;

	/* libnbd names its own function first; nobody here knows it. */
	return colon && !strncmp(msg, "nbd_", 4) ? colon + 2 : msg;
}

static int
say_libnbd(const struct nbd_params *p, char err_text[GW_TEXT_MAX])
{
	const char *msg = nbd_error_words();
	int err = nbd_get_errno();
	char text[GW_TEXT_MAX];

	gw_text_printable(text, sizeof(text), msg ? msg : "unknown error");
	return gw_text_err(err_text, err > 0 ? -err : -EIO, "NBD server %s: %s",
			   gw_name_text(p->where).s, text);
}

/* ------------------------------------------------------------ connecting */

/* 0: h has something to do; -ETIMEDOUT, -ECANCELED. */
static int
wait_for(struct nbd_handle *h, int cancel_fd, uint64_t deadline)
{
	unsigned dir = nbd_aio_get_direction(h);
	struct pollfd fds[2] = {
		{.fd = nbd_aio_get_fd(h)},
		{.fd = cancel_fd, .events = POLLIN},
	};
	uint64_t now = clock_now();
	int n;

	if (dir & LIBNBD_AIO_DIRECTION_READ)
		fds[0].events |= POLLIN;
	if (dir & LIBNBD_AIO_DIRECTION_WRITE)
		fds[0].events |= POLLOUT;
	if (now >= deadline)
		return -ETIMEDOUT;
	n = poll(fds, 2, (int)((deadline - now) / NSEC_PER_MSEC + 1));
	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (fds[1].revents)
		return -ECANCELED;
	if (!n)
		return -ETIMEDOUT;
	/* A hang-up is learned by reading, a failed connect by writing. */
	if (fds[0].revents & POLLIN ||
	    (fds[0].revents && dir & LIBNBD_AIO_DIRECTION_READ))
		(void)nbd_aio_notify_read(h);
	else if (fds[0].revents)
		(void)nbd_aio_notify_write(h);
	return 0;
}

static int
connect_one(const struct nbd_params *p, int cancel_fd, uint64_t wait_ns,
	    struct nbd_handle **ret, char err_text[GW_TEXT_MAX])
{
	uint64_t deadline = clock_now() + wait_ns;
	struct nbd_handle *h = nbd_create();
	int err = 0;

	if (!h)
		return say_libnbd(p, err_text);
	/* The URI is the administrator's, who may name files. */
	if (nbd_set_uri_allow_local_file(h, true) < 0 ||
	    /* A buffer belongs to one client: nothing of others is in it. */
	    nbd_set_pread_initialize(h, false) < 0) {
		err = say_libnbd(p, err_text);
		goto err;
	}
	/* Its failure shows in the state: the handle is not connecting. */
	if (nbd_aio_connect_uri(h, p->uri) < 0) {
		err = say_libnbd(p, err_text);
		goto err;
	}
	while (!err && nbd_aio_is_connecting(h))
		err = wait_for(h, cancel_fd, deadline);
	if (err == -ETIMEDOUT)
		gw_text_err(err_text, err,
			    "NBD server %s: no answer within %llu s",
			    gw_name_text(p->where).s,
			    (unsigned long long)(wait_ns / NSEC_PER_SEC));
	else if (err)
		gw_text_err(err_text, err, "NBD server %s: %s",
			    gw_name_text(p->where).s, strerrordesc_np(-err));
	else if (!nbd_aio_is_ready(h))
		err = say_libnbd(p, err_text);
	if (err)
		goto err;
	nbd_sock_init(nbd_aio_get_fd(h));
	*ret = h;
	return 0;
err:
	nbd_close(h);
	return err;
}

/* ----------------------------------------------------------------- facts */

static uint32_t
block_size(struct nbd_handle *h, int which, uint32_t by_default)
{
	int64_t v = nbd_get_block_size(h, which);

	return v > 0 && v <= UINT32_MAX ? (uint32_t)v : by_default;
}

static int
get_facts(const struct nbd_params *p, struct nbd_handle *h,
	  struct nbd_facts *ret, char err_text[GW_TEXT_MAX])
{
	int64_t size = nbd_get_size(h);
	uint32_t block;

	if (size < 0)
		return say_libnbd(p, err_text);
	/* -1, not known, is no. */
	*ret = (struct nbd_facts){
		.size = (uint64_t)size,
		.min_block =
			block_size(h, LIBNBD_SIZE_MINIMUM, MIN_BLOCK_DEFAULT),
		.preferred_block = block_size(h, LIBNBD_SIZE_PREFERRED,
					      PREFERRED_BLOCK_DEFAULT),
		.max_payload =
			block_size(h, LIBNBD_SIZE_MAXIMUM, MAX_PAYLOAD_DEFAULT),
		.read_only = nbd_is_read_only(h) > 0,
		.flush = nbd_can_flush(h) > 0,
		.fua = nbd_can_fua(h) > 0,
		.trim = nbd_can_trim(h) > 0,
		.zero = nbd_can_zero(h) > 0,
		.multi_conn = nbd_can_multi_conn(h) > 0,
		.rotational = nbd_is_rotational(h) > 0,
	};
	if (ret->max_payload > MAX_PAYLOAD)
		ret->max_payload = MAX_PAYLOAD;
	/* Pieces begin at blocks. */
	block = ret->min_block < 512 ? 512 : ret->min_block;
	ret->max_payload -= ret->max_payload % block;
	return 0;
}

static bool
same_facts(const struct nbd_facts *a, const struct nbd_facts *b)
{
	return a->size == b->size && a->min_block == b->min_block &&
	       a->max_payload == b->max_payload &&
	       a->read_only == b->read_only && a->flush == b->flush &&
	       a->fua == b->fua && a->trim == b->trim && a->zero == b->zero &&
	       a->multi_conn == b->multi_conn;
}

/*
 * More connections are for speed: a server that limits them, or answers
 * otherwise on the next one, is used with those it gave.
 */
static int
connect_more(const struct nbd_params *p, int cancel_fd, struct nbd_set *set)
{
	uint64_t wait_ns = MORE_CONNS_MS * NSEC_PER_MSEC;
	char unused[GW_TEXT_MAX];
	struct nbd_facts facts;

	if (wait_ns > p->connect_ns)
		wait_ns = p->connect_ns;
	while (set->n < p->connections) {
		struct nbd_handle *h;
		int err = connect_one(p, cancel_fd, wait_ns, &h, unused);

		if (err)
			return err == -ECANCELED ? err : 0;
		if (get_facts(p, h, &facts, unused) ||
		    !same_facts(&facts, &set->facts)) {
			nbd_handle_close(h);
			return 0;
		}
		set->h[set->n++] = h;
	}
	return 0;
}

int
nbd_set_connect(const struct nbd_params *p, int cancel_fd, struct nbd_set *ret,
		char err_text[GW_TEXT_MAX])
{
	struct nbd_set set = {0};
	int err = connect_one(p, cancel_fd, p->connect_ns, &set.h[0], err_text);

	if (err)
		return err;
	set.n = 1;
	err = get_facts(p, set.h[0], &set.facts, err_text);
	if (!err && set.facts.multi_conn) {
		err = connect_more(p, cancel_fd, &set);
		if (err)
			gw_text_err(err_text, err, "cancelled");
	}
	if (err)
		nbd_set_close(&set);
	else
		*ret = set;
	return err;
}

void
nbd_handle_close(struct nbd_handle *h)
{
	/* Without waiting: a farewell that does not fit is not sent. */
	if (h && nbd_aio_is_ready(h))
		(void)nbd_aio_disconnect(h, 0);
	nbd_close(h);
}

void
nbd_set_close(struct nbd_set *set)
{
	while (set->n)
		nbd_handle_close(set->h[--set->n]);
}
