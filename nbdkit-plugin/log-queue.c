/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/log-queue.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

struct line {
	struct line *next;
	enum log_level level;
	char text[];
};

struct log_queue {
	const struct log *out;
	struct log in;
	pthread_t thread;
	pthread_mutex_t lock; /* never held while a line is written */
	pthread_cond_t some;  /* lines, or the end */
	pthread_cond_t none;  /* all is written */
	struct line *first, **last;
	unsigned n, dropped;
	bool writing, ending;
};

static void
put(void *user, enum log_level level, const char *text)
{
	struct log_queue *q = user;
	size_t len = strlen(text) + 1;
	struct line *l = malloc(sizeof(*l) + len);

	if (l) {
		l->next = NULL;
		l->level = level;
		memcpy(l->text, text, len);
	}
	pthread_mutex_lock(&q->lock);
	if (l && q->n < LOG_QUEUE_MAX) {
		*q->last = l;
		q->last = &l->next;
		q->n++;
		l = NULL;
	} else {
		q->dropped++;
	}
	pthread_cond_signal(&q->some);
	pthread_mutex_unlock(&q->lock);
	free(l);
}

static void
write_lines(const struct log *out, struct line *l, unsigned dropped)
{
	struct line *next;

	for (; l; l = next) {
		next = l->next;
		out->sink(out->user, l->level, l->text);
		free(l);
	}
	if (dropped)
		log_warn(out, "%u log lines were lost", dropped);
}

static void *
log_main(void *arg)
{
	struct log_queue *q = arg;

	pthread_setname_np(pthread_self(), "rnbd-log");
	pthread_mutex_lock(&q->lock);
	for (;;) {
		struct line *first = q->first;
		unsigned dropped = q->dropped;

		if (!first && !dropped) {
			pthread_cond_broadcast(&q->none);
			if (q->ending)
				break;
			pthread_cond_wait(&q->some, &q->lock);
			continue;
		}
		q->first = NULL;
		q->last = &q->first;
		q->n = q->dropped = 0;
		q->writing = true;
		pthread_mutex_unlock(&q->lock);
		write_lines(q->out, first, dropped);
		pthread_mutex_lock(&q->lock);
		q->writing = false;
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

static int
thread_start(struct log_queue *q)
{
	sigset_t all, old;
	int err;

	/* Signals are the program's and belong on its threads. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&q->thread, NULL, log_main, q);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return -err;
}

int
log_queue_new(const struct log *out, struct log_queue **ret)
{
	struct log_queue *q = calloc(1, sizeof(*q));
	int err;

	if (!q)
		return -ENOMEM;
	q->last = &q->first;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->some, NULL);
	pthread_cond_init(&q->none, NULL);
	if (out) {
		q->out = out;
		q->in = *out;
		q->in.sink = put;
		q->in.user = q;
		err = thread_start(q);
		if (err) {
			q->out = NULL;
			log_queue_free(q);
			return err;
		}
	}
	*ret = q;
	return 0;
}

const struct log *
log_queue_log(const struct log_queue *q)
{
	return &q->in;
}

void
log_queue_wait(struct log_queue *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->first || q->dropped || q->writing)
		pthread_cond_wait(&q->none, &q->lock);
	pthread_mutex_unlock(&q->lock);
}

void
log_queue_free(struct log_queue *q)
{
	if (!q)
		return;
	if (q->out) {
		pthread_mutex_lock(&q->lock);
		q->ending = true;
		pthread_cond_signal(&q->some);
		pthread_mutex_unlock(&q->lock);
		pthread_join(q->thread, NULL);
	}
	pthread_cond_destroy(&q->none);
	pthread_cond_destroy(&q->some);
	pthread_mutex_destroy(&q->lock);
	free(q);
}
