/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/sandbox.h"

#include <errno.h>
#include <sys/prctl.h>

#ifdef __has_feature
#define FEATURE(x) __has_feature(x)
#else
#define FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||           \
	FEATURE(address_sanitizer) || FEATURE(thread_sanitizer)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

int
sandbox_set_dumpable(bool yes)
{
	if (SANITIZED)
		return 0;
	return prctl(PR_SET_DUMPABLE, yes, 0, 0, 0) < 0 ? -errno : 0;
}

#ifdef GW_SECCOMP

#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <unistd.h>

#include "rtrs/base/util.h"

const char *
sandbox_missing(void)
{
	return SANITIZED ? "this is a build with a sanitizer" : NULL;
}

/* Refused whatever their arguments. */
static const int calls[] = {
	/* Other programs, other processes. */
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	SCMP_SYS(fork),
	SCMP_SYS(vfork),
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(pidfd_getfd),
	SCMP_SYS(kcmp),
	SCMP_SYS(process_madvise),
	SCMP_SYS(process_mrelease),
	SCMP_SYS(rt_sigqueueinfo),
	SCMP_SYS(pidfd_send_signal),
	SCMP_SYS(personality),
	SCMP_SYS(seccomp),
	SCMP_SYS(acct),
	/* Another view of the file system. */
	SCMP_SYS(mount),
	SCMP_SYS(umount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(open_tree),
	SCMP_SYS(move_mount),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(unshare),
	SCMP_SYS(setns),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(quotactl),
	SCMP_SYS(quotactl_fd),
	/* Files that are more than data, and other rights to them. */
	SCMP_SYS(mknod),
	SCMP_SYS(mknodat),
	SCMP_SYS(symlink),
	SCMP_SYS(symlinkat),
	SCMP_SYS(link),
	SCMP_SYS(linkat),
	SCMP_SYS(chmod),
	SCMP_SYS(fchmod),
	SCMP_SYS(fchmodat),
	SCMP_SYS(chown),
	SCMP_SYS(lchown),
	SCMP_SYS(fchown),
	SCMP_SYS(fchownat),
	SCMP_SYS(setxattr),
	SCMP_SYS(lsetxattr),
	SCMP_SYS(fsetxattr),
	SCMP_SYS(removexattr),
	SCMP_SYS(lremovexattr),
	SCMP_SYS(fremovexattr),
	SCMP_SYS(open_by_handle_at),
	SCMP_SYS(name_to_handle_at),
	SCMP_SYS(fanotify_init),
	SCMP_SYS(fanotify_mark),
	/* The kernel itself, and its clock. */
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(reboot),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(syslog),
	SCMP_SYS(vhangup),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(modify_ldt),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(uselib),
	SCMP_SYS(memfd_secret),
	/* Keys and identities. */
	SCMP_SYS(keyctl),
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(setuid),
	SCMP_SYS(setgid),
	SCMP_SYS(setreuid),
	SCMP_SYS(setregid),
	SCMP_SYS(setresuid),
	SCMP_SYS(setresgid),
	SCMP_SYS(setfsuid),
	SCMP_SYS(setfsgid),
	SCMP_SYS(setgroups),
	SCMP_SYS(capset),
};

/* Sockets that no fabric, backend or resolver of names opens. */
static const int families[] = {
	AF_PACKET,    AF_ALG,       AF_KEY,        AF_X25,   AF_AX25,
	AF_NETROM,    AF_ROSE,      AF_RDS,        AF_TIPC,  AF_CAN,
	AF_BLUETOOTH, AF_APPLETALK, AF_IPX,        AF_NFC,   AF_XDP,
	AF_SMC,       AF_QIPCRTR,   AF_IEEE802154, AF_PPPOX, AF_LLC,
};

/* The one machine that has them second. */
#ifdef __s390__
#define CLONE_FLAGS_ARG 1
#else
#define CLONE_FLAGS_ARG 0
#endif

/* A call is refused if (argument & mask) == value. */
struct masked {
	int call;
	unsigned arg;
	scmp_datum_t mask, value;
};

static const struct masked masked[] = {
	/* Threads yes, processes no. */
	{SCMP_SYS(clone), CLONE_FLAGS_ARG, CLONE_THREAD, 0},
	/* No memory that is written and then executed. */
	{SCMP_SYS(mmap), 2, PROT_WRITE | PROT_EXEC, PROT_WRITE | PROT_EXEC},
	{SCMP_SYS(mprotect), 2, PROT_EXEC, PROT_EXEC},
	{SCMP_SYS(pkey_mprotect), 2, PROT_EXEC, PROT_EXEC},
	{SCMP_SYS(shmat), 2, SHM_EXEC, SHM_EXEC},
	/* Words put into the mouth of who sits at the terminal. */
	{SCMP_SYS(ioctl), 1, UINT32_MAX, TIOCSTI},
	{SCMP_SYS(ioctl), 1, UINT32_MAX, TIOCLINUX},
};

/* Calls that name a process: only this one. */
struct to_self {
	int call;
	bool by_zero; /* 0 is what names it, not its number */
};

static const struct to_self to_self[] = {
	{SCMP_SYS(kill), false},
	{SCMP_SYS(tgkill), false},
	{SCMP_SYS(rt_tgsigqueueinfo), false},
	{SCMP_SYS(prlimit64), true},
};

static int
add_by_argument(scmp_filter_ctx ctx)
{
	const scmp_datum_t pid = (scmp_datum_t)getpid();
	const struct masked *m;
	const struct to_self *t;
	int r = 0;

	for (m = masked; !r && m < masked + ARRAY_SIZE(masked); m++)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), m->call, 1,
				     SCMP_CMP(m->arg, SCMP_CMP_MASKED_EQ,
					      m->mask, m->value));
	for (t = to_self; !r && t < to_self + ARRAY_SIZE(to_self); t++)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ERRNO(EPERM), t->call, 1,
			SCMP_A0(SCMP_CMP_NE, t->by_zero ? 0 : pid));
	for (size_t i = 0; !r && i < ARRAY_SIZE(families); i++)
		r = seccomp_rule_add(
			ctx, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i]));
	/* Its flags lie in memory, where a filter cannot look. The C library
	 * then uses clone(). */
	if (!r)
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(ENOSYS),
				     SCMP_SYS(clone3), 0);
	return r;
}

