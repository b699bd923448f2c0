/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/ctl/ctl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#define TIMEOUT_S  30
/* An answer that is longer than this is none. */
#define MAX_ANSWER (256u << 20)

struct rpc {
	int fd;
	const char *path;
	char *buf; /* what was read, and the next line of it */
	size_t len, size;
};

static int
connect_error(const struct ctl *ctl, const char *path, int err)
{
	struct stat st;

	if (err == ECONNREFUSED && !stat(path, &st) && !S_ISSOCK(st.st_mode))
		return ctl_fail(
			CTL_USAGE, "%s: this is %s; name the socket%s", path,
			S_ISDIR(st.st_mode) ? "a directory" : "no socket",
			S_ISDIR(st.st_mode) ? " in it" : "");
	if (err == EACCES)
		return ctl_fail(CTL_PERMISSION,
				"%s: %s; root, the daemon's user and the "
				"socket's group may use it",
				path, strerror(err));
	if (ctl->client)
		return ctl_fail(CTL_UNREACHABLE,
				"%s: %s; no client answers there: is nbdkit "
				"running its plugin rnbd with control=%s?",
				path, strerror(err), path);
	return ctl_fail(CTL_UNREACHABLE,
			"%s: %s; is rnbd-gatewayd running with --control %s?",
			path, strerror(err), path);
}

