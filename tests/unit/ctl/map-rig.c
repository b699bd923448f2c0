/* SPDX-License-Identifier: BSD-3-Clause */
#include "map-rig.h"

#include <check.h>
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "/tmp/rnbd-map.XXXXXX";

void
rig_setup(void)
{
	strcpy(root + strlen(root) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(root));
	ck_assert_int_eq(setenv("RNBD_ROOT", root, 1), 0);
}

static int
remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	return remove(path);
}

void
rig_teardown(void)
{
	ck_assert_int_eq(nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

const char *
rig_path(const char *path)
{
	static char full[512];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return full;
}

void
rig_write(const char *path, const char *text)
{
	char full[512];
	FILE *f;

	snprintf(full, sizeof(full), "%s", rig_path(path));
	for (char *p = full + strlen(root) + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		ck_assert(!mkdir(full, 0755) || errno == EEXIST);
		*p = '/';
	}
	f = fopen(full, "we");
	ck_assert_ptr_nonnull(f);
	ck_assert_int_ge(fputs(text, f), 0);
	ck_assert_int_eq(fclose(f), 0);
}

void
rig_remove(const char *path)
{
	ck_assert_int_eq(unlink(rig_path(path)), 0);
}

void
rig_nbd(int index, int pid, uint64_t bytes)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "/dev/nbd%d", index);
	rig_write(path, "");
	snprintf(path, sizeof(path), "/sys/block/nbd%d/size", index);
	snprintf(text, sizeof(text), "%" PRIu64 "\n", bytes / 512);
	rig_write(path, text);
	snprintf(path, sizeof(path), "/sys/block/nbd%d/pid", index);
	snprintf(text, sizeof(text), "%d\n", pid);
	rig_write(path, text);
	if (!pid)
		rig_remove(path);
}
