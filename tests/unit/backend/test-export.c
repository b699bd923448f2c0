/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "gateway/export.h"
#include "tests/unit/backend/rig.h"

#define RO  RNBD_ACCESS_RO
#define RW  RNBD_ACCESS_RW
#define MIG RNBD_ACCESS_MIGRATION

struct fixture {
	struct rig r;
	struct gw_exports *x;
	char text[GW_TEXT_MAX];
};

static void
fixture_init(struct fixture *f)
{
	rig_init(&f->r, false);
	ck_assert_int_eq(gw_exports_new(&f->r.log, &f->x), 0);
	f->text[0] = '\0';
}

static void
fixture_deinit(struct fixture *f)
{
	gw_exports_free(f->x);
	rig_deinit(&f->r);
}

static void
add(struct fixture *f, const char *name, const char *spec)
{
	char name_spec[512];

	snprintf(name_spec, sizeof(name_spec), "%s=%s", name, spec);
	ck_assert_msg(!gw_exports_add_text(f->x, name_spec, f->text), "%s",
		      f->text);
}

static int
do_open(struct fixture *f, const char *sess, const char *dev, uint8_t mode,
	struct gw_opened *o)
{
	struct gw_open_params p = {
		.sess_name = sess,
		.dev_name = dev,
		.access_mode = mode,
		.exec = f->r.exec,
		.io = f->r.io,
		.log = &f->r.log,
	};

	f->text[0] = '\0';
	return gw_exports_open(f->x, &p, o, f->text);
}

static void
do_close(struct fixture *f, struct gw_opened *o)
{
	gw_exports_close(f->x, o);
}

struct listed {
	unsigned n;
	char text[256];
};

static void
list_one(void *user, const struct gw_exports_item *info)
{
	struct listed *l = user;
	size_t n = strlen(l->text);

	l->n++;
	snprintf(l->text + n, sizeof(l->text) - n, "%s=%s%s %llu;",
		 info->spec->name, info->text,
		 info->spec->read_only ? " (ro)" : "",
		 (unsigned long long)info->size_bytes);
}

START_TEST(exports_are_listed_in_order)
{
	struct listed l = {0};
	struct fixture f;

	fixture_init(&f);
	add(&f, "b", "null:1M");
	add(&f, "a", "memory:1M,ro");
	ck_assert_uint_eq(gw_exports_count(f.x), 2);
	gw_exports_for_each(f.x, list_one, &l);
	ck_assert_uint_eq(l.n, 2);
	ck_assert_str_eq(l.text, "b=null:1M 1048576;a=memory:1M,ro (ro) "
				 "1048576;");
	fixture_deinit(&f);
}
END_TEST

