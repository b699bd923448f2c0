/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file with the id of this process. It is locked for as long as it is ours,
 * so that no two daemons share one; what is no such file is left alone.
 */
#ifndef GATEWAY_PID_FILE_H
#define GATEWAY_PID_FILE_H

#include "gateway/text.h"

struct pid_file;

/*
 * Whether pid_file_new() would take the file at path for one: it is missing,
 * empty, or holds one number. -EINVAL, or an errno of open(2), with err_text.
 */
int pid_file_check(const char *path, char err_text[GW_TEXT_MAX]);
/*
 * Writes the id of the calling process, which must be the one that stays.
 * -EINVAL: there is something else; -EBUSY: it is another process's; errors of
 * open(2), flock(2) and write(2). err_text is one line that names the option.
 */
int pid_file_new(const char *path, struct pid_file **ret,
		 char err_text[GW_TEXT_MAX]);
/* Removes it, unless another has taken its name by now. NULL is fine. */
void pid_file_free(struct pid_file *p);

#endif
