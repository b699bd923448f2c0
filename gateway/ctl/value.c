/* SPDX-License-Identifier: BSD-3-Clause */
/* Values out of rows, and as text. */
#include "gateway/ctl/ctl.h"

#include <inttypes.h>
#include <string.h>

const json_t *
json_at(const json_t *row, const char *key)
{
	char part[64];

	while (row && *key) {
		size_t n = strcspn(key, ".");

		if (n >= sizeof(part))
			return NULL;
		memcpy(part, key, n);
		part[n] = '\0';
		row = json_object_get(row, part);
		key += n + (key[n] == '.');
	}
	return row;
}

json_int_t
json_num(const json_t *row, const char *key)
{
	return json_integer_value(json_at(row, key));
}

const char *
json_str(const json_t *row, const char *key)
{
	const char *s = json_string_value(json_at(row, key));

	return s ? s : "";
}

void
print_text(const char *s)
{
	for (; *s; s++)
		putchar((unsigned char)*s >= 0x20 && (unsigned char)*s < 0x7f
				? *s
				: '?');
}

static const char units[] = "BKMGTPE";

double
scaled(json_int_t bytes, char unit)
{
	const char *p = unit ? strchr(units, unit) : NULL;

	return (double)bytes /
	       (double)(UINT64_C(1) << (10 * (p ? p - units : 0)));
}

const char *
bytes_text(json_int_t bytes, char unit, char *buf, size_t len)
{
	int i = 0;

	if (unit) {
		snprintf(buf, len, unit == 'B' ? "%.0f" : "%.1f",
			 scaled(bytes, unit));
		return buf;
	}
	/* 1023.95K would be printed as 1024.0K. */
	while (scaled(bytes, units[i]) >= 1023.95 && units[i + 1])
		i++;
	if (i)
		snprintf(buf, len, "%.1f%c", scaled(bytes, units[i]), units[i]);
	else
		snprintf(buf, len, "%" PRId64, (int64_t)bytes);
	return buf;
}

const char *
time_text(double ns, char *buf, size_t len)
{
	static const char *const names[] = {"ns", "us", "ms", "s"};
	unsigned i = 0;

	/* 999.95us would be printed as 1000.0us. */
	for (; ns >= 999.95 && i + 1 < ARRAY_SIZE(names); i++)
		ns /= 1000;
	if (ns > 0)
		snprintf(buf, len, i ? "%.1f%s" : "%.0f%s", ns, names[i]);
	else
		snprintf(buf, len, "-");
	return buf;
}
