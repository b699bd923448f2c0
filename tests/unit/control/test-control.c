/* SPDX-License-Identifier: BSD-3-Clause */
/* The control socket: JSON-RPC, limits, stale and living sockets. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "config/control/control-priv.h"
#include "rtrs/base/util.h"

static char dir[32], path[64], text[CONTROL_TEXT_MAX];
static struct loop *l;
static struct control *c;
static pthread_t thread;
static struct control_call *held;

static void
m_ping(void *user, struct control_call *call)
{
	control_reply(call, json_string("pong"));
}

static void
m_hold(void *user, struct control_call *call)
{
	held = call;
}

static void
m_release(void *user, struct control_call *call)
{
	if (held)
		control_reply(held, json_string("released"));
	held = NULL;
	control_reply(call, json_null());
}

static void
m_echo(void *user, struct control_call *call)
{
	control_reply(call, json_pack("{s:s?, s:I, s:b, s:b}", "s",
				      control_string(call, "s"), "n",
				      control_integer(call, "n", -1), "b",
				      (int)control_boolean(call, "b"), "has_n",
				      (int)control_has(call, "n")));
}

static void
m_fail(void *user, struct control_call *call)
{
	control_fail(call, CONTROL_NOT_FOUND, "no %s", "such");
}

static void
m_errno(void *user, struct control_call *call)
{
	control_fail_errno(call, -(int)control_integer(call, "n", 0), "");
}

static void
m_nomem(void *user, struct control_call *call)
{
	control_reply(call, NULL);
}

static const struct control_param echo_params[] = {
	{"s", CONTROL_STRING, true, "a text"},
	{"n", CONTROL_INTEGER, false, "a number"},
	{"b", CONTROL_BOOLEAN, false, "a truth"},
	{NULL},
};
static const struct control_param errno_params[] = {
	{"n", CONTROL_INTEGER, true, "an errno"},
	{NULL},
};

static const struct control_method methods[] = {
	{"ping", m_ping, ""},
	{"hold", m_hold, ""},
	{"release", m_release, ""},
	{"nomem", m_nomem, ""},
	{"echo", m_echo, "", echo_params},
	{"fail", m_fail, "", NULL, true},
	{"change", m_ping, "", echo_params, true},
	{"errno", m_errno, "", errno_params},
	{NULL},
};

/* Of the loop's thread; read when that has answered. */
static char last_log[512];

static void
sink(void *user, enum log_level lvl, const char *line)
{
	snprintf(last_log, sizeof(last_log), "%s", line);
}

static const struct log lg = {.sink = sink, .threshold = LOG_LVL_INFO};

static int
start(unsigned idle_s)
{
	struct control_params p = {
		.log = &lg,
		.loop = l,
		.path = path,
		.methods = methods,
		.idle_s = idle_s,
	};

	return control_new(&p, text, &c);
}

static void *
run(void *arg)
{
	ck_assert_int_eq(loop_run(l), 0);
	return NULL;
}

static void
make_dir(void)
{
	strcpy(dir, "/tmp/gw-control-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/sock", dir);
	ck_assert_int_eq(loop_new(&l), 0);
}

static void
remove_dir(void)
{
	loop_free(l);
	ck_assert_int_eq(rmdir(dir), 0);
}

static void
setup(void)
{
	make_dir();
	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
}

static void
stop(struct loop_call *call)
{
	loop_stop(l);
}

static void
teardown(void)
{
	struct loop_call call = {.fn = stop};

	loop_post(l, &call);
	pthread_join(thread, NULL);
	control_free(c);
	/* A call that outlives its socket is still answered to nobody. */
	if (held)
		control_reply(held, json_null());
	remove_dir();
}

static int
dial(void)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	ck_assert_int_ge(fd, 0);
	strcpy(sun.sun_path, path);
	ck_assert_int_eq(connect(fd, (const void *)&sun, sizeof(sun)), 0);
	return fd;
}