START_TEST(what_cannot_be_served_is_told_when_it_is_added)
{
	char spec[512], why[1024];
	struct fixture f;

	fixture_init(&f);
	add(&f, "a", "null:1M");
	ck_assert_int_eq(gw_exports_add_text(f.x, "a=null:2M", f.text),
			 -EEXIST);
	ck_assert_str_eq(f.text,
			 "export 'a': there is one of that name already");

	snprintf(spec, sizeof(spec), "m=%s/missing", f.r.dir);
	ck_assert_int_eq(gw_exports_add_text(f.x, spec, f.text), -ENOENT);
	snprintf(why, sizeof(why),
		 "export 'm': cannot open '%s': No such file or directory: "
		 "create it first (truncate -s SIZE), or add ',create=SIZE'",
		 spec + 2);
	ck_assert_str_eq(f.text, why);

	/* What is not there may be misspelt, or come by itself. */
	snprintf(spec, sizeof(spec), "m=%s/missing,foo", f.r.dir);
	ck_assert_int_eq(gw_exports_add_text(f.x, spec, f.text), -ENOENT);
	snprintf(why, sizeof(why),
		 "export 'm': there is no file '%s', and 'foo' is no option: "
		 "known are " GW_SPEC_OPTIONS,
		 spec + 2);
	ck_assert_str_eq(f.text, why);
	ck_assert_int_eq(gw_exports_add_text(f.x, "m=/dev/no-such", f.text),
			 -ENOENT);
	ck_assert_str_eq(f.text, "export 'm': cannot open '/dev/no-such': No "
				 "such file or directory");
	for (unsigned i = 0; i < 3; i++) {
		static const char *const scheme[] = {"nbd", "http", "nbd+unix"};

		snprintf(spec, sizeof(spec), "m=%s:/x", scheme[i]);
		ck_assert_int_eq(gw_exports_add_text(f.x, spec, f.text),
				 -EINVAL);
		snprintf(why, sizeof(why),
			 "export 'm': '%s:' begins no backend: give a path, "
			 "file:PATH, memory:SIZE, null:SIZE, or an NBD URI: "
			 "nbd://, nbds://, nbd+unix://, nbds+unix://",
			 scheme[i]);
		ck_assert_str_eq(f.text, why);
	}

	snprintf(spec, sizeof(spec), "d=%s", f.r.dir);
	ck_assert_int_eq(gw_exports_add_text(f.x, spec, f.text), -ENOTBLK);
	snprintf(why, sizeof(why),
		 "export 'd': '%s' is neither a regular file nor a block "
		 "device",
		 spec + 2);
	ck_assert_str_eq(f.text, why);

	snprintf(spec, sizeof(spec), "e=%s", rig_file(f.r.dir, "empty", 0));
	ck_assert_int_eq(gw_exports_add_text(f.x, spec, f.text), -ENODATA);
	snprintf(why, sizeof(why), "export 'e': '%s' is empty", spec + 2);
	ck_assert_str_eq(f.text, why);
	snprintf(spec, sizeof(spec), "e=%s", rig_file(f.r.dir, "short", 511));
	ck_assert_int_eq(gw_exports_add_text(f.x, spec, f.text), -ENODATA);
	snprintf(why, sizeof(why),
		 "export 'e': '%s' has 511 bytes, less than a block of 512",
		 spec + 2);
	ck_assert_str_eq(f.text, why);

	ck_assert_int_eq(gw_exports_add_text(f.x, "x=memory:1048576T", f.text),
			 -ENOMEM);
	ck_assert_ptr_nonnull(strstr(f.text, "export 'x': cannot reserve"));
	ck_assert_uint_eq(gw_exports_count(f.x), 1);
	fixture_deinit(&f);
}
END_TEST

START_TEST(opening_finds_names_and_refuses_with_words)
{
	static const struct {
		const char *dev;
		uint8_t mode;
		int err;
		const char *text;
	} cases[] = {
		{"none", RO, -ENOENT, "no such export 'none'"},
		{"", RO, -EINVAL, "the device name is empty"},
		{"a..b", RO, -EINVAL,
		 "device name 'a..b': \"..\" is not allowed"},
		{"../x", RW, -EINVAL,
		 "device name '../x': \"..\" is not allowed"},
		{"disk", 3, -EINVAL, "access mode 3 is unknown"},
		{"frozen", RW, -EACCES,
		 "export 'frozen' is read-only: open it with access_mode=ro"},
		{"frozen", MIG, -EACCES,
		 "export 'frozen' is read-only: open it with access_mode=ro"},
		{"evil\n\xff", RO, -ENOENT,
		 "no such export 'evil?"
		 "?'"},
	};
	struct fixture f;
	struct gw_opened o;

	fixture_init(&f);
	add(&f, "disk", "memory:1M");
	add(&f, "frozen", "memory:1M,ro");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int err = do_open(&f, "s", cases[i].dev, cases[i].mode, &o);

		ck_assert_msg(err == cases[i].err, "'%s': %d %s", cases[i].dev,
			      err, f.text);
		ck_assert_str_eq(f.text, cases[i].text);
	}
	ck_assert_int_eq(do_open(&f, "s", "disk", RW, &o), 0);
	ck_assert_ptr_eq(o.backend->ops, &backend_memory);
	ck_assert(!o.backend->geo.read_only);
	do_close(&f, &o);
	ck_assert_int_eq(do_open(&f, "s", "frozen", RO, &o), 0);
	ck_assert(o.backend->geo.read_only);
	do_close(&f, &o);
	fixture_deinit(&f);
}
END_TEST

