/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/base/remedy.h"

#include <errno.h>

const char *
remedy_words(int err)
{
	switch (-err) {
	case EMFILE:
		return "; raise the limit of open files (ulimit -n, "
		       "LimitNOFILE=)";
	case ENFILE:
		return "; raise the machine's limit of open files "
		       "(sysctl fs.file-max)";
	case ENOMEM:
		return "; give it more memory, or raise its limit (ulimit -v, "
		       "MemoryMax=)";
	case EAGAIN:
		return "; raise the limit of threads (ulimit -u, TasksMax=) or "
		       "of memory (ulimit -v, MemoryMax=)";
	default:
		return "";
	}
}
