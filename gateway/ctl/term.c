/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/term.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "rtrs/base/util.h"

static struct termios before;
static bool entered;
static sigset_t old_mask;
static volatile sig_atomic_t caught;

static const int signals[] = {SIGINT,  SIGTERM, SIGHUP,
			      SIGQUIT, SIGTSTP, SIGWINCH};

bool
term_is(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

static void
on_signal(int signo)
{
	caught = signo;
}

static int
draw_mode(void)
{
	struct termios t = before;

	t.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	t.c_cc[VMIN] = 0;
	t.c_cc[VTIME] = 0;
	if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &t) < 0)
		return -errno;
	/* Another screen, no cursor. */
	fputs("\033[?1049h\033[?25l", stdout);
	return 0;
}

static void
found_mode(void)
{
	fputs("\033[?25h\033[?1049l", stdout);
	(void)fflush(stdout);
	(void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
}

int
term_enter(void)
{
	struct sigaction sa = {.sa_handler = on_signal};
	sigset_t mask;
	int r;

	if (tcgetattr(STDIN_FILENO, &before) < 0)
		return -errno;
	/* They come in while waiting only: no picture is cut. */
	sigemptyset(&mask);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
		sigaddset(&mask, signals[i]);
		sigaction(signals[i], &sa, NULL);
	}
	sigprocmask(SIG_BLOCK, &mask, &old_mask);
	r = draw_mode();
	if (r < 0)
		return r;
	entered = true;
	if (atexit(term_leave))
		return -ENOMEM;
	return 0;
}

void
term_leave(void)
{
	if (!entered)
		return;
	entered = false;
	found_mode();
}

void
term_size(unsigned *rows, unsigned *cols)
{
	struct winsize ws = {0};

	(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws);
	*rows = ws.ws_row ? ws.ws_row : 24;
	*cols = ws.ws_col ? ws.ws_col : 80;
}

void
term_home(void)
{
	fputs("\033[H", stdout);
}

void
term_end_line(void)
{
	fputs("\033[K\n", stdout);
}

void
term_clear_rest(void)
{
	fputs("\033[J", stdout);
	(void)fflush(stdout);
}

/* Stopped by the user's hand, and continued. */
static void
stop_self(void)
{
	found_mode();
	(void)raise(SIGSTOP);
	(void)draw_mode();
}

static uint64_t
now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static int
heard(void)
{
	int signo = caught;

	caught = 0;
	if (signo == SIGTSTP)
		stop_self();
	return signo == SIGTSTP || signo == SIGWINCH ? TERM_REDRAW : TERM_QUIT;
}

int
term_wait(int *ms)
{
	struct pollfd pfd = {.fd = STDIN_FILENO, .events = POLLIN};
	struct timespec ts = {
		.tv_sec = *ms / 1000,
		.tv_nsec = *ms % 1000 * 1000000L,
	};
	uint64_t start = now_ms(), spent;
	unsigned char key;
	int r = ppoll(&pfd, 1, &ts, &old_mask);

	spent = now_ms() - start;
	*ms = spent < (uint64_t)*ms ? *ms - (int)spent : 0;
	if (r < 0)
		return errno == EINTR && caught ? heard() : TERM_QUIT;
	if (!r)
		return TERM_TIMEOUT;
	return read(STDIN_FILENO, &key, 1) == 1 ? key : TERM_QUIT;
}
