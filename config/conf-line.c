/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/conf-line.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int
refuse(char err[CONF_TEXT_MAX], const char *text)
{
	snprintf(err, CONF_TEXT_MAX, "%s", text);
	return -EINVAL;
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* inih takes a ';' after a blank for a comment, also within a value. */
static bool
has_inline_comment(const char *s)
{
	for (; *s; s++)
		if (is_blank(s[0]) && s[1] == ';')
			return true;
	return false;
}

static int
judge_section(const char *line, char section[CONF_NAME_MAX],
	      char err[CONF_TEXT_MAX])
{
	const char *end = strchr(line, ']');
	size_t len;

	if (!end)
		return refuse(err, "the ']' of the section is missing");
	if (end[1])
		return refuse(err, "nothing may follow the ']' of a section");
	len = (size_t)(end - line) - 1;
	if (len >= CONF_NAME_MAX)
		return refuse(err, "no section has such a long name");
	memcpy(section, line + 1, len);
	section[len] = '\0';
	return 0;
}

static int
judge_key(const char *line, char err[CONF_TEXT_MAX])
{
	const char *end = strpbrk(line, "=:");
	size_t len;

	if (!end || *end == ':')
		return refuse(err, "give a [section], name = value, or a "
				   "comment after '#' or ';'");
	len = (size_t)(end - line);
	while (len && is_blank(line[len - 1]))
		len--;
	if (!len)
		return refuse(err, "the name before '=' is missing");
	if (len >= CONF_NAME_MAX)
		return refuse(err, "no key has such a long name");
	return 0;
}

int
conf_line_judge(const char *line, enum conf_line_kind *ret,
		char section[CONF_NAME_MAX], char err[CONF_TEXT_MAX])
{
	enum conf_line_kind kind;
	int r = 0;

	/* A comment may hold anything. */
	if (!*line || *line == '#' || *line == ';') {
		*ret = CONF_LINE_NOTHING;
		return 0;
	}
	for (const char *s = line; *s; s++)
		if (((unsigned char)*s < ' ' && *s != '\t') || *s == 0x7f)
			return refuse(err, "a control character");
	if (has_inline_comment(line))
		return refuse(err, "a comment stands on a line of its own; "
				   "\" ;\" cannot be part of a value");
	if (*line == '[') {
		kind = CONF_LINE_SECTION;
		r = judge_section(line, section, err);
	} else {
		kind = CONF_LINE_KEY;
		r = judge_key(line, err);
	}
	if (!r)
		*ret = kind;
	return r;
}
