/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The configuration file, but for [gateway], whose names of hosts would be
 * looked up.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/conf.h"
#include "gateway/access-conf.h"
#include "gateway/config.h"
#include "tests/fuzz/fuzz.h"

/* A file of these bytes; its path. */
static void
file_of(const uint8_t *data, size_t size, char path[32])
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("config", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && !ftruncate(fd, 0));
	FUZZ_CHECK(pwrite(fd, data, size, 0) == (ssize_t)size);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gw_config c = {0};
	char err[CONF_TEXT_MAX] = "", path[32];
	int r;

	file_of(data, size, path);
	options_init(&c.opt, NULL);
	gw_access_limits_init(&c.limits);
	FUZZ_CHECK(!strcmp(gw_config_sections[0].name, "gateway"));
	r = conf_read(path, gw_config_sections + 1, &c, err);
	FUZZ_CHECK(r <= 0);
	/* Said in one line, that begins with where it is. */
	FUZZ_CHECK(!r == !*err);
	if (r) {
		FUZZ_CHECK(!strncmp(err, path, strlen(path)));
		FUZZ_CHECK(!strchr(err, '\n') && !strchr(err, '\r'));
	}
	gw_config_deinit(&c);
	return 0;
}
