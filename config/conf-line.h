/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One line of a configuration file, judged before inih sees it: what inih would
 * drop, cut or read in a second way is an error here.
 */
#ifndef CONFIG_CONF_LINE_H
#define CONFIG_CONF_LINE_H

#include "config/conf.h"

/* inih keeps this many bytes of a name, with the NUL. */
#define CONF_NAME_MAX 50

enum conf_line_kind {
	CONF_LINE_NOTHING, /* blank, or a comment */
	CONF_LINE_SECTION, /* [name] */
	CONF_LINE_KEY,     /* name = value */
};

/*
 * line has no newline and no blanks at its ends. section gets the name of a
 * CONF_LINE_SECTION. -EINVAL with err.
 */
int conf_line_judge(const char *line, enum conf_line_kind *ret,
		    char section[CONF_NAME_MAX], char err[CONF_TEXT_MAX]);

#endif
