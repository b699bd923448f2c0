/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/notify.h"

#include <stdlib.h>

#include "rtrs/base/util.h"

#ifdef GW_SYSTEMD

#include <inttypes.h>
#include <systemd/sd-daemon.h>

#include "gateway/os.h"

/* A manager that is not there, or does not listen, is no error of ours. */

bool
notify_missing(void)
{
	return false;
}

void
notify_ready(const char *status)
{
	(void)sd_notifyf(0, "READY=1\nSTATUS=%s", status);
}

void
notify_reloading(void)
{
	(void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
			 os_now() / NSEC_PER_USEC);
}

void
notify_stopping(const char *status)
{
	(void)sd_notifyf(0, "STOPPING=1\nSTATUS=%s", status);
}

uint64_t
notify_watchdog_ns(void)
{
	uint64_t us;

	return sd_watchdog_enabled(0, &us) > 0 ? us * NSEC_PER_USEC : 0;
}

void
notify_alive(void)
{
	(void)sd_notify(0, "WATCHDOG=1");
}

#else

bool
notify_missing(void)
{
	return getenv("NOTIFY_SOCKET");
}

void
notify_ready(const char *status)
{
}

void
notify_reloading(void)
{
}

void
notify_stopping(const char *status)
{
}

uint64_t
notify_watchdog_ns(void)
{
	return 0;
}

void
notify_alive(void)
{
}

#endif
