/* SPDX-License-Identifier: BSD-3-Clause */
/* Exports that come, go and change while they are open. */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "gateway/export.h"
#include "rtrs/rtrs.h"
#include "tests/unit/backend/rig.h"

#define RO RNBD_ACCESS_RO
#define RW RNBD_ACCESS_RW

static struct rig r;
static struct gw_exports *x;
static char text[GW_TEXT_MAX];

static void
setup(void)
{
	rig_init(&r, false);
	ck_assert_int_eq(gw_exports_new(&r.log, &x), 0);
	text[0] = '\0';
}

static void
teardown(void)
{
	gw_exports_free(x);
	rig_deinit(&r);
}

static void
add(const char *name_spec)
{
	ck_assert_msg(!gw_exports_add_text(x, name_spec, text), "%s", text);
}

static int
do_open(const char *dev, uint8_t mode, struct gw_opened *o)
{
	struct gw_open_params p = {
		.sess_name = "s",
		.dev_name = dev,
		.access_mode = mode,
		.exec = r.exec,
		.io = r.io,
		.log = &r.log,
	};

	return gw_exports_open(x, &p, o, text);
}

/* Whether a mapping of session "s" may stay. */
static int
may_stay(const struct gw_opened *o, uint64_t *ret_size)
{
	struct gw_asker who = {.sess_name = "s"};
	uint64_t size;
	int err = gw_export_allow(x, o, &who, &size, text);

	if (ret_size)
		*ret_size = size;
	return err;
}

/* Comma-free texts, ended by NULL. */
static int
reload(const char *const *texts)
{
	struct gw_spec specs[8] = {0};
	unsigned n = 0;
	int err;

	for (; texts[n]; n++)
		ck_assert_int_eq(gw_spec_parse(texts[n], &specs[n], text), 0);
	err = gw_exports_reload(x, specs, n, text);
	while (n--)
		gw_spec_deinit(&specs[n]);
	return err;
}
#define RELOAD(...) reload((const char *const[]){__VA_ARGS__, NULL})

static void
list_one(void *user, const struct gw_exports_item *item)
{
	char *list = user;
	size_t n = strlen(list);

	snprintf(list + n, 256 - n, "%s=%s %u;", item->spec->name, item->text,
		 item->mappings);
}

static const char *
listed(void)
{
	static char list[256];

	list[0] = '\0';
	gw_exports_for_each(x, list_one, list);
	return list;
}

START_TEST(a_removed_export_stays_for_who_has_it_open)
{
	struct gw_opened o, none;
	char buf[512] = "kept";

	add("m=memory:1M");
	ck_assert_int_eq(do_open("m", RW, &o), 0);
	ck_assert_str_eq(listed(), "m=memory:1M 1;");
	ck_assert_int_eq(rig_write(&r, o.backend, 0, 512, buf), 0);
	ck_assert_int_eq(may_stay(&o, NULL), 0);
	ck_assert_int_eq(gw_exports_remove(x, "m", text), 0);
	ck_assert_int_eq(gw_exports_remove(x, "m", text), -ENOENT);
	ck_assert_str_eq(text, "export 'm': there is none of that name");
	ck_assert_uint_eq(gw_exports_count(x), 0);
	ck_assert_int_eq(may_stay(&o, NULL), -ENOENT);
	ck_assert_int_eq(do_open("m", RO, &none), -ENOENT);
	/* Requests under way still have their memory. */
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(rig_read(&r, o.backend, 0, 512, buf), 0);
	ck_assert_str_eq(buf, "kept");
	/* One of the same name is another one. */
	add("m=memory:1M");
	ck_assert_int_eq(may_stay(&o, NULL), -ENOENT);
	ck_assert_int_eq(do_open("m", RW, &none), 0);
	ck_assert_int_eq(rig_read(&r, none.backend, 0, 512, buf), 0);
	ck_assert_int_eq(buf[0], 0);
	gw_exports_close(x, &o);
	gw_exports_close(x, &none);
}
END_TEST