START_TEST(a_file_vanished_since_is_told_to_the_client)
{
	struct fixture f;
	struct gw_opened o;
	const char *path;

	fixture_init(&f);
	path = rig_file(f.r.dir, "f", 4096);
	add(&f, "disk", path);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(do_open(&f, "s", "disk", RW, &o), -ENOENT);
	ck_assert_str_eq(f.text, "the server cannot open export 'disk': No "
				 "such file or directory");
	fixture_deinit(&f);
}
END_TEST

START_TEST(named_exports_hide_those_of_the_search_path)
{
	struct fixture f;
	struct gw_opened o;
	char buf[512];

	fixture_init(&f);
	rig_file(f.r.dir, "disk", 4096);
	rig_file(f.r.dir, "other", 8192);
	add(&f, "disk", "null:1M");
	ck_assert_int_eq(gw_exports_set_search_path(f.x, f.r.dir, f.text), 0);
	/* The same once more changes nothing. */
	ck_assert_int_eq(gw_exports_set_search_path(f.x, f.r.dir, f.text), 0);
	ck_assert_int_eq(do_open(&f, "s", "disk", RW, &o), 0);
	ck_assert_ptr_eq(o.backend->ops, &backend_null);
	do_close(&f, &o);
	ck_assert_int_eq(do_open(&f, "s", "/disk", RO, &o), 0);
	ck_assert_ptr_eq(o.backend->ops, &backend_file);
	ck_assert_uint_eq(o.backend->geo.size_bytes, 4096);
	ck_assert(o.backend->geo.read_only);
	do_close(&f, &o);
	ck_assert_int_eq(do_open(&f, "s", "other", RW, &o), 0);
	memset(buf, 'o', sizeof(buf));
	ck_assert_int_eq(rig_write(&f.r, o.backend, 512, 512, buf), 0);
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(rig_read(&f.r, o.backend, 512, 512, buf), 0);
	ck_assert_int_eq(buf[511], 'o');
	do_close(&f, &o);
	rig_file(f.r.dir, "empty", 0);
	ck_assert_int_eq(do_open(&f, "s", "empty", RW, &o), -EINVAL);
	ck_assert_str_eq(f.text, "the server cannot use 'empty': it is empty, "
				 "or its blocks are of no usable size");
	ck_assert_int_eq(do_open(&f, "s", "nothing", RW, &o), -ENOENT);
	ck_assert_str_eq(f.text, "no such export 'nothing'");
	fixture_deinit(&f);
}
END_TEST

START_TEST(a_file_needs_an_engine)
{
	struct fixture f;
	struct gw_opened o;
	struct gw_open_params p = {.sess_name = "s", .dev_name = "disk"};

	fixture_init(&f);
	add(&f, "disk", rig_file(f.r.dir, "f", 4096));
	ck_assert_int_eq(gw_exports_open(f.x, &p, &o, f.text), -EOPNOTSUPP);
	fixture_deinit(&f);
}
END_TEST