int
rpc_connect(const char *path, struct rpc **ret)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};
	struct timeval tv = {.tv_sec = TIMEOUT_S};
	struct rpc *rpc;

	int err;

	if (strlen(path) >= sizeof(sun.sun_path))
		return -ENAMETOOLONG;
	strcpy(sun.sun_path, path);
	rpc = calloc(1, sizeof(*rpc));
	if (!rpc)
		return -ENOMEM;
	rpc->path = path;
	rpc->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (rpc->fd < 0) {
		err = -errno;
		free(rpc);
		return err;
	}
	(void)setsockopt(rpc->fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(rpc->fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	if (connect(rpc->fd, (const void *)&sun, sizeof(sun)) < 0) {
		err = -errno;
		rpc_close(rpc);
		return err;
	}
	*ret = rpc;
	return 0;
}

bool
rpc_is_server(const json_t *version)
{
	return !strcmp(json_str(version, "program"), "rnbd-gatewayd");
}

/* Both have sessions and paths: a wrong answer would look like a right one. */
static int
check_server(struct rpc *rpc)
{
	json_t *version = NULL;
	bool left = false;
	int r = rpc_call_unless_left(rpc, "version", NULL, &version, &left);

	/* The call that is to come says it. */
	if (left)
		return CTL_OK;
	if (!r && *json_str(version, "program") && !rpc_is_server(version))
		r = ctl_fail(CTL_USAGE,
			     "%s: a client answers there, %s; for its side say "
			     "`client` before the command",
			     rpc->path, json_str(version, "program"));
	json_decref(version);
	return r;
}

int
rpc_open(const struct ctl *ctl, struct rpc **ret)
{
	const char *path = ctl->socket ? ctl->socket : CTL_SERVER_SOCKET;
	struct rpc *rpc;
	int r = rpc_connect(path, &rpc);

	if (r == -ENAMETOOLONG)
		return ctl_fail(CTL_USAGE, "%s: the path is too long", path);
	if (r)
		return connect_error(ctl, path, -r);
	if (!ctl->client)
		r = check_server(rpc);
	if (r)
		rpc_close(rpc);
	else
		*ret = rpc;
	return r;
}

void
rpc_close(struct rpc *rpc)
{
	if (!rpc)
		return;
	close(rpc->fd);
	free(rpc->buf);
	free(rpc);
}

pid_t
rpc_peer(const struct rpc *rpc)
{
	struct ucred cred = {0};
	socklen_t len = sizeof(cred);

	if (getsockopt(rpc->fd, SOL_SOCKET, SO_PEERCRED, &cred, &len) < 0)
		return 0;
	return cred.pid;
}

static int
send_all(int fd, const char *line, size_t len)
{
	while (len) {
		ssize_t n = send(fd, line, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		line += n;
		len -= (size_t)n;
	}
	return 0;
}

/* One line, without its end; the caller's. */
static int
read_line(struct rpc *rpc, char **ret)
{
	for (;;) {
		char *nl = rpc->len ? memchr(rpc->buf, '\n', rpc->len) : NULL;
		ssize_t n;

		if (nl) {
			size_t used = (size_t)(nl - rpc->buf) + 1;

			*nl = '\0';
			*ret = strdup(rpc->buf);
			rpc->len -= used;
			memmove(rpc->buf, rpc->buf + used, rpc->len);
			return *ret ? 0 : -ENOMEM;
		}
		if (rpc->len == rpc->size) {
			size_t size = rpc->size ? 2 * rpc->size : 65536;
			char *p = size > MAX_ANSWER ? NULL
						    : realloc(rpc->buf, size);

			if (!p)
				return -ENOMEM;
			rpc->buf = p;
			rpc->size = size;
		}
		n = recv(rpc->fd, rpc->buf + rpc->len, rpc->size - rpc->len, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (!n)
			return -ECONNRESET;
		rpc->len += (size_t)n;
	}
}

/* Of the error's word: codes of other daemons may differ. */
static int
exit_of(const json_t *error)
{
	static const struct {
		const char *word;
		int code;
	} rows[] = {
		{"not-found", CTL_NOT_FOUND},
		{"permission", CTL_PERMISSION},
		{"invalid-params", CTL_USAGE},
		{"busy", CTL_UNREACHABLE},
	};
	const char *word = json_str(error, "data.cause");

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!strcmp(rows[i].word, word))
			return rows[i].code;
	return CTL_REFUSED;
}

/* Steals answer. */
static int
judge(const struct rpc *rpc, const char *method, json_t *answer, json_t **ret)
{
	json_t *result = json_object_get(answer, "result");
	const json_t *error = json_object_get(answer, "error");
	int r = CTL_OK;

	if (result)
		*ret = json_incref(result);
	else if (error)
		r = ctl_fail(exit_of(error), "%s", json_str(error, "message"));
	else
		r = ctl_fail(CTL_REFUSED, "%s: %s: the answer is none",
			     rpc->path, method);
	json_decref(answer);
	return r;
}

int
rpc_call_unless_left(struct rpc *rpc, const char *method, json_t *params,
		     json_t **ret, bool *ret_left)
{
	json_t *req = json_pack("{s:s, s:s, s:o*, s:i}", "jsonrpc", "2.0",
				"method", method, "params", params, "id", 1);
	cleanup_free char *text = req ? json_dumps(req, JSON_COMPACT) : NULL;
	cleanup_free char *line = NULL;
	int r;

	json_decref(req);
	if (!text)
		return ctl_fail(CTL_USAGE, "%s: a word is not UTF-8", method);
	r = send_all(rpc->fd, text, strlen(text));
	if (!r)
		r = send_all(rpc->fd, "\n", 1);
	/* Who is turned away is told why, and may be so before it spoke. */
	if (!r || r == -EPIPE || r == -ECONNRESET)
		r = read_line(rpc, &line);
	if (ret_left)
		*ret_left = r == -EPIPE || r == -ECONNRESET;
	if (ret_left && *ret_left)
		return CTL_UNREACHABLE;
	if (r < 0)
		return ctl_fail(CTL_UNREACHABLE, "%s: no answer: %s", rpc->path,
				strerror(-r));
	return judge(rpc, method, json_loads(line, 0, NULL), ret);
}

int
rpc_call(struct rpc *rpc, const char *method, json_t *params, json_t **ret)
{
	return rpc_call_unless_left(rpc, method, params, ret, NULL);
}

int
ctl_call(const struct ctl *ctl, const char *method, json_t *params,
	 json_t **ret)
{
	struct rpc *rpc = NULL;
	int r = rpc_open(ctl, &rpc);

	if (r) {
		json_decref(params);
		return r;
	}
	r = rpc_call(rpc, method, params, ret);
	rpc_close(rpc);
	return r;
}