START_TEST(a_reload_keeps_what_did_not_change)
{
	struct gw_opened a, b, c, d;
	char buf[512] = "kept";

	add("a=memory:1M");
	add("b=memory:1M");
	add("c=memory:1M");
	add("d=memory:1M");
	ck_assert_int_eq(do_open("a", RW, &a), 0);
	ck_assert_int_eq(do_open("b", RW, &b), 0);
	ck_assert_int_eq(do_open("c", RW, &c), 0);
	ck_assert_int_eq(do_open("d", RW, &d), 0);
	ck_assert_int_eq(rig_write(&r, a.backend, 0, 512, buf), 0);
	ck_assert_int_eq(RELOAD("new=null:1M", "b=memory:2M", "d=memory:1M,ro",
				"a=memory:1M,iops=77,bandwidth=4K"),
			 0);
	/* In the order of the new description. */
	ck_assert_str_eq(listed(),
			 "new=null:1M 0;b=memory:2M 0;d=memory:1M,ro 0;"
			 "a=memory:1M,iops=77,bandwidth=4096 1;");
	ck_assert_int_eq(may_stay(&a, NULL), 0);
	ck_assert_int_eq(may_stay(&b, NULL), -ENOENT);
	ck_assert_int_eq(may_stay(&c, NULL), -ENOENT);
	ck_assert_int_eq(may_stay(&d, NULL), -ENOENT);
	ck_assert(gw_throttle_limits(gw_export_throttle(a.export)));
	gw_exports_close(x, &a);
	ck_assert_int_eq(do_open("a", RO, &a), 0);
	ck_assert_int_eq(rig_read(&r, a.backend, 0, 512, buf), 0);
	ck_assert_str_eq(buf, "kept");
	gw_exports_close(x, &a);
	gw_exports_close(x, &b);
	gw_exports_close(x, &c);
	gw_exports_close(x, &d);
	/* And away with all of it. */
	ck_assert_int_eq(gw_exports_reload(x, NULL, 0, text), 0);
	ck_assert_uint_eq(gw_exports_count(x), 0);
}
END_TEST

START_TEST(a_bad_reload_changes_nothing)
{
	char made[300], create[400], bad[400];
	struct gw_opened o;

	add("a=memory:1M,iops=5");
	ck_assert_int_eq(do_open("a", RW, &o), 0);
	snprintf(made, sizeof(made), "%s/made", r.dir);
	snprintf(create, sizeof(create), "made=%s,create=1M", made);
	snprintf(bad, sizeof(bad), "bad=%s/missing", r.dir);
	ck_assert_int_eq(RELOAD("a=memory:1M", "n=null:1M", create, bad),
			 -ENOENT);
	ck_assert_ptr_nonnull(strstr(text, "export 'bad': cannot open"));
	ck_assert_str_eq(listed(), "a=memory:1M,iops=5 1;");
	ck_assert_int_eq(may_stay(&o, NULL), 0);
	ck_assert_int_eq(access(made, F_OK), -1);
	ck_assert_int_eq(RELOAD("n=null:1M", "n=null:2M"), -EEXIST);
	ck_assert_str_eq(text, "export 'n': there is one of that name already");
	ck_assert_str_eq(listed(), "a=memory:1M,iops=5 1;");
	gw_exports_close(x, &o);
}
END_TEST

START_TEST(limits_change_while_it_is_open)
{
	struct gw_throttle *t;
	struct gw_opened o;
	unsigned gen;

	add("a=memory:1M");
	ck_assert_int_eq(do_open("a", RW, &o), 0);
	t = gw_export_throttle(o.export);
	ck_assert(!gw_throttle_limits(t));
	ck_assert_int_eq(gw_exports_set_limits(x, "a", 10, 0, text), 0);
	ck_assert(gw_throttle_limits(t));
	ck_assert_str_eq(listed(), "a=memory:1M,iops=10 1;");
	/* The same limits again do not give a new burst. */
	gen = gw_throttle_gen(t);
	ck_assert_int_eq(gw_exports_set_limits(x, "a", 10, 0, text), 0);
	ck_assert_int_eq(RELOAD("a=memory:1M,iops=10"), 0);
	ck_assert_uint_eq(gw_throttle_gen(t), gen);
	ck_assert_int_eq(gw_exports_set_limits(x, "a", 0, 100, text), -EINVAL);
	ck_assert_int_eq(gw_exports_set_limits(x, "b", 1, 0, text), -ENOENT);
	gw_exports_close(x, &o);
}
END_TEST

static struct sockaddr_storage
address(const char *s)
{
	struct sockaddr_storage ss = {0};
	struct gw_net net;
	struct sockaddr_in *in = (void *)&ss;

	ck_assert_int_eq(gw_net_parse(s, &net, text), 0);
	in->sin_family = AF_INET;
	memcpy(&in->sin_addr, net.addr + 12, 4);
	return ss;
}