static void
say(int fd, const char *s)
{
	size_t len = strlen(s);

	ck_assert_int_eq(send(fd, s, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* One line without its end; "" when the peer closed. */
static const char *
hear(int fd)
{
	static char buf[4096];
	size_t n = 0;

	while (n < sizeof(buf) - 1 && read(fd, buf + n, 1) == 1 &&
	       buf[n] != '\n')
		n++;
	buf[n] = '\0';
	return buf;
}

static void
ask(const char *line, const char *answer)
{
	int fd = dial();

	say(fd, line);
	say(fd, "\n");
	ck_assert_str_eq(hear(fd), answer);
	close(fd);
}

START_TEST(call_is_answered)
{
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":7}",
	    "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":7}");
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":\"x\","
	    "\"params\":{}}",
	    "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":\"x\"}");
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":null}",
	    "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":null}");
}
END_TEST

static const struct {
	const char *line;
	int code;
} mistakes[] = {
	{"", -32700},
	{"hello", -32700},
	{"{\"a\":1,\"a\":2}", -32700},
	{"{\"jsonrpc\":\"2.0\"", -32700},
	{"[]", -32600},
	{"[1]", -32600},
	{"5", -32600},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"\xff\xfe\",\"id\":1}", -32700},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"a\\u0000\",\"id\":1}", -32700},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"params\":5,\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1}", -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"s\":null},"
	 "\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[5],\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"\",-1],"
	 "\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"\",1.5],"
	 "\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"\",1,1],"
	 "\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[\"\",1,true,1],"
	 "\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":{\"s\":\"\","
	 "\"x\":1},\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":1}", -32001},
	{"{}", -32600},
	{"{\"jsonrpc\":\"1.0\",\"method\":\"ping\",\"id\":1}", -32600},
	{"{\"jsonrpc\":\"2.0\",\"id\":1}", -32600},
	{"{\"jsonrpc\":\"2.0\",\"method\":5,\"id\":1}", -32600},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":[]}", -32600},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"nothing\",\"id\":1}", -32601},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"params\":[1],\"id\":1}",
	 -32602},
	{"{\"jsonrpc\":\"2.0\",\"method\":\"nomem\",\"id\":1}", -32603},
};

START_TEST(mistakes_have_their_code)
{
	char code[32];
	int fd = dial();

	snprintf(code, sizeof(code), "\"code\":%d,", mistakes[_i].code);
	say(fd, mistakes[_i].line);
	say(fd, "\n");
	ck_assert_ptr_nonnull(strstr(hear(fd), code));
	/* And the connection is none the worse for it. */
	say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n");
	ck_assert_ptr_nonnull(strstr(hear(fd), "pong"));
	close(fd);
}
END_TEST

START_TEST(notification_is_not_answered)
{
	int fd = dial();

	say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}\n"
		"{\"jsonrpc\":\"2.0\",\"method\":\"nothing\"}\n"
		"{\"jsonrpc\":\"2.0\",\"method\":\"echo\"}\n"
		"{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}\n"
		"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":2}\n");
	ck_assert_ptr_nonnull(strstr(hear(fd), "\"id\":2"));
	close(fd);
}
END_TEST

START_TEST(parameters_by_name_and_by_position)
{
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,"
	    "\"params\":{\"b\":true,\"s\":\"x\"}}",
	    "{\"jsonrpc\":\"2.0\",\"result\":{\"s\":\"x\",\"n\":-1,\"b\":true,"
	    "\"has_n\":false},\"id\":1}");
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,"
	    "\"params\":[\"x\",7]}",
	    "{\"jsonrpc\":\"2.0\",\"result\":{\"s\":\"x\",\"n\":7,\"b\":false,"
	    "\"has_n\":true},\"id\":1}");
	/* null is as good as not given. */
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1,"
	    "\"params\":[\"x\",null]}",
	    "{\"jsonrpc\":\"2.0\",\"result\":{\"s\":\"x\",\"n\":-1,\"b\":false,"
	    "\"has_n\":false},\"id\":1}");
}
END_TEST

START_TEST(error_has_code_text_and_word)
{
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":1}",
	    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":"
	    "\"no such\",\"data\":{\"cause\":\"not-found\"}},\"id\":1}");
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"id\":1}",
	    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32602,\"message\":"
	    "\"echo: s is missing: a text\",\"data\":{\"cause\":"
	    "\"invalid-params\"}},\"id\":1}");
	ck_assert_str_eq(control_code_word(1), "?");
}
END_TEST

static const struct {
	int err;
	const char *word;
} errnos[] = {
	{ENOENT, "not-found"}, {EEXIST, "exists"}, {EINVAL, "invalid-params"},
	{EBUSY, "in-use"},     {EROFS, "refused"}, {ENOMEM, "internal"},
	{ENOSPC, "failed"},
};

