/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/progress.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct progress {
	struct rnbd_wait *wait;
	pthread_t thread;
	atomic_bool stop;
};

static void *
progress_main(void *arg)
{
	struct progress *p = arg;

	pthread_setname_np(pthread_self(), "rnbd-progress");
	while (!atomic_load(&p->stop))
		rnbd_wait_help(p->wait);
	return NULL;
}

int
progress_start(struct rnbd_wait *s, struct progress **ret)
{
	struct progress *p = calloc(1, sizeof(*p));
	sigset_t all, old;
	int err;

	if (!p)
		return -ENOMEM;
	p->wait = s;
	/* Signals are the program's and belong on its threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&p->thread, NULL, progress_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		free(p);
		return -err;
	}
	*ret = p;
	return 0;
}

void
progress_stop(struct progress *p)
{
	if (!p)
		return;
	atomic_store(&p->stop, true);
	rnbd_wait_kick(p->wait);
	pthread_join(p->thread, NULL);
	free(p);
}
