/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at exports that wait while other things go on. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gateway/export.h"
#include "tests/unit/backend/rig.h"

static struct rig r;
static struct gw_exports *x;
static char text[GW_TEXT_MAX];

/* -------------------------------------------- an executor, turned by hand */

#define MAX_JOBS 4

static struct gw_job *jobs[MAX_JOBS];
static unsigned n_jobs;

static void
take_job(struct gw_exec *exec, struct gw_job *job)
{
	ck_assert_uint_lt(n_jobs, MAX_JOBS);
	jobs[n_jobs++] = job;
}

static struct gw_exec by_hand = {.run = take_job};

/* ------------------------------------------------ a server, and who asks it */

/* What it has, or why it cannot be opened. */
static uint64_t server_bytes;
static int server_err;
static unsigned n_open;

static int
far_open(const struct backend_open_params *p, struct backend **ret)
{
	struct backend *b = calloc(1, sizeof(*b));

	ck_assert_ptr_nonnull(b);
	if (server_err) {
		free(b);
		snprintf(p->err_text, GW_TEXT_MAX, "the server is ill");
		return server_err;
	}
	b->geo.size_bytes = server_bytes;
	n_open++;
	*ret = b;
	return 0;
}

static void
far_close(struct backend *b)
{
	n_open--;
	free(b);
}

static const struct backend_ops far_ops = {
	.name = "far",
	.open = far_open,
	.close = far_close,
};

struct asker {
	struct gw_look look;
	unsigned n_done;
};

static void
on_done(struct gw_look *look)
{
	container_of(look, struct asker, look)->n_done++;
}

static int
begin(struct asker *a, const char *name, int cancel_fd)
{
	*a = (struct asker){
		.look =
			{
				.exec = &by_hand,
				.cancel_fd = cancel_fd,
				.done = on_done,
			},
	};
	return gw_exports_look(x, name, &a->look, text);
}

static void
end(struct asker *a)
{
	a->look.job.done(&a->look.job);
	ck_assert_uint_eq(a->n_done, 1);
	ck_assert_uint_eq(n_open, 0);
}

static void
list_one(void *user, const struct gw_exports_item *item)
{
	*(uint64_t *)user = item->size_bytes;
}

/* Of the only one there is. */
static uint64_t
size_now(void)
{
	uint64_t size = 0;

	ck_assert_uint_eq(gw_exports_count(x), 1);
	gw_exports_for_each(x, list_one, &size);
	return size;
}

static void
setup(void)
{
	rig_init(&r, false);
	ck_assert_int_eq(gw_exports_new(&r.log, &x), 0);
	ck_assert_int_eq(
		gw_exports_add_backend(x, "far", &far_ops, NULL, 4096, false),
		0);
	n_jobs = n_open = 0;
	server_bytes = 8192;
	server_err = 0;
	text[0] = '\0';
}

static void
teardown(void)
{
	gw_exports_free(x);
	rig_deinit(&r);
}

START_TEST(it_is_seen_when_the_look_has_ended)
{
	struct asker a;

	ck_assert_int_eq(begin(&a, "far", -1), 0);
	ck_assert_uint_eq(n_jobs, 1);
	jobs[0]->work(jobs[0]);
	ck_assert_uint_eq(size_now(), 4096);
	ck_assert_uint_eq(a.n_done, 0);
	end(&a);
	ck_assert_int_eq(a.look.err, 0);
	ck_assert_uint_eq(size_now(), 8192);

	ck_assert_int_eq(begin(&a, "near", -1), -ENOENT);
	ck_assert_str_eq(text, "export 'near': there is none of that name");
	ck_assert_uint_eq(n_jobs, 1);
}
END_TEST

START_TEST(two_may_look_at_once)
{
	struct asker a, b;

	ck_assert_int_eq(begin(&a, "far", -1), 0);
	ck_assert_int_eq(begin(&b, "far", -1), 0);
	jobs[0]->work(jobs[0]);
	server_bytes = 16384;
	jobs[1]->work(jobs[1]);
	end(&a);
	ck_assert_uint_eq(size_now(), 8192);
	end(&b);
	ck_assert_uint_eq(size_now(), 16384);
	ck_assert_int_eq(a.look.err | b.look.err, 0);
}
END_TEST

START_TEST(what_fails_changes_nothing)
{
	struct asker a;

	server_err = -EIO;
	ck_assert_int_eq(begin(&a, "far", -1), 0);
	jobs[0]->work(jobs[0]);
	end(&a);
	ck_assert_int_eq(a.look.err, -EIO);
	ck_assert_str_eq(a.look.err_text, "export 'far': the server is ill");
	ck_assert_uint_eq(size_now(), 4096);
}
END_TEST

/* Before, or after the server was asked. */
START_TEST(an_export_may_go_meanwhile)
{
	struct asker a;

	ck_assert_int_eq(begin(&a, "far", -1), 0);
	if (_i)
		jobs[0]->work(jobs[0]);
	ck_assert_int_eq(gw_exports_remove(x, "far", text), 0);
	if (!_i)
		jobs[0]->work(jobs[0]);
	end(&a);
	ck_assert_int_eq(a.look.err, -ENOENT);
	ck_assert_str_eq(a.look.err_text, "the export is gone or was replaced");
	ck_assert_uint_eq(gw_exports_count(x), 0);
}
END_TEST

START_TEST(its_successor_is_another)
{
	struct asker a;

	/* Nor is a failure that of the successor. */
	server_err = _i ? -EIO : 0;
	ck_assert_int_eq(begin(&a, "far", -1), 0);
	ck_assert_int_eq(gw_exports_remove(x, "far", text), 0);
	ck_assert_int_eq(gw_exports_add_text(x, "far=null:1M", text), 0);
	jobs[0]->work(jobs[0]);
	end(&a);
	ck_assert_int_eq(a.look.err, -ENOENT);
	ck_assert_uint_eq(size_now(), 1 << 20);
}
END_TEST

/* Who listens there never says anything. */
START_TEST(a_mute_server_is_left_when_told_to)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int cancel_fd = eventfd(1, EFD_CLOEXEC);
	struct asker a;
	char spec[200];

	snprintf(sun.sun_path, sizeof(sun.sun_path), "%s/mute", r.dir);
	ck_assert_int_eq(bind(fd, (const void *)&sun, sizeof(sun)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	snprintf(spec, sizeof(spec),
		 "mute=nbd+unix:///?socket=%s,connect-timeout=300",
		 sun.sun_path);
	ck_assert_int_eq(gw_exports_add_text(x, spec, text), 0);
	ck_assert(gw_exports_is_remote(x, "mute"));
	ck_assert(!gw_exports_is_remote(x, "far"));
	ck_assert(!gw_exports_is_remote(x, "near"));

	ck_assert_int_eq(begin(&a, "mute", cancel_fd), 0);
	jobs[0]->work(jobs[0]);
	end(&a);
	ck_assert_int_eq(a.look.err, -ECANCELED);
	ck_assert_ptr_nonnull(strstr(a.look.err_text, "export 'mute': NBD "));
	close(cancel_fd);
	close(fd);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, it_is_seen_when_the_look_has_ended);
	tcase_add_test(tc, two_may_look_at_once);
	tcase_add_test(tc, what_fails_changes_nothing);
	tcase_add_loop_test(tc, an_export_may_go_meanwhile, 0, 2);
	tcase_add_loop_test(tc, its_successor_is_another, 0, 2);
	tcase_add_test(tc, a_mute_server_is_left_when_told_to);
}

int
main(void)
{
	return rig_main("backend/export-look", add_tests);
}