START_TEST(errno_has_its_word)
{
	char line[128];
	int fd = dial();

	snprintf(line, sizeof(line),
		 "{\"jsonrpc\":\"2.0\",\"method\":\"errno\",\"id\":1,"
		 "\"params\":[%d]}\n",
		 errnos[_i].err);
	say(fd, line);
	snprintf(line, sizeof(line), "\"cause\":\"%s\"", errnos[_i].word);
	ck_assert_ptr_nonnull(strstr(hear(fd), line));
	close(fd);
}
END_TEST

START_TEST(batch_is_answered_as_a_batch)
{
	/* One of each: answered, a notification, not a request, unknown. */
	ask("[{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1},"
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"},5,"
	    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":2}]",
	    "[{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":1},"
	    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":"
	    "\"not a JSON-RPC 2.0 request object\",\"data\":{\"cause\":"
	    "\"invalid-request\"}},\"id\":null},"
	    "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":2}]");
}
END_TEST

START_TEST(batch_of_notifications_is_not_answered)
{
	int fd = dial();

	say(fd, "[{\"jsonrpc\":\"2.0\",\"method\":\"ping\"},"
		"{\"jsonrpc\":\"2.0\",\"method\":\"fail\"}]\n"
		"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":2}\n");
	ck_assert_str_eq(hear(fd),
			 "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":2}");
	close(fd);
}
END_TEST

START_TEST(batch_is_limited)
{
	char line[64 * 50] = "[";
	int fd = dial();

	for (int i = 0; i <= CONTROL_MAX_BATCH; i++)
		strcat(line, i ? ",{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}"
			       : "{\"jsonrpc\":\"2.0\",\"method\":\"ping\"}");
	strcat(line, "]\n");
	say(fd, line);
	ck_assert_ptr_nonnull(strstr(hear(fd), "a batch has 1 to 32 calls"));
	close(fd);
}
END_TEST

/* A call in the middle waits; its client goes, and the rest is not made. */
START_TEST(batch_waits_for_each_call)
{
	int a = dial(), b = dial();

	say(a, "[{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1},"
	       "{\"jsonrpc\":\"2.0\",\"method\":\"hold\",\"id\":2},"
	       "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":3}]\n");
	shutdown(a, SHUT_WR);
	do {
		say(b, "{\"jsonrpc\":\"2.0\",\"method\":\"release\",\"id\":3}"
		       "\n");
		hear(b);
	} while (recv(a, text, 1, MSG_PEEK | MSG_DONTWAIT) < 1);
	ck_assert_str_eq(
		hear(a),
		"[{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":1},"
		"{\"jsonrpc\":\"2.0\",\"result\":\"released\",\"id\":2},"
		"{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":3}]");
	ck_assert_str_eq(hear(a), "");
	close(a);
	a = dial();
	say(a, "[{\"jsonrpc\":\"2.0\",\"method\":\"hold\",\"id\":2},"
	       "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":3}]\n");
	close(a);
	say(b, "{\"jsonrpc\":\"2.0\",\"method\":\"release\",\"id\":3}\n");
	ck_assert_str_eq(hear(b),
			 "{\"jsonrpc\":\"2.0\",\"result\":null,\"id\":3}");
	close(b);
}
END_TEST

START_TEST(deep_nesting_is_a_mistake)
{
	static char line[60002];
	int fd = dial();

	memset(line, '[', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	say(fd, line);
	ck_assert_ptr_nonnull(strstr(hear(fd), "-32700"));
	close(fd);
}
END_TEST

/* The error text quotes what is near, and may cut a character. */
START_TEST(mistake_in_other_languages_is_answered)
{
	static char line[400];

	for (size_t cut = 0; cut < 4; cut++) {
		int fd = dial();
		size_t n = 0;

		memset(line, 'x', cut);
		n = cut;
		while (n + 4 < sizeof(line) - 2)
			n += (size_t)sprintf(line + n, "\xe2\x82\xac");
		strcpy(line + n, "\n");
		say(fd, line);
		ck_assert_ptr_nonnull(strstr(hear(fd), "-32700"));
		close(fd);
	}
}
END_TEST

START_TEST(change_is_logged_with_its_author)
{
	char want[128];

	ask("{\"jsonrpc\":\"2.0\",\"method\":\"change\",\"id\":1,"
	    "\"params\":[\"x\"]}",
	    "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":1}");
	snprintf(want, sizeof(want),
		 "control: change '{\"s\":\"x\"}' by uid %u, pid %d: done",
		 (unsigned)getuid(), (int)getpid());
	ck_assert_str_eq(last_log, want);
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"fail\",\"id\":1}",
	    "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32001,\"message\":"
	    "\"no such\",\"data\":{\"cause\":\"not-found\"}},\"id\":1}");
	ck_assert_ptr_nonnull(strstr(last_log, ": no such"));
	last_log[0] = '\0';
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}",
	    "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":1}");
	ck_assert_str_eq(last_log, "");
}
END_TEST

