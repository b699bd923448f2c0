/* SPDX-License-Identifier: BSD-3-Clause */
/* JSON-RPC 2.0: lines to calls, batches, parameters, answers and errors. */
#include "config/control/control-priv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rtrs/base/util.h"

/* --------------------------------------------------------------- errors */

static const struct {
	int code;
	const char *word;
} words[] = {
	{CONTROL_PARSE_ERROR, "parse-error"},
	{CONTROL_INVALID_REQUEST, "invalid-request"},
	{CONTROL_NO_METHOD, "no-method"},
	{CONTROL_INVALID_PARAMS, "invalid-params"},
	{CONTROL_INTERNAL, "internal"},
	{CONTROL_BUSY, "busy"},
	{CONTROL_NOT_FOUND, "not-found"},
	{CONTROL_PERMISSION, "permission"},
	{CONTROL_EXISTS, "exists"},
	{CONTROL_IN_USE, "in-use"},
	{CONTROL_REFUSED, "refused"},
	{CONTROL_FAILED, "failed"},
};

const char *
control_code_word(int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (words[i].code == code)
			return words[i].word;
	return "?";
}

/* Length of the UTF-8 sequence at s; 0: none. */
static size_t
utf8_len(const unsigned char *s)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n = s[0] < 0x80   ? 1
		   : s[0] < 0xc0 ? 0
		   : s[0] < 0xe0 ? 2
		   : s[0] < 0xf0 ? 3
		   : s[0] < 0xf8 ? 4
				 : 0;
	uint32_t v = s[0] & (0xffu >> (n + 1));

	if (n <= 1)
		return n;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		v = v << 6 | (s[i] & 0x3f);
	}
	if (v < least[n] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
		return 0;
	return n;
}

json_t *
control_text(const char *s)
{
	json_t *ret = json_string(s);
	const unsigned char *p = (const unsigned char *)s;
	cleanup_free char *buf = NULL;
	size_t n = 0;

	if (ret)
		return ret;
	buf = malloc(4 * strlen(s) + 1);
	if (!buf)
		return NULL;
	while (*p) {
		size_t len = utf8_len(p);

		if (!len) {
			n += (size_t)sprintf(buf + n, "\\x%02X", *p++);
			continue;
		}
		memcpy(buf + n, p, len);
		n += len;
		p += len;
	}
	buf[n] = '\0';
	return json_string(buf);
}

json_t *
control_error(json_t *id, int code, const char *message)
{
	return json_pack("{s:s, s:{s:i, s:o, s:{s:s}}, s:O}", "jsonrpc", "2.0",
			 "error", "code", code, "message",
			 control_text(message), "data", "cause",
			 control_code_word(code), "id", id ? id : json_null());
}

/* -------------------------------------------------------------- answers */

/* Steals msg. */
static void
answer(struct client *cl, json_t *msg)
{
	if (!cl->batch)
		control_client_send(cl, msg);
	else if (json_array_append_new(cl->answers, msg) < 0)
		cl->closing = true; /* the peer sees that it will not come */
}

static void
log_change(const struct control_call *call, const char *outcome)
{
	cleanup_free char *params = NULL;

	if (!call->method->changes)
		return;
	params = call->params ? json_dumps(call->params, JSON_COMPACT) : NULL;
	log_info(call->log, "control: %s '%s' by uid %u, pid %d: %s",
		 call->method->name, params ? params : "",
		 (unsigned)call->peer.uid, (int)call->peer.pid, outcome);
}

/* Steals msg, which is NULL for a notification. */
static void
end_call(struct control_call *call, json_t *msg)
{
	struct client *cl = call->client;

	if (cl) {
		cl->call = NULL;
		if (call->id)
			answer(cl, msg);
		else
			json_decref(msg);
	} else {
		json_decref(msg);
	}
	json_decref(call->id);
	json_decref(call->params);
	free(call);
	if (cl && !cl->running)
		control_client_run(cl);
}

void
control_reply(struct control_call *call, json_t *result)
{
	if (!result) {
		control_fail(call, CONTROL_INTERNAL, "out of memory");
		return;
	}
	log_change(call, "done");
	if (!call->id) {
		json_decref(result);
		end_call(call, NULL);
		return;
	}
	end_call(call, json_pack("{s:s, s:o, s:O}", "jsonrpc", "2.0", "result",
				 result, "id", call->id));
}

