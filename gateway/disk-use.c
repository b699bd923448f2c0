/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/disk-use.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

/* Two who ask at the same time would find each other. Those of another process
 * are asked again so many times. */
#define MAX_TRIES 3
static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;

int
gw_disk_in_use(int path_fd)
{
	char link[32];
	int fd = -1, err = EBUSY;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", path_fd);
	pthread_mutex_lock(&one_at_a_time);
	for (int i = 0; i < MAX_TRIES && err == EBUSY; i++) {
		fd = open(link, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC |
					O_NOCTTY);
		err = fd < 0 ? errno : 0;
	}
	if (fd >= 0)
		close(fd);
	pthread_mutex_unlock(&one_at_a_time);
	return err == EBUSY ? 1 : -err;
}
