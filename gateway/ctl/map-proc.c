/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/map.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* systemd hands sockets over from here on. */
#define LISTEN_FD 3
/* What is killed is gone when the kernel has cleaned up after it. */
#define KILL_MS   10000

/* ------------------------------------------------- who it is */

/* Field 22 of /proc/PID/stat, and whether it is more than a zombie. */
static bool
look(pid_t pid, uint64_t *start)
{
	char name[32], text[1024], *p;
	char state;
	ssize_t n;
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/stat", (int)pid);
	fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* The name of the program may have blanks and parentheses. */
	p = strrchr(text, ')');
	return p &&
	       sscanf(p + 1,
		      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
		      "%*s %*s %*s %*s %*s %*s %" SCNu64,
		      &state, start) == 2 &&
	       state != 'Z' && state != 'X';
}

int
map_proc_open(const struct map_proc *p)
{
	uint64_t start;
	int fd;

	if (p->pid <= 0)
		return -1;
	fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	if (fd < 0)
		return -1;
	/* In this order: what is looked at now is what the fd stands for. */
	if (look(p->pid, &start) && start == p->start)
		return fd;
	close(fd);
	return -1;
}

bool
map_proc_alive(const struct map_proc *p)
{
	int fd = map_proc_open(p);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool
ends(int fd, unsigned timeout_ms)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	int r;

	do
		r = poll(&pfd, 1, (int)timeout_ms);
	while (r < 0 && errno == EINTR);
	return r > 0;
}

bool
map_proc_end(const struct map_proc *p, unsigned timeout_ms)
{
	int fd = map_proc_open(p);
	bool ended = fd < 0;

	if (ended)
		return true;
	for (int i = 0; i < 2 && !ended; i++) {
		/* It may end by itself just now: then there is none to tell. */
		(void)syscall(SYS_pidfd_send_signal, fd, i ? SIGKILL : SIGTERM,
			      NULL, 0);
		ended = ends(fd, i ? KILL_MS : timeout_ms);
	}
	close(fd);
	return ended;
}

/* ------------------------------------------------- starting */

char *
map_find_program(const char *name)
{
	static const char usual[] = "/usr/sbin:/usr/bin:/sbin:/bin";
	const char *path = getenv("PATH");
	cleanup_free char *list = NULL;
	char *rest = NULL;

	if (asprintf(&list, "%s:%s", path ? path : "", usual) < 0) {
		list = NULL;
		return NULL;
	}
	for (char *dir = strtok_r(list, ":", &rest); dir;
	     dir = strtok_r(NULL, ":", &rest)) {
		char *file;

		if (asprintf(&file, "%s/%s", dir, name) < 0)
			return NULL;
		if (!access(file, X_OK))
			return file;
		free(file);
	}
	return NULL;
}

/* What a process needs that other programs' I/O, and the system's, hangs on. */
static void
become_daemon(void)
{
	static const struct rlimit log_limit = {MAP_LOG_MAX, MAP_LOG_MAX};
	static const char score[] = "-500";
	int fd;

	(void)setsid(); /* a new process leads no group, so it can */
	(void)umask(077);
	/* It has only its log to write, and the limit is an error then. */
	(void)signal(SIGXFSZ, SIG_IGN);
	(void)setrlimit(RLIMIT_FSIZE, &log_limit);
	/*
	 * Memory that it asks for must not wait for data to be written by
	 * itself; and it should be the last to go when there is none. Without
	 * the right to say so it works, too.
	 */
	(void)prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		ssize_t n = write(fd, score, strlen(score));

		(void)n;
		close(fd);
	}
}

/*
 * One whose rnbdctl was killed has nobody who would write down what it did, and
 * the next rnbdctl must not meet it in the middle. Programs that it starts, and
 * leaves, are not ended.
 */
static void
end_with(pid_t parent)
{
	/* It may have been killed already: then another is the parent. */
	if (prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) || getppid() != parent)
		_exit(127);
}

/*
 * What rnbdctl was started with is not for a program that goes on without it: a
 * lock of a script would be held until the device is unmapped. Where the kernel
 * cannot do it, it stays so.
 */