void
control_fail(struct control_call *call, enum control_code code, const char *fmt,
	     ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	log_change(call, text);
	end_call(call,
		 call->id ? control_error(call->id, (int)code, text) : NULL);
}

void
control_fail_errno(struct control_call *call, int err, const char *text)
{
	enum control_code code;

	switch (-err) {
	case ENOENT:
		code = CONTROL_NOT_FOUND;
		break;
	case EEXIST:
		code = CONTROL_EXISTS;
		break;
	case EINVAL:
	case ERANGE:
		code = CONTROL_INVALID_PARAMS;
		break;
	case EBUSY:
	case EAGAIN:
	case EALREADY:
		code = CONTROL_IN_USE;
		break;
	case EPERM:
	case EACCES:
	case EROFS:
	case EOPNOTSUPP:
		code = CONTROL_REFUSED;
		break;
	case ENOMEM:
		code = CONTROL_INTERNAL;
		break;
	default:
		code = CONTROL_FAILED;
	}
	control_fail(call, code, "%s", text && *text ? text : strerror(-err));
}

/* ----------------------------------------------------------- parameters */

static json_t *
param(const struct control_call *call, const char *name)
{
	return json_object_get(call->params, name);
}

const char *
control_string(const struct control_call *call, const char *name)
{
	return json_string_value(param(call, name));
}

json_int_t
control_integer(const struct control_call *call, const char *name,
		json_int_t def)
{
	json_t *v = param(call, name);

	return json_is_integer(v) ? json_integer_value(v) : def;
}

bool
control_boolean(const struct control_call *call, const char *name)
{
	return json_is_true(param(call, name));
}

bool
control_has(const struct control_call *call, const char *name)
{
	json_t *v = param(call, name);

	return v && !json_is_null(v);
}

static const char *const type_names[] = {
	[CONTROL_STRING] = "a string",
	[CONTROL_INTEGER] = "a number, not negative",
	[CONTROL_BOOLEAN] = "true or false",
};

static bool
has_type(const json_t *v, enum control_type type)
{
	switch (type) {
	case CONTROL_STRING:
		return json_is_string(v);
	case CONTROL_INTEGER:
		return json_is_integer(v) && json_integer_value(v) >= 0;
	case CONTROL_BOOLEAN:
		return json_is_boolean(v);
	}
	return false;
}

static const struct control_param *
find_param(const struct control_method *m, const char *name)
{
	const struct control_param *p = m->params;

	while (p && p->name && strcmp(p->name, name))
		p++;
	return p && p->name ? p : NULL;
}

/* By name, or by position. *ret is owned by the caller; NULL: none. */
static int
params_object(const struct control_method *m, json_t *params, json_t **ret,
	      char err[CONTROL_TEXT_MAX])
{
	size_t i;
	json_t *v;

	*ret = NULL;
	if (!params)
		return 0;
	if (json_is_object(params)) {
		*ret = json_incref(params);
		return 0;
	}
	if (!json_is_array(params)) {
		snprintf(err, CONTROL_TEXT_MAX,
			 "params: give an object or an array");
		return -1;
	}
	*ret = json_object();
	json_array_foreach(params, i, v) {
		const char *name = m->params ? m->params[i].name : NULL;

		if (!name) {
			snprintf(err, CONTROL_TEXT_MAX,
				 "%s takes no more than %zu parameters",
				 m->name, i);
			json_decref(*ret);
			return -1;
		}
		json_object_set(*ret, name, v);
	}
	return 0;
}

static int
judge_params(const struct control_method *m, json_t *params,
	     char err[CONTROL_TEXT_MAX])
{
	const struct control_param *p;
	const char *name;
	json_t *v;

	if (!m->params && json_object_size(params)) {
		snprintf(err, CONTROL_TEXT_MAX, "%s takes no parameters",
			 m->name);
		return -1;
	}
	json_object_foreach(params, name, v) {
		p = find_param(m, name);
		if (!p) {
			snprintf(err, CONTROL_TEXT_MAX,
				 "%s: there is no parameter '%.64s'", m->name,
				 name);
			return -1;
		}
		if (!json_is_null(v) && !has_type(v, p->type)) {
			snprintf(err, CONTROL_TEXT_MAX, "%s: %s: give %s",
				 m->name, name, type_names[p->type]);
			return -1;
		}
	}
	for (p = m->params; p && p->name; p++) {
		v = json_object_get(params, p->name);
		if (p->required && (!v || json_is_null(v))) {
			snprintf(err, CONTROL_TEXT_MAX, "%s: %s is missing: %s",
				 m->name, p->name, p->help);
			return -1;
		}
	}
	return 0;
}

