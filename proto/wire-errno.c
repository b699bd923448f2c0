/* SPDX-License-Identifier: BSD-3-Clause */
#include "proto/wire-errno.h"

#include <errno.h>
#include <limits.h>

/* clang-format off */
/* Index: asm-generic number on the wire; value: this host's number. */
static const short host_of_wire[] = {
	[1] = EPERM, [2] = ENOENT, [3] = ESRCH, [4] = EINTR, [5] = EIO,
	[6] = ENXIO, [7] = E2BIG, [8] = ENOEXEC, [9] = EBADF, [10] = ECHILD,
	[11] = EAGAIN, [12] = ENOMEM, [13] = EACCES, [14] = EFAULT,
	[15] = ENOTBLK, [16] = EBUSY, [17] = EEXIST, [18] = EXDEV,
	[19] = ENODEV, [20] = ENOTDIR, [21] = EISDIR, [22] = EINVAL,
	[23] = ENFILE, [24] = EMFILE, [25] = ENOTTY, [26] = ETXTBSY,
	[27] = EFBIG, [28] = ENOSPC, [29] = ESPIPE, [30] = EROFS,
	[31] = EMLINK, [32] = EPIPE, [33] = EDOM, [34] = ERANGE,
	[35] = EDEADLK, [36] = ENAMETOOLONG, [37] = ENOLCK, [38] = ENOSYS,
	[39] = ENOTEMPTY, [40] = ELOOP, [42] = ENOMSG, [43] = EIDRM,
	[52] = EBADE, [61] = ENODATA, [62] = ETIME, [67] = ENOLINK,
	[70] = ECOMM, [71] = EPROTO, [74] = EBADMSG, [75] = EOVERFLOW,
	[84] = EILSEQ, [87] = EUSERS, [88] = ENOTSOCK, [89] = EDESTADDRREQ,
	[90] = EMSGSIZE, [91] = EPROTOTYPE, [92] = ENOPROTOOPT,
	[93] = EPROTONOSUPPORT, [94] = ESOCKTNOSUPPORT, [95] = EOPNOTSUPP,
	[96] = EPFNOSUPPORT, [97] = EAFNOSUPPORT, [98] = EADDRINUSE,
	[99] = EADDRNOTAVAIL, [100] = ENETDOWN, [101] = ENETUNREACH,
	[102] = ENETRESET, [103] = ECONNABORTED, [104] = ECONNRESET,
	[105] = ENOBUFS, [106] = EISCONN, [107] = ENOTCONN, [108] = ESHUTDOWN,
	[109] = ETOOMANYREFS, [110] = ETIMEDOUT, [111] = ECONNREFUSED,
	[112] = EHOSTDOWN, [113] = EHOSTUNREACH, [114] = EALREADY,
	[115] = EINPROGRESS, [116] = ESTALE, [117] = EUCLEAN, [121] = EREMOTEIO,
	[122] = EDQUOT, [123] = ENOMEDIUM, [124] = EMEDIUMTYPE,
	[125] = ECANCELED, [126] = ENOKEY, [127] = EKEYEXPIRED,
	[128] = EKEYREVOKED, [129] = EKEYREJECTED, [130] = EOWNERDEAD,
	[131] = ENOTRECOVERABLE, [132] = ERFKILL, [133] = EHWPOISON,
};
/* clang-format on */

#define N_WIRE   ((int)(sizeof(host_of_wire) / sizeof(host_of_wire[0])))
#define WIRE_EIO 5

int
wire_errno_from_host(int err)
{
	if (err == 0)
		return 0;
	/* INT_MIN has no absolute value. */
	if (err > 0 || err < -SHRT_MAX)
		return -WIRE_EIO;
	/* Nearly every host has the generic numbers: look there first. */
	if (err > -N_WIRE && host_of_wire[-err] == -err)
		return err;
	/* A host of generic numbers finds nothing here. */
	for (int i = 1; i < N_WIRE; i++)
		if (host_of_wire[i] == -err)
			return -i;
	return -WIRE_EIO;
}

int
wire_errno_to_host(int err)
{
	if (err == 0)
		return 0;
	if (err < 0 && err > -N_WIRE && host_of_wire[-err])
		return -host_of_wire[-err];
	return -EIO;
}
