/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The second wall: what a daemon that was taken over must not be able to do,
 * because the daemon itself never does it.
 *
 * A list of system calls (seccomp) is refused with EPERM and told to the
 * kernel's audit log: programs cannot be started, other processes not looked
 * into, nothing mounted, no module loaded, no user or namespace changed, no
 * memory both written and executed. Files are not restricted by name: exports
 * that are added while it runs may lie anywhere (so Landlock, which wants the
 * names at the start, does not fit); the user that the daemon runs as, and the
 * unit's ReadWritePaths=, do that.
 */
#ifndef GATEWAY_SANDBOX_H
#define GATEWAY_SANDBOX_H

#include <stdbool.h>

#include "rtrs/base/log.h"

#define SANDBOX_TEXT_MAX 160

/*
 * NULL: this build can. Else why not, in a few words: built without libseccomp,
 * or with a sanitizer, whose runtime traces and forks at will.
 */
const char *sandbox_missing(void);
/*
 * For all threads of the process, those that run already and those to come;
 * there is no way back. Negative errno: nothing was done, err_text says what
 * failed. Must not be called where sandbox_missing() says why.
 */
int sandbox_apply(char err_text[SANDBOX_TEXT_MAX]);
/*
 * yes: core dumps can be written and debuggers of the same user attach. Else
 * what clients write, and keys of their connections, stay inside. Not done in
 * a build with a sanitizer, which needs it.
 */
int sandbox_set_dumpable(bool yes);

#endif