static const struct {
	uid_t uid;
	gid_t gid, more;
	mode_t mode;
	bool may;
} peers[] = {
	/* The daemon is uid 10, its socket is of group 20. */
	{0, 0, 0, 0600, true},     {10, 1, 1, 0600, true},
	{11, 20, 1, 0660, true},   {11, 1, 20, 0660, true},
	{11, 20, 20, 0600, false}, {11, 20, 20, 0640, false},
	{11, 1, 1, 0660, false},   {11, 1, 1, 0666, false},
	{11, 0, 0, 0666, false},
};

START_TEST(peer_is_judged)
{
	const struct ucred peer = {.uid = peers[_i].uid, .gid = peers[_i].gid};
	const struct stat st = {.st_gid = 20, .st_mode = peers[_i].mode};
	const gid_t groups[] = {3, peers[_i].more};

	ck_assert_int_eq(control_peer_may(&peer, groups, 2, 10, &st),
			 peers[_i].may);
}
END_TEST

/* The mode lets everybody connect, and yet. */
START_TEST(stranger_is_turned_away)
{
	pid_t pid;
	int status;

	if (geteuid() != 0) /* only root can be somebody else */
		return;
	ck_assert_int_eq(chmod(path, 0666), 0);
	ck_assert_int_eq(chmod(dir, 0755), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		const char *line;
		int fd;

		if (setgroups(0, NULL) < 0 || setgid(65534) < 0 ||
		    setuid(65534) < 0)
			_exit(2);
		fd = dial();
		line = hear(fd);
		_exit(!strstr(line, "\"cause\":\"permission\"") ||
		      !strstr(line, "uid 65534") || *hear(fd));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(member_of_the_group_is_let_in)
{
	pid_t pid;
	int status;

	if (geteuid() != 0)
		return;
	ck_assert_int_eq(chown(path, (uid_t)-1, 65533), 0);
	ck_assert_int_eq(chmod(dir, 0755), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid) {
		const gid_t more[] = {4, 65533};
		int fd;

		if (setgroups(2, more) < 0 || setgid(65534) < 0 ||
		    setuid(65534) < 0)
			_exit(2);
		fd = dial();
		say(fd, "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n");
		_exit(!strstr(hear(fd), "pong"));
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(text_of_any_bytes)
{
	static const char *const rows[][2] = {
		{"disk", "disk"},
		{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
		{"a\xff"
		 "b",
		 "a\\xFFb"},
		{"\xc3", "\\xC3"},
		{"\xc0\xaf", "\\xC0\\xAF"},
		{"\xed\xa0\x80", "\\xED\\xA0\\x80"},
		{"\xf4\x90\x80\x80", "\\xF4\\x90\\x80\\x80"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		json_t *t = control_text(rows[i][0]);

		ck_assert_str_eq(json_string_value(t), rows[i][1]);
		json_decref(t);
	}
}
END_TEST

START_TEST(many_calls_in_one_write)
{
	static char buf[60000];
	int fd = dial();
	unsigned n = 0;
	size_t len = 0;

	for (; len < sizeof(buf) - 100; n++)
		len += (size_t)sprintf(buf + len,
				       "{\"jsonrpc\":\"2.0\",\"method\":"
				       "\"ping\",\"id\":%u}\n",
				       n);
	say(fd, buf);
	shutdown(fd, SHUT_WR);
	for (unsigned i = 0; i < n; i++)
		ck_assert_ptr_nonnull(strstr(hear(fd), "pong"));
	ck_assert_str_eq(hear(fd), "");
	close(fd);
}
END_TEST

START_TEST(later_answer_reaches_its_client)
{
	int a = dial(), b = dial();

	say(a, "{\"jsonrpc\":\"2.0\",\"method\":\"hold\",\"id\":1}\n"
	       "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":2}\n");
	/* A client that asked may close its writing side. */
	shutdown(a, SHUT_WR);
	do {
		say(b, "{\"jsonrpc\":\"2.0\",\"method\":\"release\",\"id\":3}"
		       "\n");
		hear(b);
	} while (recv(a, text, 1, MSG_PEEK | MSG_DONTWAIT) < 1);
	ck_assert_ptr_nonnull(strstr(hear(a), "released"));
	close(a);
	close(b);
}
END_TEST

START_TEST(client_may_leave_before_its_answer)
{
	int a = dial();

	say(a, "{\"jsonrpc\":\"2.0\",\"method\":\"hold\",\"id\":1}\n");
	close(a);
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"release\",\"id\":1}",
	    "{\"jsonrpc\":\"2.0\",\"result\":null,\"id\":1}");
}
END_TEST

START_TEST(too_long_a_line_ends_the_connection)
{
	static char buf[CONTROL_MAX_LINE + 2];
	int fd = dial();

	memset(buf, 'x', sizeof(buf) - 1);
	say(fd, buf);
	ck_assert_ptr_nonnull(strstr(hear(fd), "the line is too long"));
	ck_assert_str_eq(hear(fd), "");
	close(fd);
}
END_TEST

/* What a client does not read is not made for ever. */
START_TEST(client_that_does_not_read)
{
	static const char ping[] =
		"{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n";
	int fd = dial();
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	size_t sent = 0;

	while (poll(&pfd, 1, 1000) == 1) {
		ssize_t n = send(fd, ping + sent % strlen(ping),
				 strlen(ping) - sent % strlen(ping),
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			sent += (size_t)n;
		ck_assert_uint_lt(sent, 32 << 20);
	}
	/* Once it reads, all that was asked is answered. */
	for (size_t i = 0; i < sent / strlen(ping); i++)
		ck_assert_ptr_nonnull(strstr(hear(fd), "pong"));
	close(fd);
}
END_TEST

static unsigned rounds;
static uint64_t round_at[8];

static bool
count_rounds(void *user)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	round_at[rounds++] =
		(uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	if (rounds == ARRAY_SIZE(round_at))
		loop_stop(l);
	return false;
}

START_TEST(no_descriptors_no_spinning)
{
	struct rlimit old, lim;
	int fd, probe;

	make_dir();
	ck_assert_int_eq(start(0), 0);
	fd = dial();
	probe = dup(fd);
	close(probe);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	lim = old;
	lim.rlim_cur = (rlim_t)probe;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	loop_set_prepare(l, count_rounds, NULL);
	ck_assert_int_eq(loop_run(l), 0);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	ck_assert_uint_ge(round_at[7] - round_at[0],
			  CONTROL_PAUSE_MS * NSEC_PER_MSEC);
	close(fd);
	control_free(c);
	remove_dir();
}
END_TEST

START_TEST(too_many_clients_are_told)
{
	int fds[CONTROL_MAX_CLIENTS], fd;

	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++) {
		fds[i] = dial();
		say(fds[i],
		    "{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":1}\n");
		ck_assert_ptr_nonnull(strstr(hear(fds[i]), "pong"));
	}
	fd = dial();
	ck_assert_ptr_nonnull(strstr(hear(fd), "too many control connections"));
	ck_assert_str_eq(hear(fd), "");
	close(fd);
	for (unsigned i = 0; i < CONTROL_MAX_CLIENTS; i++)
		close(fds[i]);
}
END_TEST

START_TEST(socket_is_for_owner_and_group)
{
	struct stat st;

	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_mode & 07777, 0660);
}
END_TEST

START_TEST(living_socket_is_left_alone)
{
	struct control *other;
	struct control_params p = {
		.loop = l,
		.path = path,
		.methods = methods,
	};

	ck_assert_int_eq(control_new(&p, text, &other), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(text, "another process answers on it"));
	ask("{\"jsonrpc\":\"2.0\",\"method\":\"ping\",\"id\":7}",
	    "{\"jsonrpc\":\"2.0\",\"result\":\"pong\",\"id\":7}");
}
END_TEST

START_TEST(stale_socket_is_replaced)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	make_dir();
	strcpy(sun.sun_path, path);
	ck_assert_int_eq(bind(fd, (const void *)&sun, sizeof(sun)), 0);
	close(fd);
	ck_assert_int_eq(start(0), 0);
	control_free(c);
	ck_assert_int_eq(access(path, F_OK), -1);
	remove_dir();
}
END_TEST

START_TEST(file_in_the_way_is_left_alone)
{
	int fd;

	make_dir();
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	ck_assert_int_ge(fd, 0);
	close(fd);
	ck_assert_int_eq(start(0), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(text, "is not a socket"));
	ck_assert_int_eq(unlink(path), 0);
	remove_dir();
}
END_TEST

START_TEST(missing_folder_is_named)
{
	make_dir();
	snprintf(path, sizeof(path), "%s/no/sock", dir);
	ck_assert_int_eq(start(0), -ENOENT);
	ck_assert_ptr_nonnull(strstr(text, path));
	ck_assert_ptr_nonnull(strstr(text, "No such file or directory"));
	remove_dir();
}
END_TEST

START_TEST(check_says_what_listening_would)
{
	make_dir();
	ck_assert_int_eq(control_check(path, text), 0);
	ck_assert_int_eq(access(path, F_OK), -1);
	ck_assert_int_eq(start(0), 0);
	ck_assert_int_eq(control_check(path, text), -EADDRINUSE);
	ck_assert_ptr_nonnull(strstr(text, "another process answers on it"));
	ck_assert_int_eq(access(path, F_OK), 0);
	control_free(c);
	ck_assert_int_eq(control_check("/dev/null/x", text), -ENOTDIR);
	ck_assert_str_eq(text, "control socket '/dev/null/x': Not a directory");
	remove_dir();
}
END_TEST

START_TEST(idle_client_is_sent_away)
{
	int fd;

	make_dir();
	ck_assert_int_eq(start(1), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, run, NULL), 0);
	fd = dial();
	ck_assert_str_eq(hear(fd), "");
	close(fd);
	teardown();
}
END_TEST

int
main(void)
{
	Suite *s = suite_create("control/control");
	TCase *tc = tcase_create("calls"), *own = tcase_create("socket");
	SRunner *sr;
	int failed;

	signal(SIGPIPE, SIG_IGN);
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, call_is_answered);
	tcase_add_loop_test(tc, mistakes_have_their_code, 0,
			    ARRAY_SIZE(mistakes));
	tcase_add_test(tc, notification_is_not_answered);
	tcase_add_test(tc, parameters_by_name_and_by_position);
	tcase_add_test(tc, error_has_code_text_and_word);
	tcase_add_loop_test(tc, errno_has_its_word, 0, ARRAY_SIZE(errnos));
	tcase_add_test(tc, batch_is_answered_as_a_batch);
	tcase_add_test(tc, batch_of_notifications_is_not_answered);
	tcase_add_test(tc, batch_is_limited);
	tcase_add_test(tc, batch_waits_for_each_call);
	tcase_add_test(tc, deep_nesting_is_a_mistake);
	tcase_add_test(tc, mistake_in_other_languages_is_answered);
	tcase_add_test(tc, change_is_logged_with_its_author);
	tcase_add_test(tc, stranger_is_turned_away);
	tcase_add_test(tc, member_of_the_group_is_let_in);
	tcase_add_test(tc, many_calls_in_one_write);
	tcase_add_test(tc, later_answer_reaches_its_client);
	tcase_add_test(tc, client_may_leave_before_its_answer);
	tcase_add_test(tc, too_long_a_line_ends_the_connection);
	tcase_add_test(tc, client_that_does_not_read);
	tcase_add_test(tc, too_many_clients_are_told);
	tcase_add_test(tc, socket_is_for_owner_and_group);
	tcase_add_test(tc, living_socket_is_left_alone);
	suite_add_tcase(s, tc);
	tcase_add_loop_test(own, peer_is_judged, 0, ARRAY_SIZE(peers));
	tcase_add_test(own, text_of_any_bytes);
	tcase_add_test(own, stale_socket_is_replaced);
	tcase_add_test(own, file_in_the_way_is_left_alone);
	tcase_add_test(own, missing_folder_is_named);
	tcase_add_test(own, check_says_what_listening_would);
	tcase_add_test(own, no_descriptors_no_spinning);
	tcase_add_test(own, idle_client_is_sent_away);
	suite_add_tcase(s, own);
	sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
