/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Locking: pool->lock guards every field below it, of the pool and of all its
 * executors, and the writes to the eventfds, so that an executor that was
 * freed under the lock is not touched any more. Jobs run without it.
 */
#include "gateway/backend/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <utlist.h>

struct job_queue {
	struct gw_job *head;
	struct gw_job **tail;
};

struct gw_pool_exec {
	struct gw_exec base;
	struct gw_pool *pool;
	int efd;
	struct job_queue todo;
	struct job_queue finished;
	unsigned running;
	/* In pool->busy while todo is not empty. */
	struct gw_pool_exec *prev, *next;
};

struct gw_pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* Executors with work, served in turn: no worker starves another. */
	struct gw_pool_exec *busy;
	unsigned n_todo;
	unsigned n_idle; /* threads in pthread_cond_wait */
	unsigned n_threads;
	unsigned max_threads;
	bool stop;
	pthread_t threads[];
};

static void
queue_init(struct job_queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void
queue_push(struct job_queue *q, struct gw_job *job)
{
	job->next = NULL;
	*q->tail = job;
	q->tail = &job->next;
}

static struct gw_job *
queue_pop(struct job_queue *q)
{
	struct gw_job *job = q->head;

	if (!job)
		return NULL;
	q->head = job->next;
	if (!q->head)
		q->tail = &q->head;
	return job;
}

/* Lock held. */
static void
job_finished(struct gw_pool_exec *e, struct gw_job *job)
{
	bool first = !e->finished.head;

	queue_push(&e->finished, job);
	if (first) {
		uint64_t one = 1;
		ssize_t n;

		/* Fails only when the counter is about to overflow, and then
		 * the descriptor is readable already. */
		n = write(e->efd, &one, sizeof(one));
		(void)n;
	}
}

/* Lock held; returns with it held. */
static void
run_one(struct gw_pool *pool)
{
	struct gw_pool_exec *e = pool->busy;
	struct gw_job *job = queue_pop(&e->todo);

	DL_DELETE(pool->busy, e);
	if (e->todo.head)
		DL_APPEND(pool->busy, e);
	pool->n_todo--;
	e->running++;
	pthread_mutex_unlock(&pool->lock);

	job->work(job);

	pthread_mutex_lock(&pool->lock);
	e->running--;
	job_finished(e, job);
}

static void *
pool_thread(void *arg)
{
	struct gw_pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		if (pool->busy) {
			run_one(pool);
			continue;
		}
		if (pool->stop)
			break;
		pool->n_idle++;
		pthread_cond_wait(&pool->wake, &pool->lock);
		pool->n_idle--;
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

/* Lock held. Signals are the control thread's: none is taken here. */
static void
start_thread(struct gw_pool *pool)
{
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (!pthread_create(&pool->threads[pool->n_threads], NULL, pool_thread,
			    pool))
		pool->n_threads++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void
pool_run(struct gw_exec *exec, struct gw_job *job)
{
	struct gw_pool_exec *e = container_of(exec, struct gw_pool_exec, base);
	struct gw_pool *pool = e->pool;

	pthread_mutex_lock(&pool->lock);
	if (!e->todo.head)
		DL_APPEND(pool->busy, e);
	queue_push(&e->todo, job);
	pool->n_todo++;
	if (pool->n_todo > pool->n_idle && pool->n_threads < pool->max_threads)
		start_thread(pool);
	/* Not one thread could be had: slow is better than never. */
	while (!pool->n_threads && pool->busy)
		run_one(pool);
	pthread_cond_signal(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
}

int
gw_pool_new(unsigned max_threads, struct gw_pool **ret)
{
	struct gw_pool *pool;

	if (!max_threads)
		return -EINVAL;
	pool = calloc(1, sizeof(*pool) + max_threads * sizeof(pthread_t));
	if (!pool)
		return -ENOMEM;
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
	pool->max_threads = max_threads;
	*ret = pool;
	return 0;
}

void
gw_pool_free(struct gw_pool *pool)
{
	if (!pool)
		return;
	pthread_mutex_lock(&pool->lock);
	pool->stop = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->n_threads; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
	free(pool);
}

int
gw_pool_exec_new(struct gw_pool *pool, struct gw_pool_exec **ret)
{
	struct gw_pool_exec *e = calloc(1, sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->efd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (e->efd < 0) {
		int err = -errno;

		free(e);
		return err;
	}
	e->base.run = pool_run;
	e->pool = pool;
	queue_init(&e->todo);
	queue_init(&e->finished);
	*ret = e;
	return 0;
}

void
gw_pool_exec_free(struct gw_pool_exec *e)
{
	if (!e)
		return;
	/* A thread may still be on its way out of job_finished(). */
	pthread_mutex_lock(&e->pool->lock);
	close(e->efd);
	pthread_mutex_unlock(&e->pool->lock);
	free(e);
}

struct gw_exec *
gw_pool_exec_base(struct gw_pool_exec *e)
{
	return &e->base;
}

int
gw_pool_exec_fd(const struct gw_pool_exec *e)
{
	return e->efd;
}

int
gw_pool_exec_reap(struct gw_pool_exec *e)
{
	struct gw_job *job, *next;
	uint64_t count;
	ssize_t r;
	int n = 0;

	/* First the event, then the list: what is finished in between costs
	 * one wake-up too many, never one too few. */
	r = read(e->efd, &count, sizeof(count));
	(void)r;
	pthread_mutex_lock(&e->pool->lock);
	job = e->finished.head;
	queue_init(&e->finished);
	pthread_mutex_unlock(&e->pool->lock);

	for (; job; job = next, n++) {
		next = job->next;
		job->done(job);
	}
	return n;
}
