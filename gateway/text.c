/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char *
gw_text_printable(char *dst, size_t size, const char *src)
{
	size_t n = 0;

	for (; src[n] && n < size - 1; n++)
		dst[n] = src[n] >= ' ' && src[n] <= '~' ? src[n] : '?';
	dst[n] = '\0';
	if (src[n])
		memcpy(dst + size - 4, "...", 3);
	return dst;
}

struct gw_name_text
gw_name_text(const char *name)
{
	struct gw_name_text text;

	gw_text_printable(text.s, sizeof(text.s), name);
	return text;
}

int
gw_text_err(char err_text[GW_TEXT_MAX], int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err_text, GW_TEXT_MAX, fmt, ap);
	va_end(ap);
	return err;
}