/* Who is there, who comes, what happens. */
START_TEST(access_modes_across_sessions)
{
	static const struct {
		int held[2]; /* -1: none */
		uint8_t mode;
		int err;
		const char *text;
	} cases[] = {
		{{-1, -1}, RO, 0, ""},
		{{-1, -1}, RW, 0, ""},
		{{-1, -1}, MIG, 0, ""},
		{{RO, RO}, RO, 0, ""},
		{{RO, RO}, RW, 0, ""},
		{{RO, RO}, MIG, 0, ""},
		{{RW, -1}, RO, 0, ""},
		{{RW, -1},
		 RW,
		 -EPERM,
		 "busy: 'disk' is already open read-write by session 'x'"},
		{{RW, -1}, MIG, 0, ""},
		{{RO, RW},
		 RW,
		 -EPERM,
		 "busy: 'disk' is already open read-write by session 'y'"},
		{{MIG, -1}, RO, 0, ""},
		{{MIG, -1},
		 RW,
		 -EPERM,
		 "busy: 'disk' is already open for migration by session 'x'"},
		{{MIG, -1}, MIG, 0, ""},
		{{RW, MIG}, RO, 0, ""},
		{{RW, MIG},
		 RW,
		 -EPERM,
		 "busy: 'disk' is already open read-write by session 'x', for "
		 "migration by session 'y'"},
		{{RW, MIG},
		 MIG,
		 -EPERM,
		 "busy: 'disk' is already open read-write by session 'x', for "
		 "migration by session 'y'"},
		{{MIG, MIG},
		 MIG,
		 -EPERM,
		 "busy: 'disk' is already open for migration by session 'x', "
		 "for migration by session 'y'"},
	};
	static const char *const sess[] = {"x", "y"};
	struct gw_opened held[2], o;
	struct fixture f;

	fixture_init(&f);
	add(&f, "disk", "memory:1M");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int err;

		for (int k = 0; k < 2; k++)
			if (cases[i].held[k] >= 0)
				ck_assert_int_eq(
					do_open(&f, sess[k], "disk",
						(uint8_t)cases[i].held[k],
						&held[k]),
					0);
		err = do_open(&f, "z", "disk", cases[i].mode, &o);
		ck_assert_msg(err == cases[i].err, "case %zu: %d", i, err);
		ck_assert_str_eq(f.text, cases[i].text);
		if (!err)
			do_close(&f, &o);
		for (int k = 0; k < 2; k++)
			if (cases[i].held[k] >= 0)
				do_close(&f, &held[k]);
		/* Whatever it was, it is free again. */
		ck_assert_int_eq(do_open(&f, "z", "disk", RW, &o), 0);
		do_close(&f, &o);
	}
	fixture_deinit(&f);
}
END_TEST

START_TEST(claims_go_by_identity_not_by_name)
{
	struct gw_opened a, b;
	struct fixture f;
	const char *path;

	fixture_init(&f);
	path = rig_file(f.r.dir, "f", 4096);
	add(&f, "one", path);
	add(&f, "two", path);
	add(&f, "m1", "memory:1M");
	add(&f, "m2", "memory:1M");
	add(&f, "n1", "null:1M");
	add(&f, "n2", "null:1M");
	ck_assert_int_eq(gw_exports_set_search_path(f.x, f.r.dir, f.text), 0);
	ck_assert_int_eq(do_open(&f, "x", "one", RW, &a), 0);
	ck_assert_int_eq(do_open(&f, "y", "two", RW, &b), -EPERM);
	ck_assert_str_eq(f.text,
			 "busy: 'two' is already open read-write by session "
			 "'x'");
	ck_assert_int_eq(do_open(&f, "y", "f", RW, &b), -EPERM);
	/* The one who holds it gets no second one either. */
	ck_assert_int_eq(do_open(&f, "x", "two", RW, &b), -EPERM);
	do_close(&f, &a);
	ck_assert_int_eq(do_open(&f, "x", "m1", RW, &a), 0);
	ck_assert_int_eq(do_open(&f, "y", "m2", RW, &b), 0);
	do_close(&f, &a);
	do_close(&f, &b);
	ck_assert_int_eq(do_open(&f, "x", "n1", RW, &a), 0);
	ck_assert_int_eq(do_open(&f, "y", "n2", RW, &b), 0);
	do_close(&f, &a);
	do_close(&f, &b);
	fixture_deinit(&f);
}
END_TEST