START_TEST(who_may_open_it)
{
	struct sockaddr_storage peers[2] = {address("10.1.2.3"),
					    address("192.168.0.1")};
	struct gw_asker who = {
		.sess_name = "web-1", .peers = peers, .n_peers = 1};
	struct gw_opened o;
	uint64_t size;

	add("a=memory:1M,sessions=web-*,addresses=10.0.0.0/8");
	add("b=memory:1M");
	ck_assert_int_eq(gw_exports_allow(x, "a", &who, text), 0);
	ck_assert_int_eq(gw_exports_allow(x, "b", &who, text), 0);
	ck_assert_int_eq(gw_exports_allow(x, "none", &who, text), 0);
	/* All of its addresses. */
	who.n_peers = 2;
	ck_assert_int_eq(gw_exports_allow(x, "a", &who, text), -EACCES);
	ck_assert_str_eq(text, "export 'a' is not for the address of session "
			       "'web-1'");
	who.n_peers = 1;
	who.sess_name = "db";
	ck_assert_int_eq(gw_exports_allow(x, "a", &who, text), -EACCES);
	ck_assert_str_eq(text, "export 'a' is not for session 'db'");

	/* Rights change while it is open. */
	ck_assert_int_eq(do_open("b", RW, &o), 0);
	ck_assert_int_eq(gw_export_allow(x, &o, &who, &size, text), 0);
	ck_assert_int_eq(RELOAD("b=memory:1M,sessions=other"), 0);
	ck_assert_int_eq(gw_export_allow(x, &o, &who, &size, text), -EACCES);
	ck_assert_int_eq(RELOAD("b=memory:1M,sessions=other,sessions=d?"), 0);
	ck_assert_int_eq(gw_export_allow(x, &o, &who, &size, text), 0);
	gw_exports_close(x, &o);
}
END_TEST

START_TEST(another_search_path_takes_its_mappings_along)
{
	struct gw_opened o, named;
	char other[300];

	rig_file(r.dir, "f", 4096);
	add("n=null:1M");
	ck_assert_int_eq(gw_exports_set_search_path(x, r.dir, text), 0);
	ck_assert_int_eq(do_open("f", RW, &o), 0);
	ck_assert_int_eq(do_open("n", RW, &named), 0);
	ck_assert_str_eq(gw_export_name(o.export), "");
	ck_assert_str_eq(gw_export_name(named.export), "n");
	snprintf(other, sizeof(other), "%s/missing", r.dir);
	ck_assert_int_eq(gw_exports_set_search_path(x, other, text), -ENOENT);
	ck_assert_int_eq(may_stay(&o, NULL), 0);
	ck_assert_int_eq(gw_exports_set_search_path(x, NULL, text), 0);
	ck_assert_int_eq(may_stay(&o, NULL), -ENOENT);
	ck_assert_int_eq(may_stay(&named, NULL), 0);
	gw_exports_close(x, &o);
	gw_exports_close(x, &named);
	ck_assert_int_eq(do_open("f", RW, &o), -ENOENT);
}
END_TEST

START_TEST(a_missing_file_is_made_once)
{
	char spec[400], path[300];
	struct stat st;

	snprintf(path, sizeof(path), "%s/new", r.dir);
	snprintf(spec, sizeof(spec), "a=%s,create=8M", path);
	add(spec);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 8 << 20);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_int_eq(st.st_blocks, 0);
	ck_assert_int_eq(gw_exports_remove(x, "a", text), 0);
	/* What is there stays as it is. */
	ck_assert_int_eq(truncate(path, 4096), 0);
	add(spec);
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_int_eq(st.st_size, 4096);

	snprintf(spec, sizeof(spec), "b=%s/no/dir,create=1M", r.dir);
	ck_assert_int_eq(gw_exports_add_text(x, spec, text), -ENOENT);
	ck_assert_ptr_nonnull(strstr(text, "export 'b': cannot create '"));
	ck_assert_ptr_nonnull(strstr(text, "its directory must be there"));
	/* A name that is taken makes no file. */
	snprintf(spec, sizeof(spec), "a=%s/never,create=1M", r.dir);
	ck_assert_int_eq(gw_exports_add_text(x, spec, text), -EEXIST);
	snprintf(path, sizeof(path), "%s/never", r.dir);
	ck_assert_int_eq(access(path, F_OK), -1);
	/* Nor does one that cannot get its size leave one behind. */
	snprintf(spec, sizeof(spec), "c=%s,create=8388607T", path);
	ck_assert_int_eq(gw_exports_add_text(x, spec, text), -EFBIG);
	ck_assert_ptr_nonnull(strstr(text, "no files that large"));
	ck_assert_int_eq(access(path, F_OK), -1);
}
END_TEST

static uint64_t
resized(const char *name, uint64_t size)
{
	uint64_t now = 0;

	ck_assert_msg(!gw_exports_resize(x, name, size, &now, text), "%s",
		      text);
	return now;
}

