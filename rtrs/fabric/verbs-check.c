/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/fabric/verbs-check.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NODE_CM    "/dev/infiniband/rdma_cm"
#define NODE_VERBS "/dev/infiniband"
#define SEE        "see PERMISSIONS in rnbd-gatewayd(8)"

__attribute__((format(printf, 4, 5))) static int
bad(int err, char *why, size_t why_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, why_len, fmt, ap);
	va_end(ap);
	return err;
}

/* Entries of a directory that begin so; the first of them into ret. */
static unsigned
count(const char *root, const char *path, const char *prefix, char ret[256])
{
	char full[PATH_MAX];
	struct dirent *de;
	unsigned n = 0;
	DIR *dir;

	snprintf(full, sizeof(full), "%s%s", root, path);
	dir = opendir(full);
	if (!dir)
		return 0;
	while ((de = readdir(dir))) {
		if (de->d_name[0] == '.' ||
		    strncmp(de->d_name, prefix, strlen(prefix)))
			continue;
		if (!n++)
			snprintf(ret, 256, "%s", de->d_name);
	}
	closedir(dir);
	return n;
}

static int
try_node(const char *root, const char *path)
{
	char full[PATH_MAX];

	snprintf(full, sizeof(full), "%s%s", root, path);
	return access(full, R_OK | W_OK) ? -errno : 0;
}

int
verbs_check(const char *root, char *why, size_t why_len)
{
	char name[256], node[300];
	int err;

	if (!count(root, "/sys/class/infiniband", "", name))
		return bad(-ENODEV, why, why_len,
			   "this machine has no RDMA device; load a driver, "
			   "such as soft-RoCE (rdma link add rxe0 type rxe "
			   "netdev eth0), or use tcp:");
	if (!count(root, NODE_VERBS, "uverbs", name))
		return bad(
			-ENOENT, why, why_len,
			"RDMA is not open to programs, there is no " NODE_VERBS
			"/uverbs*; load module ib_uverbs");
	err = try_node(root, NODE_CM);
	if (err == -ENOENT)
		return bad(-ENOENT, why, why_len,
			   "RDMA is not open to programs, there is no " NODE_CM
			   "; load module rdma_ucm");
	if (err)
		return bad(-EACCES, why, why_len,
			   "no permission to use " NODE_CM "; " SEE);
	snprintf(node, sizeof(node), NODE_VERBS "/%s", name);
	if (try_node(root, node))
		return bad(-EACCES, why, why_len,
			   "no permission to use %s; " SEE, node);
	return 0;
}
