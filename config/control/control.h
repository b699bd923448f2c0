/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The control socket: JSON-RPC 2.0 on a unix stream socket, one object or one
 * batch per line each way. It knows how to talk and who may, not what about:
 * methods are a table, and a method may answer later.
 *
 * Limits: CONTROL_MAX_CLIENTS at once, lines of CONTROL_MAX_LINE bytes, batches
 * of CONTROL_MAX_BATCH calls, one call of a client under way at a time, idle
 * clients are sent away. The process must ignore SIGPIPE.
 */
#ifndef CONFIG_CONTROL_H
#define CONFIG_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

#include "config/control/loop.h"
#include "rtrs/base/log.h"

#define CONTROL_MAX_CLIENTS 16
#define CONTROL_MAX_LINE    65536
#define CONTROL_MAX_BATCH   32
/* No call is taken while more than this waits to be read by the client. */
#define CONTROL_MAX_UNREAD  65536
/* Out of descriptors: look away for so long. */
#define CONTROL_PAUSE_MS    100
#define CONTROL_IDLE_S      60
#define CONTROL_TEXT_MAX    256

struct control;
struct control_call;
struct hist;

/*
 * Codes of errors: those of JSON-RPC 2.0 section 5.1, and ours in the range
 * that it leaves to applications. Each has a word, which is sent too:
 * data.cause of the error object.
 */
enum control_code {
	CONTROL_PARSE_ERROR = -32700,
	CONTROL_INVALID_REQUEST = -32600,
	CONTROL_NO_METHOD = -32601,
	CONTROL_INVALID_PARAMS = -32602,
	CONTROL_INTERNAL = -32603,

	CONTROL_BUSY = -32000,       /* too many clients */
	CONTROL_NOT_FOUND = -32001,  /* what was named is not there */
	CONTROL_PERMISSION = -32002, /* the caller may not */
	CONTROL_EXISTS = -32003,
	CONTROL_IN_USE = -32004,
	CONTROL_REFUSED = -32005, /* understood, and not possible as it is */
	CONTROL_FAILED = -32006,  /* the system would not */
};
/* "not-found" and so on; "?" for any other number. */
const char *control_code_word(int code);

enum control_type {
	CONTROL_STRING,
	CONTROL_INTEGER, /* not negative */
	CONTROL_BOOLEAN,
};

struct control_param {
	const char *name;
	enum control_type type;
	bool required;
	const char *help; /* one line */
};

struct control_method {
	const char *name;
	/* Ends in one control_reply() or control_fail(), now or later. */
	void (*fn)(void *user, struct control_call *call);
	const char *help; /* one line */
	/* In the order of an array of params; ended by a NULL name. NULL: it
	 * takes none. Judged before fn is called. */
	const struct control_param *params;
	bool changes; /* changes something: who called is logged */
};

struct control_params {
	struct loop *loop;
	const char *path;
	const struct control_method *methods; /* ended by a NULL name */
	void *user;
	const struct log *log; /* NULL is fine */
	unsigned idle_s;       /* 0: CONTROL_IDLE_S */
	/* Whose group the socket is; otherwise that of the process. */
	bool has_group;
	gid_t group;
};

/*
 * Listens, mode 0660. A socket that nobody listens on is replaced. Errors:
 * -EADDRINUSE somebody answers there or it is something else than a socket,
 * -EPERM the group cannot be given to it, -ENOMEM, those of bind(2); err_text
 * says it in one line.
 */
int control_new(const struct control_params *p, char err_text[CONTROL_TEXT_MAX],
		struct control **ret);
/*
 * Could control_new() listen at this path, in this process as it is? It does so
 * for a moment. Errors and words are those of control_new().
 */
int control_check(const char *path, char err_text[CONTROL_TEXT_MAX]);
/* Closes the socket and removes its path. Calls may still be answered. */
void control_free(struct control *c);

/* --- inside a call, on the loop's thread */

/* A parameter that was given, borrowed until the answer; NULL, or def. */
const char *control_string(const struct control_call *call, const char *name);
json_int_t control_integer(const struct control_call *call, const char *name,
			   json_int_t def);
bool control_boolean(const struct control_call *call, const char *name);
/* Whether it was given, and is not null. */
bool control_has(const struct control_call *call, const char *name);

/* Steals result. NULL: out of memory. Ends the call. */
void control_reply(struct control_call *call, json_t *result);
/* The text is one line: the object, the cause, the remedy. Ends the call. */
void control_fail(struct control_call *call, enum control_code code,
		  const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The code that fits a negative errno, with the text. Ends the call. */
void control_fail_errno(struct control_call *call, int err, const char *text);

/*
 * A JSON string of any bytes: what is not UTF-8 is written as \xHH. The same
 * bytes give the same string, so it may be compared with a parameter.
 */
json_t *control_text(const char *s);

/* {count, p50_ns, p99_ns, sum_ns}; and [[highest time, count], ...] of those
 * buckets that have any. The caller's; NULL: no memory. */
json_t *control_hist(const struct hist *h);
json_t *control_hist_buckets(const struct hist *h);

/* For each method {name, help, changes, params}. */
json_t *control_describe(const struct control_method *methods);

#endif
