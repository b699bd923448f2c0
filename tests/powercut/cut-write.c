/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * cut-write DEVICE PLAN WRITES SEED: writes numbered blocks at random, several
 * at once, with a flush or FUA now and then; see plan.h. Each batch touches a
 * block once. PLAN gets the block of each number. Exit status 1 and a line if
 * an I/O fails.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "rtrs/base/util.h"
#include "tests/powercut/plan.h"

#define MAX_BATCH  12 /* writes at once */
#define MAX_BLOCKS 2  /* of one write */

struct write {
	pthread_t thread;
	int fd;
	uint64_t block;
	unsigned n;
	int flags; /* of pwritev2 */
	struct cut_block *buf;
	int err;
};

static uint64_t rng;

static unsigned
pick(unsigned n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (unsigned)((rng >> 11) % n);
}

static int
die(const char *what, int err)
{
	fprintf(stderr, "cut-write: %s: %s\n", what, strerror(err));
	return 1;
}

static void *
write_main(void *arg)
{
	struct write *w = arg;
	struct iovec iov = {w->buf, (size_t)w->n * CUT_BLOCK};
	ssize_t r = pwritev2(w->fd, &iov, 1, (off_t)(w->block * CUT_BLOCK),
			     w->flags);

	w->err = r < 0 ? errno : (size_t)r != iov.iov_len ? EIO : 0;
	return NULL;
}

/* The blocks [block, block + n) have no other writer in this batch. */
static bool
is_free(const struct write *w, unsigned n_writes, uint64_t block, unsigned n)
{
	for (unsigned i = 0; i < n_writes; i++)
		if (block < w[i].block + w[i].n && w[i].block < block + n)
			return false;
	return true;
}

/* All of them at once; the first error. */
static int
run_batch(struct write *w, unsigned n)
{
	int err = 0;

	for (unsigned i = 0; i < n; i++) {
		err = pthread_create(&w[i].thread, NULL, write_main, &w[i]);
		if (err)
			exit(die("pthread_create", err));
	}
	for (unsigned i = 0; i < n; i++) {
		pthread_join(w[i].thread, NULL);
		if (w[i].err)
			err = w[i].err;
	}
	return err;
}

static int
run(int fd, FILE *plan, uint64_t n_blocks, uint64_t writes)
{
	struct write w[MAX_BATCH];
	struct cut_head h = {.magic = CUT_MAGIC};
	int err;

	memset(w, 0, sizeof(w));
	for (unsigned i = 0; i < MAX_BATCH; i++) {
		w[i].fd = fd;
		if (posix_memalign((void **)&w[i].buf, CUT_BLOCK,
				   (size_t)MAX_BLOCKS * CUT_BLOCK))
			return die("memory", ENOMEM);
	}
	while (h.seq < writes) {
		unsigned n = 1 + pick(MAX_BATCH), what = pick(10);
		uint64_t seqs[MAX_BATCH];
		unsigned used = 0;

		/* The write that is forced is alone, so its number is known. */
		if (what == 0)
			n = 1;
		for (unsigned i = 0; i < n; i++) {
			unsigned len = what == 0 ? 1 : 1 + pick(MAX_BLOCKS);
			uint64_t at = pick((unsigned)(n_blocks - MAX_BLOCKS));

			if (!is_free(w, used, at, len))
				continue;
			w[used].block = at;
			w[used].n = len;
			w[used].flags = what == 0 ? RWF_DSYNC : 0;
			for (unsigned k = 0; k < len; k++) {
				uint32_t b = (uint32_t)(at + k);

				h.block = b;
				h.seq++;
				cut_block_make(&w[used].buf[k], &h);
				if (fwrite(&b, sizeof(b), 1, plan) != 1)
					return die("plan", errno);
			}
			seqs[used++] = h.seq;
		}
		err = run_batch(w, used);
		if (err)
			return die("write", err);
		if (what == 0) {
			h.forced = seqs[0];
		} else if (what < 5) {
			if (fdatasync(fd))
				return die("fdatasync", errno);
			h.flushed = h.seq;
		}
	}
	for (unsigned i = 0; i < MAX_BATCH; i++)
		free(w[i].buf);
	return fdatasync(fd) ? die("fdatasync", errno) : 0;
}

int
main(int argc, char **argv)
{
	uint64_t size;
	FILE *plan;
	int fd, rc;

	if (argc != 5) {
		fprintf(stderr, "usage: cut-write DEVICE PLAN WRITES SEED\n");
		return 2;
	}
	rng = strtoull(argv[4], NULL, 0) * 2 + 1;
	fd = open(argv[1], O_RDWR | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return die(argv[1], errno);
	if (ioctl(fd, BLKGETSIZE64, &size))
		return die(argv[1], errno);
	plan = fopen(argv[2], "we");
	if (!plan)
		return die(argv[2], errno);
	rc = run(fd, plan, size / CUT_BLOCK, strtoull(argv[3], NULL, 0));
	if (fclose(plan) && !rc)
		rc = die(argv[2], errno);
	close(fd);
	return rc;
}