START_TEST(a_backend_of_the_callers_own)
{
	struct memory_store *store;
	struct fixture f;
	struct gw_opened o;

	fixture_init(&f);
	ck_assert_int_eq(memory_store_new(1 << 20, &store), 0);
	ck_assert_int_eq(gw_exports_add_backend(f.x, "mine", &backend_memory,
						store, 0, false),
			 0);
	ck_assert_int_eq(gw_exports_add_backend(f.x, "mine", &backend_memory,
						store, 0, false),
			 -EEXIST);
	ck_assert_int_eq(gw_exports_add_backend(f.x, "", &backend_memory, store,
						0, false),
			 -EINVAL);
	ck_assert_int_eq(gw_exports_add_backend(f.x, "frozen", &backend_null,
						NULL, 4096, true),
			 0);
	ck_assert_int_eq(do_open(&f, "s", "mine", RW, &o), 0);
	ck_assert_uint_eq(o.backend->geo.size_bytes, 1 << 20);
	do_close(&f, &o);
	ck_assert_int_eq(do_open(&f, "s", "frozen", RW, &o), -EACCES);
	ck_assert_int_eq(do_open(&f, "s", "frozen", RO, &o), 0);
	do_close(&f, &o);
	fixture_deinit(&f);
	memory_store_unref(store);
}
END_TEST

START_TEST(session_names_are_unique)
{
	struct fixture f;

	fixture_init(&f);
	ck_assert_int_eq(gw_exports_name_claim(f.x, "a"), 0);
	ck_assert_int_eq(gw_exports_name_claim(f.x, "b"), 0);
	ck_assert_int_eq(gw_exports_name_claim(f.x, "a"), -EPERM);
	gw_exports_name_release(f.x, "a");
	gw_exports_name_release(f.x, "a");
	ck_assert_int_eq(gw_exports_name_claim(f.x, "a"), 0);
	ck_assert_int_eq(gw_exports_name_claim(f.x, "b"), -EPERM);
	fixture_deinit(&f);
}
END_TEST

struct racer {
	struct gw_exports *x;
	pthread_barrier_t *start;
	unsigned n_won, n_lost;
};

static _Atomic int holders;

static void *
race(void *arg)
{
	struct racer *racer = arg;
	struct gw_open_params p = {
		.sess_name = "racer", .dev_name = "disk", .access_mode = RW};
	char text[GW_TEXT_MAX];
	struct gw_opened o;

	pthread_barrier_wait(racer->start);
	for (int i = 0; i < 2000; i++) {
		int err = gw_exports_open(racer->x, &p, &o, text);

		if (err) {
			racer->n_lost += err == -EPERM;
			continue;
		}
		racer->n_won += ++holders == 1;
		holders--;
		gw_exports_close(racer->x, &o);
	}
	return NULL;
}

START_TEST(only_one_writer_wins_a_race)
{
	struct racer racers[4];
	pthread_t threads[4];
	pthread_barrier_t start;
	struct fixture f;

	fixture_init(&f);
	add(&f, "disk", "memory:1M");
	pthread_barrier_init(&start, NULL, 4);
	for (int i = 0; i < 4; i++) {
		racers[i] = (struct racer){.x = f.x, .start = &start};
		ck_assert_int_eq(
			pthread_create(&threads[i], NULL, race, &racers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		ck_assert_uint_eq(racers[i].n_won + racers[i].n_lost, 2000);
	}
	pthread_barrier_destroy(&start);
	fixture_deinit(&f);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_test(tc, exports_are_listed_in_order);
	tcase_add_test(tc, what_cannot_be_served_is_told_when_it_is_added);
	tcase_add_test(tc, opening_finds_names_and_refuses_with_words);
	tcase_add_test(tc, a_file_vanished_since_is_told_to_the_client);
	tcase_add_test(tc, named_exports_hide_those_of_the_search_path);
	tcase_add_test(tc, a_file_needs_an_engine);
	tcase_add_test(tc, access_modes_across_sessions);
	tcase_add_test(tc, claims_go_by_identity_not_by_name);
	tcase_add_test(tc, a_backend_of_the_callers_own);
	tcase_add_test(tc, session_names_are_unique);
	tcase_add_test(tc, only_one_writer_wins_a_race);
}

int
main(void)
{
	return rig_main("backend/export", add_tests);
}