START_TEST(exports_grow)
{
	const char *path = rig_file(r.dir, "f", 8192);
	struct gw_opened f, m, n;
	char spec[400], buf[512];
	uint64_t size;

	snprintf(spec, sizeof(spec), "f=%s", path);
	add(spec);
	add("m=memory:1M");
	add("n=null:1M");
	ck_assert_int_eq(do_open("f", RW, &f), 0);
	ck_assert_int_eq(do_open("m", RW, &m), 0);
	ck_assert_int_eq(do_open("n", RW, &n), 0);

	/* Grown by others, seen when told to look. */
	ck_assert_int_eq(truncate(path, 16384), 0);
	/* What the open found is newer than what the table has. */
	ck_assert_int_eq(may_stay(&f, &size), 0);
	ck_assert_uint_eq(size, 0);
	ck_assert_uint_eq(resized("f", 0), 16384);
	ck_assert_int_eq(may_stay(&f, &size), 0);
	ck_assert_uint_eq(size, 16384);
	/* Grown by us. */
	ck_assert_uint_eq(resized("f", 1 << 20), 1 << 20);
	ck_assert_uint_eq(resized("m", 2 << 20), 2 << 20);
	ck_assert_uint_eq(resized("m", 0), 2 << 20);
	ck_assert_ptr_nonnull(strstr(listed(), "m=memory:2M"));
	ck_assert_uint_eq(resized("n", 2 << 20), 2 << 20);
	/* The new part is there for those who had it open. */
	memset(buf, 7, sizeof(buf));
	ck_assert_int_eq(rig_write(&r, m.backend, (2 << 20) - 512, 512, buf),
			 0);
	backend_grow(f.backend, 1 << 20);
	ck_assert_int_eq(rig_write(&r, f.backend, (1 << 20) - 512, 512, buf),
			 0);
	gw_exports_close(x, &f);
	gw_exports_close(x, &m);
	gw_exports_close(x, &n);
	/* And for others. */
	ck_assert_int_eq(do_open("m", RW, &m), 0);
	ck_assert_uint_eq(m.backend->geo.size_bytes, 2 << 20);
	memset(buf, 0, sizeof(buf));
	ck_assert_int_eq(rig_read(&r, m.backend, (2 << 20) - 512, 512, buf), 0);
	ck_assert_int_eq(buf[511], 7);
	ck_assert_int_eq(do_open("n", RW, &n), 0);
	ck_assert_uint_eq(n.backend->geo.size_bytes, 2 << 20);
	ck_assert_int_eq(do_open("f", RW, &f), 0);
	ck_assert_uint_eq(f.backend->geo.size_bytes, 1 << 20);
	/* A description with the size that it got is the same. */
	ck_assert_int_eq(RELOAD("m=memory:2M", "n=null:1M", spec), 0);
	ck_assert_int_eq(may_stay(&m, NULL), 0);
	ck_assert_int_eq(may_stay(&n, NULL), 0);
	ck_assert_int_eq(may_stay(&f, NULL), 0);
	gw_exports_close(x, &f);
	gw_exports_close(x, &m);
	gw_exports_close(x, &n);
}
END_TEST

START_TEST(what_cannot_grow_says_why)
{
	static const struct {
		const char *name;
		uint64_t size;
		int err;
		const char *why;
	} cases[] = {
		{"none", 0, -ENOENT, "there is none of that name"},
		{"f", 4096, -EINVAL, "has 8192 bytes: it can only grow"},
		{"f", 8193, -EINVAL, "a size is a multiple of 512"},
		{"ro", 16384, -EROFS, "is read-only: grow '"},
		{"m", 512, -EINVAL, "has 1048576 bytes: it can only grow"},
		{"m", 17 << 20, -ENOMEM, "at most 16 times its first size"},
		{"n", 512, -EINVAL, "has 1048576 bytes: it can only grow"},
	};
	const char *path = rig_file(r.dir, "f", 8192);
	char spec[400];
	uint64_t size;

	snprintf(spec, sizeof(spec), "f=%s", path);
	add(spec);
	snprintf(spec, sizeof(spec), "ro=%s,ro", path);
	add(spec);
	add("m=memory:1M");
	add("n=null:1M");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int err = gw_exports_resize(x, cases[i].name, cases[i].size,
					    &size, text);

		ck_assert_msg(err == cases[i].err, "%zu: %d %s", i, err, text);
		ck_assert_msg(strstr(text, cases[i].why), "%zu: %s", i, text);
	}
	ck_assert_uint_eq(resized("m", 16 << 20), 16 << 20);
	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(gw_exports_resize(x, "f", 0, &size, text), -ENOENT);
}
END_TEST

static void
add_tests(TCase *tc)
{
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_removed_export_stays_for_who_has_it_open);
	tcase_add_test(tc, a_reload_keeps_what_did_not_change);
	tcase_add_test(tc, a_bad_reload_changes_nothing);
	tcase_add_test(tc, limits_change_while_it_is_open);
	tcase_add_test(tc, who_may_open_it);
	tcase_add_test(tc, another_search_path_takes_its_mappings_along);
	tcase_add_test(tc, a_missing_file_is_made_once);
	tcase_add_test(tc, exports_grow);
	tcase_add_test(tc, what_cannot_grow_says_why);
}

int
main(void)
{
	return rig_main("backend/export-change", add_tests);
}
