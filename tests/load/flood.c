/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * flood: strangers that connect and have nothing to say.
 *
 *   flood HOST:PORT RATE SECONDS
 *
 * RATE connections per second, by turns: one that leaves at once, one that
 * sends bytes that mean nothing, one that stays silent until others push it
 * out. Prints how many were made.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SILENT 128

static uint64_t
now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void
until(uint64_t t)
{
	const struct timespec ts = {.tv_sec = (time_t)(t / 1000000000),
				    .tv_nsec = (long)(t % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) ==
	       EINTR)
		continue;
}

int
main(int argc, char **argv)
{
	struct sockaddr_in to = {.sin_family = AF_INET};
	int silent[SILENT];
	uint64_t start, n = 0, failed = 0;
	char host[64], garbage[64];
	unsigned port, rate;
	double seconds;

	if (argc != 4 || sscanf(argv[1], "%63[0-9.]:%u", host, &port) != 2 ||
	    inet_pton(AF_INET, host, &to.sin_addr) != 1 || port > 65535)
		return 2;
	rate = (unsigned)atoi(argv[2]);
	seconds = atof(argv[3]);
	if (!rate)
		return 2;
	to.sin_port = htons((uint16_t)port);
	memset(silent, -1, sizeof(silent));
	memset(garbage, 'g', sizeof(garbage));
	start = now_ns();
	while (now_ns() - start < (uint64_t)(seconds * 1e9)) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int *slot = &silent[n / 3 % SILENT];

		if (fd < 0 ||
		    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0)
			failed++;
		if (n % 3 == 2) {
			if (*slot >= 0)
				close(*slot);
			*slot = fd;
		} else {
			if (n % 3 == 1 && send(fd, garbage, sizeof(garbage),
					       MSG_NOSIGNAL) < 0)
				failed++;
			if (fd >= 0)
				close(fd);
		}
		n++;
		until(start + n * 1000000000 / rate);
	}
	printf("%llu connections in %.1f s, %llu failed\n",
	       (unsigned long long)n, (double)(now_ns() - start) / 1e9,
	       (unsigned long long)failed);
	return 0;
}
