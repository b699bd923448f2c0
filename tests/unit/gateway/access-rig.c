/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/unit/gateway/access-rig.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "gateway/access-conf.h"

struct sockaddr_storage
rig_address(const char *text)
{
	struct sockaddr_storage ss = {.ss_family = AF_UNIX};
	struct sockaddr_in6 sin6 = {
		.sin6_family = AF_INET6,
		.sin6_port = htons(4242),
		.sin6_scope_id = 7,
	};
	struct sockaddr_in sin = {
		.sin_family = AF_INET,
		.sin_port = htons(4242),
	};
	socklen_t len;
	char err[128];

	if (!strncmp(text, "gid:", 4))
		ck_assert_int_eq(rtrs_addr_parse_gid(text + 4, 4242, &ss, &len,
						     err, sizeof(err)),
				 0);
	else if (inet_pton(AF_INET, text, &sin.sin_addr) == 1)
		memcpy(&ss, &sin, sizeof(sin));
	else if (inet_pton(AF_INET6, text, &sin6.sin6_addr) == 1)
		memcpy(&ss, &sin6, sizeof(sin6));
	else
		ck_assert_str_eq(text, "unix");
	return ss;
}

static void
set_key(struct gw_rule *rule, const char *name, const char *value)
{
	char err[CONF_TEXT_MAX] = "";
	const struct conf_key *key;

	for (key = gw_rule_keys; key->name; key++)
		if (!strcmp(key->name, name))
			break;
	ck_assert_msg(key->name != NULL, "no key '%s'", name);
	ck_assert_msg(!key->set(rule, value, err), "%s=%s: %s", name, value,
		      err);
}

struct gw_ruleset *
rig_rules(const char *text)
{
	cleanup_free char *copy = strdup(text);
	char *save_rule, *save_word, *one, *word, err[GW_TEXT_MAX] = "";
	struct gw_ruleset *rs;

	ck_assert_int_eq(gw_ruleset_new(&rs), 0);
	for (one = strtok_r(copy, ";", &save_rule); one;
	     one = strtok_r(NULL, ";", &save_rule)) {
		struct gw_rule rule = {0};

		word = strtok_r(one, " ", &save_word);
		set_key(&rule, "action", word);
		while ((word = strtok_r(NULL, " ", &save_word))) {
			char *value = strchr(word, '=');

			*value++ = '\0';
			set_key(&rule, word, value);
		}
		ck_assert_msg(!gw_ruleset_add(rs, &rule, err), "%s: %s", text,
			      err);
	}
	return rs;
}

const struct rtrs_uuid *
rig_uuid(const char *text)
{
	static struct rtrs_uuid uuids[8];
	static unsigned n;
	struct rtrs_uuid *u = &uuids[n++ % ARRAY_SIZE(uuids)];

	*u = (struct rtrs_uuid){0};
	memcpy(u->b, text, strnlen(text, sizeof(u->b)));
	return u;
}

char rig_lines[RIG_MAX_LINES][512];
unsigned rig_n_lines;
uint64_t rig_time;

static void
keep_line(void *user, enum log_level level, const char *line)
{
	ck_assert_uint_lt(rig_n_lines, RIG_MAX_LINES);
	snprintf(rig_lines[rig_n_lines++], sizeof(rig_lines[0]), "%s", line);
}

const struct log rig_log = {
	.sink = keep_line,
	.threshold = LOG_LVL_INFO,
};

uint64_t
rig_now(void)
{
	return rig_time;
}
