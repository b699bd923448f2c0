/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/rdma-dev.h"

#include <dirent.h>
#include <errno.h>
#include <ifaddrs.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOAD_A_DRIVER                                                          \
	"load a driver, such as soft-RoCE: rdma link add rxe0 type rxe "       \
	"netdev eth0"

struct ifaces {
	char (*name)[IF_NAMESIZE];
	int n;
};

static void
add(struct ifaces *list, const char *name)
{
	if (!*name || strlen(name) >= IF_NAMESIZE ||
	    list->n == RDMA_DEV_MAX_IFACES)
		return;
	for (int i = 0; i < list->n; i++)
		if (!strcmp(list->name[i], name))
			return;
	strcpy(list->name[list->n++], name);
}

/* A file of one word. Unused entries of a GID table cannot be read. */
static void
add_from_file(struct ifaces *list, const char *path)
{
	char line[64] = "";
	FILE *f = fopen(path, "re");

	if (!f)
		return;
	if (fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		add(list, line);
	}
	fclose(f);
}

/* Calls fn for each entry of a directory; none if it is not there. */
static void
for_each_entry(struct ifaces *list, const char *path,
	       void (*fn)(struct ifaces *list, const char *path,
			  const char *entry))
{
	DIR *dir = opendir(path);
	struct dirent *de;

	if (!dir)
		return;
	while ((de = readdir(dir)))
		if (de->d_name[0] != '.')
			fn(list, path, de->d_name);
	closedir(dir);
}

static void
add_entry(struct ifaces *list, const char *path, const char *entry)
{
	add(list, entry);
}

static void
add_ndev(struct ifaces *list, const char *path, const char *entry)
{
	char file[PATH_MAX];

	if (snprintf(file, sizeof(file), "%s/%s", path, entry) <
	    (int)sizeof(file))
		add_from_file(list, file);
}

static void
add_port(struct ifaces *list, const char *path, const char *entry)
{
	char dir[PATH_MAX];

	if (snprintf(dir, sizeof(dir), "%s/%s/gid_attrs/ndevs", path, entry) <
	    (int)sizeof(dir))
		for_each_entry(list, dir, add_ndev);
}

int
rdma_dev_interfaces(const char *sysfs, const char *name,
		    char ret[RDMA_DEV_MAX_IFACES][IF_NAMESIZE])
{
	struct ifaces list = {.name = ret};
	char base[PATH_MAX / 2], path[PATH_MAX];

	if (!*name || strchr(name, '/') || *name == '.' ||
	    snprintf(base, sizeof(base), "%s/%s", sysfs, name) >=
		    (int)sizeof(base) ||
	    access(base, F_OK))
		return -ENOENT;
	/* Of software devices. */
	snprintf(path, sizeof(path), "%s/parent", base);
	add_from_file(&list, path);
	/* Of the same PCI function. */
	snprintf(path, sizeof(path), "%s/device/net", base);
	for_each_entry(&list, path, add_entry);
	/* VLANs and bonds on top, and all there is with other drivers. */
	snprintf(path, sizeof(path), "%s/ports", base);
	for_each_entry(&list, path, add_port);
	return list.n;
}

__attribute__((format(printf, 3, 4))) static int
bad(char *err, size_t err_len, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err, err_len, fmt, ap);
	va_end(ap);
	return -ENODEV;
}

/* Says which devices there are. */
static int
no_such_device(const char *sysfs, const char *name, char *err, size_t err_len)
{
	DIR *dir = opendir(sysfs);
	char text[256] = "";
	struct dirent *de;
	size_t len = 0;

	while (dir && (de = readdir(dir)))
		if (de->d_name[0] != '.' && len < sizeof(text))
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s%s", len ? ", " : "",
						de->d_name);
	if (dir)
		closedir(dir);
	if (!len)
		return bad(err, err_len,
			   "this machine has no RDMA device; " LOAD_A_DRIVER
			   ", or listen on tcp:ADDR");
	return bad(err, err_len, "there is no RDMA device '%s'; there is: %s",
		   name, text);
}

static bool
is_of(const char *name, char list[RDMA_DEV_MAX_IFACES][IF_NAMESIZE], int n)
{
	for (int i = 0; i < n; i++)
		if (!strcmp(list[i], name))
			return true;
	return false;
}

int
rdma_dev_addrs(const char *sysfs, const char *name,
	       struct sockaddr_storage ret[RDMA_DEV_MAX_ADDRS], char *err,
	       size_t err_len)
{
	char ifaces[RDMA_DEV_MAX_IFACES][IF_NAMESIZE];
	int n_ifaces = rdma_dev_interfaces(sysfs, name, ifaces), n = 0;
	struct ifaddrs *all;

	if (n_ifaces < 0)
		return no_such_device(sysfs, name, err, err_len);
	if (!n_ifaces)
		return bad(err, err_len,
			   "RDMA device '%s' has no network interface; listen "
			   "on gid:GID",
			   name);
	if (getifaddrs(&all))
		return bad(err, err_len, "cannot list addresses: %s",
			   strerror(errno));
	for (struct ifaddrs *ifa = all; ifa && n < RDMA_DEV_MAX_ADDRS;
	     ifa = ifa->ifa_next) {
		size_t len = 0;

		if (ifa->ifa_addr && ifa->ifa_addr->sa_family == AF_INET)
			len = sizeof(struct sockaddr_in);
		else if (ifa->ifa_addr && ifa->ifa_addr->sa_family == AF_INET6)
			len = sizeof(struct sockaddr_in6);
		if (!len || !is_of(ifa->ifa_name, ifaces, n_ifaces))
			continue;
		memset(&ret[n], 0, sizeof(ret[n]));
		memcpy(&ret[n++], ifa->ifa_addr, len);
	}
	freeifaddrs(all);
	if (!n)
		return bad(err, err_len,
			   "interface %s of RDMA device '%s' has no address; "
			   "give it one (ip address add ...)",
			   ifaces[0], name);
	return n;
}
