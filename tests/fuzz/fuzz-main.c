/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Runs a fuzz target without libFuzzer: over each file of a corpus, over all
 * its truncations and over a number of mutations. The mutations depend on the
 * file and their number only, so a failure comes back at the next run; the one
 * that is running is written out when the target aborts.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>

#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/proto-test.h"

#define INPUT_MAX 65536

static struct {
	const char *file;
	unsigned long mutation; /* 0: as in the file */
	const uint8_t *data;
	size_t size;
} now;

/* Also called for a fault at the fence: only write(2)-like calls are safe. */
static void
on_fatal(int sig)
{
	char line[4200];
	int n = snprintf(line, sizeof(line),
			 "signal %d: file %s, mutation %lu, %zu bytes:\n", sig,
			 now.file, now.mutation, now.size);

	for (size_t i = 0; i < now.size && n < 4190; i++)
		n += snprintf(line + n, 3, "%02x", now.data[i]);
	line[n++] = '\n';
	(void)!write(STDERR_FILENO, line, (size_t)n);
	signal(sig, SIG_DFL);
	raise(sig);
}

static void
run(const struct fence *f, const uint8_t *data, size_t size)
{
	now.data = fence_copy(f, data, size);
	now.size = size;
	LLVMFuzzerTestOneInput(now.data, size);
}

static size_t
mutate(struct rng *g, uint8_t *data, size_t size)
{
	static const uint8_t edge[] = {0x00, 0x01, 0x7f, 0x80,
				       0xfe, 0xff, '/',  '.'};
	unsigned steps = 1 + (unsigned)rng_below(g, 4);

	while (steps--) {
		uint64_t kind = rng_below(g, 6);
		size_t at = size ? rng_below(g, size) : 0;

		if (kind == 0 && size) {
			data[at] ^= (uint8_t)(1u << rng_below(g, 8));
		} else if (kind == 1 && size) {
			data[at] = edge[rng_below(g, sizeof(edge))];
		} else if (kind == 2 && size) {
			data[at] = (uint8_t)rng_next(g);
		} else if (kind == 3) {
			size = at;
		} else if (kind == 4) {
			size_t n = 1 + rng_below(g, 32);

			if (size + n > INPUT_MAX)
				n = INPUT_MAX - size;
			rng_fill(g, data + size, n);
			size += n;
		} else if (kind == 5 && size) {
			/* Counts and lengths are small or huge. */
			memset(data + at, edge[rng_below(g, 6)],
			       rng_below(g, size - at < 8 ? size - at : 8));
		}
	}
	return size;
}

static int
run_file(const struct fence *f, const char *file, unsigned long mutations)
{
	static uint8_t seed[INPUT_MAX], data[INPUT_MAX];
	FILE *in = fopen(file, "rb");
	struct rng g = {.state = 0};
	size_t size;
	bool bad;

	if (!in) {
		perror(file);
		return -errno;
	}
	size = fread(seed, 1, sizeof(seed), in);
	bad = ferror(in) || fgetc(in) != EOF;
	fclose(in);
	if (bad) {
		fprintf(stderr, "%s: unreadable or too long\n", file);
		return -EFBIG;
	}
	now.file = file;
	now.mutation = 0;
	for (size_t n = 0; n <= size; n++)
		run(f, seed, n);
	for (size_t i = 0; i < size; i++)
		g.state = g.state * 31 + seed[i];
	for (now.mutation = 1; now.mutation <= mutations; now.mutation++) {
		memcpy(data, seed, size);
		run(f, data, mutate(&g, data, size));
	}
	return 0;
}

static int
run_dir(const char *dir, unsigned long mutations)
{
	struct fence f = fence_new(INPUT_MAX);
	struct dirent **list;
	int n = scandir(dir, &list, NULL, alphasort), files = 0, rc = 0;

	if (n < 0) {
		perror(dir);
		fence_free(&f);
		return -errno;
	}
	for (int i = 0; i < n; i++) {
		char file[4096];

		snprintf(file, sizeof(file), "%s/%s", dir, list[i]->d_name);
		if (list[i]->d_name[0] != '.' && rc == 0) {
			rc = run_file(&f, file, mutations);
			files++;
		}
		free(list[i]);
	}
	free(list);
	fence_free(&f);
	if (rc == 0 && files == 0) {
		fprintf(stderr, "%s: no corpus\n", dir);
		return -ENOENT;
	}
	printf("%s: %d files, each with %lu mutations\n", dir, files,
	       mutations);
	return rc;
}

int
main(int argc, char **argv)
{
	unsigned long mutations = 10000;

	if (argc == 3)
		mutations = strtoul(argv[2], NULL, 10);
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: %s CORPUS-DIR [MUTATIONS]\n", argv[0]);
		return 2;
	}
	signal(SIGABRT, on_fatal);
	signal(SIGSEGV, on_fatal);
	signal(SIGBUS, on_fatal);
	return run_dir(argv[1], mutations) ? EXIT_FAILURE : EXIT_SUCCESS;
}