static void
pass_no_more(unsigned first)
{
	(void)close_range(first, ~0U, CLOSE_RANGE_CLOEXEC);
}

static _Noreturn void
child(const char *file, char *const *argv, int out, int listener,
      unsigned flags, pid_t parent, int go)
{
	char word, pid[16];
	ssize_t n;
	int null = open("/dev/null", O_RDONLY);

	if (flags & MAP_SPAWN_DAEMON)
		become_daemon();
	else
		end_with(parent);
	do
		n = read(go, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 ||
	    dup2(out, 2) < 0 || chdir("/"))
		_exit(126);
	if (listener >= 0) {
		snprintf(pid, sizeof(pid), "%d", (int)getpid());
		/* dup2() of one onto itself would leave it to be closed. */
		if ((listener == LISTEN_FD ? fcntl(LISTEN_FD, F_SETFD, 0)
					   : dup2(listener, LISTEN_FD)) < 0 ||
		    setenv("LISTEN_PID", pid, 1) ||
		    setenv("LISTEN_FDS", "1", 1))
			_exit(126);
	}
	pass_no_more(listener >= 0 ? LISTEN_FD + 1 : LISTEN_FD);
	execv(file, argv);
	dprintf(2, "error: %s: %s\n", file, strerror(errno));
	_exit(126);
}

/*
 * A daemon is nobody's child: nbdkit ends with its parent when it is handed a
 * socket. *ret is its pid, which is told through a pipe by the child between.
 */
static int
fork_daemon(pid_t *ret)
{
	pid_t between, pid = -1;
	int told[2], r = 0;
	ssize_t n;

	if (pipe2(told, O_CLOEXEC) < 0)
		return -errno;
	between = fork();
	if (!between) {
		pid = fork();
		if (!pid) {
			close(told[0]);
			close(told[1]);
			*ret = 0;
			return 0;
		}
		n = write(told[1], &pid, sizeof(pid));
		_exit(n != sizeof(pid));
	}
	if (between < 0)
		r = -errno;
	close(told[1]);
	do
		n = read(told[0], &pid, sizeof(pid));
	while (n < 0 && errno == EINTR);
	close(told[0]);
	while (between > 0 && waitpid(between, NULL, 0) < 0 && errno == EINTR)
		;
	if (!r && (n != sizeof(pid) || pid < 0))
		r = -EAGAIN;
	*ret = pid;
	return r;
}

static int
fork_child(unsigned flags, pid_t *ret)
{
	if (flags & MAP_SPAWN_DAEMON)
		return fork_daemon(ret);
	*ret = fork();
	return *ret < 0 ? -errno : 0;
}

int
map_child_new(const char *file, char *const *argv, int out, int listener,
	      unsigned flags, struct map_child *ret)
{
	int go[2], r;
	pid_t pid = -1, self = getpid();

	if (pipe2(go, O_CLOEXEC) < 0)
		return -errno;
	r = fork_child(flags, &pid);
	if (!r && !pid) {
		close(go[1]);
		child(file, argv, out, listener, flags, self, go[0]);
	}
	close(go[0]);
	if (r) {
		close(go[1]);
		return r;
	}
	*ret = (struct map_child){.proc = {.pid = pid}, .go = go[1]};
	if (look(pid, &ret->proc.start))
		return 0;
	map_child_forget(ret);
	return -ESRCH;
}

int
map_child_go(struct map_child *c)
{
	struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
	ssize_t n;

	/* One that was killed meanwhile must not take us with it. */
	(void)sigaction(SIGPIPE, &ignore, &before);
	do
		n = write(c->go, "g", 1);
	while (n < 0 && errno == EINTR);
	n = n < 0 ? -errno : 0;
	(void)sigaction(SIGPIPE, &before, NULL);
	map_child_forget(c);
	return (int)n;
}

void
map_child_forget(struct map_child *c)
{
	if (c->go >= 0)
		close(c->go);
	c->go = -1;
}

int
map_child_wait(struct map_child *c)
{
	int status;
	pid_t pid;

	map_child_forget(c);
	do
		pid = waitpid(c->proc.pid, &status, 0);
	while (pid < 0 && errno == EINTR);
	return pid < 0 ? -errno : status;
}
