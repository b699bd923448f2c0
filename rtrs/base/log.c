/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/base/log.h"

#include <stdio.h>
#include <string.h>

static const char *const level_names[] = {
	[LOG_LVL_ERROR] = "error",
	[LOG_LVL_WARNING] = "warning",
	[LOG_LVL_INFO] = "info",
	[LOG_LVL_DEBUG] = "debug",
};

#define N_LEVELS (sizeof(level_names) / sizeof(level_names[0]))

void
log_vprintf(const struct log *l, enum log_level level, const char *fmt,
	    va_list ap)
{
	char line[512];

	if (!log_wants(l, level))
		return;
	vsnprintf(line, sizeof(line), fmt, ap);
	l->sink(l->user, level, line);
}

void
log_printf(const struct log *l, enum log_level level, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_vprintf(l, level, fmt, ap);
	va_end(ap);
}

const char *
log_level_name(enum log_level level)
{
	return (unsigned)level < N_LEVELS ? level_names[level] : "?";
}

int
log_level_parse(const char *name)
{
	for (unsigned i = 0; i < N_LEVELS; i++)
		if (!strcmp(name, level_names[i]))
			return (int)i;
	return -1;
}