static int
fill(scmp_filter_ctx ctx)
{
	/* All threads, or none; implies no_new_privs. */
	int r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_TSYNC, 1);

	/* Refusals are told to the audit log, where the kernel can do that. */
	if (!r)
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_LOG, 1);
	/* One look into a tree for the calls of I/O, not a hundred compares. */
	if (!r)
		(void)seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	for (size_t i = 0; !r && i < ARRAY_SIZE(calls); i++) {
		r = seccomp_rule_add(ctx, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
		/* Not every machine has every call. */
		if (r == -EDOM || r == -EINVAL)
			r = 0;
	}
	return r ? r : add_by_argument(ctx);
}

int
sandbox_apply(char err_text[SANDBOX_TEXT_MAX])
{
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ALLOW);
	const char *step = "build the filter";
	int r = -ENOMEM;

	if (ctx) {
		r = fill(ctx);
		if (!r) {
			step = "install the filter";
			r = seccomp_load(ctx);
		}
		seccomp_release(ctx);
	}
	if (r)
		snprintf(err_text, SANDBOX_TEXT_MAX,
			 "cannot %s of system calls: %s", step, strerror(-r));
	return r;
}

#else

const char *
sandbox_missing(void)
{
	return "this is a build without libseccomp";
}

int
sandbox_apply(char err_text[SANDBOX_TEXT_MAX])
{
	err_text[0] = '\0';
	return -EOPNOTSUPP;
}

#endif
