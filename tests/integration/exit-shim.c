/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * LD_PRELOAD beside a sanitizer: an nbdkit that has called strerror() hangs
 * when it ends, in freelocale() called by a destructor of libp11-kit, on a
 * lock of libc that nobody holds. Without a sanitizer it does not. What that
 * destructor frees is of no interest to a process that ends.
 */
#include <locale.h>

void
freelocale(locale_t loc)
{
	(void)loc;
}