/* ---------------------------------------------------------------- calls */

static const struct control_method *
find_method(const struct control *c, const char *name)
{
	const struct control_method *m = c->p.methods;

	while (m->name && strcmp(m->name, name))
		m++;
	return m->name ? m : NULL;
}

/* Something is wrong with a request; a notification does not hear of it. */
static void
reject(struct client *cl, json_t *id, enum control_code code, const char *text)
{
	if (id)
		answer(cl, control_error(id, (int)code, text));
}

/* Borrows req. */
static void
start_call(struct client *cl, json_t *req)
{
	struct control *c = cl->control;
	json_t *id = json_object_get(req, "id"), *params;
	const char *ver = json_string_value(json_object_get(req, "jsonrpc"));
	const char *name = json_string_value(json_object_get(req, "method"));
	const struct control_method *m;
	struct control_call *call;
	char err[CONTROL_TEXT_MAX];

	if (!ver || strcmp(ver, "2.0") || !name ||
	    (id && !json_is_string(id) && !json_is_number(id) &&
	     !json_is_null(id))) {
		answer(cl, control_error(NULL, CONTROL_INVALID_REQUEST,
					 "not a JSON-RPC 2.0 request object"));
		return;
	}
	m = find_method(c, name);
	if (!m) {
		snprintf(err, sizeof(err),
			 "there is no method '%.64s'; `methods` lists them",
			 name);
		reject(cl, id, CONTROL_NO_METHOD, err);
		return;
	}
	if (params_object(m, json_object_get(req, "params"), &params, err) <
	    0) {
		reject(cl, id, CONTROL_INVALID_PARAMS, err);
		return;
	}
	if (judge_params(m, params, err) < 0) {
		json_decref(params);
		reject(cl, id, CONTROL_INVALID_PARAMS, err);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		json_decref(params);
		reject(cl, id, CONTROL_INTERNAL, "out of memory");
		return;
	}
	*call = (struct control_call){
		.client = cl,
		.method = m,
		.log = c->p.log,
		.peer = cl->peer,
		.id = json_incref(id),
		.params = params,
	};
	cl->call = call;
	m->fn(c->p.user, call);
}

void
control_batch_step(struct client *cl)
{
	json_t *req = json_array_get(cl->batch, cl->batch_next++);

	if (req) {
		start_call(cl, req);
		return;
	}
	json_decref(cl->batch);
	cl->batch = NULL;
	if (json_array_size(cl->answers))
		control_client_send(cl, cl->answers);
	else
		json_decref(cl->answers);
	cl->answers = NULL;
}

static void
start_batch(struct client *cl, json_t *reqs)
{
	char err[CONTROL_TEXT_MAX];
	size_t n = json_array_size(reqs);

	if (!n || n > CONTROL_MAX_BATCH) {
		snprintf(err, sizeof(err), "a batch has 1 to %d calls",
			 CONTROL_MAX_BATCH);
		answer(cl, control_error(NULL, CONTROL_INVALID_REQUEST, err));
		return;
	}
	cl->answers = json_array();
	if (!cl->answers) {
		cl->closing = true;
		return;
	}
	cl->batch = json_incref(reqs);
	cl->batch_next = 0;
}

void
control_line(struct client *cl, const char *line, size_t len)
{
	json_error_t err;
	json_t *req = json_loadb(
		line, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &err);

	if (!req)
		answer(cl, control_error(NULL, CONTROL_PARSE_ERROR, err.text));
	else if (json_is_array(req))
		start_batch(cl, req);
	else
		start_call(cl, req);
	json_decref(req);
}

json_t *
control_describe(const struct control_method *methods)
{
	json_t *all = json_array();

	for (const struct control_method *m = methods; m->name; m++) {
		const struct control_param *p = m->params;
		json_t *params = json_array();

		for (; p && p->name; p++)
			json_array_append_new(
				params,
				json_pack("{s:s, s:s, s:b, s:s}", "name",
					  p->name, "type", type_names[p->type],
					  "required", (int)p->required, "help",
					  p->help));
		json_array_append_new(
			all, json_pack("{s:s, s:s, s:b, s:o}", "name", m->name,
				       "help", m->help, "changes",
				       (int)m->changes, "params", params));
	}
	return all;
}
