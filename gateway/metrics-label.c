/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "gateway/metrics-text.h"

/* Bytes of the UTF-8 character at p, of the shortest form and no surrogate; 0:
 * it is none. Never looks beyond a NUL. */
static size_t
utf8_len(const unsigned char *p)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	uint32_t c;
	size_t n;

	if (*p < 0x80)
		return 1;
	if ((*p & 0xe0) == 0xc0)
		n = 2;
	else if ((*p & 0xf0) == 0xe0)
		n = 3;
	else if ((*p & 0xf8) == 0xf0)
		n = 4;
	else
		return 0;
	c = *p & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	return n;
}

/* The two backslashes are one, escaped. */
static char *
put_hex(char *out, unsigned char c)
{
	static const char hex[] = "0123456789ABCDEF";

	memcpy(out, "\\\\x", 3);
	out[3] = hex[c >> 4];
	out[4] = hex[c & 15];
	return out + 5;
}

char *
metrics_label_value(const char *name)
{
	const unsigned char *p = (const unsigned char *)name;
	char *ret = malloc(5 * strlen(name) + 1), *out = ret;

	if (!ret)
		return NULL;
	while (*p) {
		size_t n = utf8_len(p);
		/* C1 controls are two bytes, the first of them 0xc2. */
		bool control = *p < ' ' || *p == 0x7f ||
			       (n == 2 && *p == 0xc2 && p[1] < 0xa0);

		if (!n || control || *p == '\\') {
			out = put_hex(out, *p++);
			continue;
		}
		if (*p == '"')
			*out++ = '\\';
		memcpy(out, p, n);
		out += n;
		p += n;
	}
	*out = '\0';
	return ret;
}
