/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/access-text.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "gateway/access.h"

/* "ro", "ro or migration". */
static void
modes_text(unsigned modes, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned m = 0; m <= RNBD_ACCESS_MIGRATION; m++)
		if (modes & GW_MODE_BIT(m) && n < size)
			n += (size_t)snprintf(buf + n, size - n, "%s%s",
					      n ? " or " : "",
					      rnbd_access_mode_name(m));
}

void
gw_verdict_text(struct gw_verdict v, char buf[GW_NAME_TEXT_MAX])
{
	char modes[32];

	switch (v.kind) {
	case GW_VERDICT_ALLOWED:
		snprintf(buf, GW_NAME_TEXT_MAX, "allowed");
		break;
	case GW_VERDICT_DENIED:
		snprintf(buf, GW_NAME_TEXT_MAX, "rule %u denies it", v.ordinal);
		break;
	case GW_VERDICT_ELSEWHERE:
		snprintf(buf, GW_NAME_TEXT_MAX,
			 "rule %u binds the session name to other addresses",
			 v.ordinal);
		break;
	case GW_VERDICT_MODE:
		modes_text(v.modes, modes, sizeof(modes));
		snprintf(buf, GW_NAME_TEXT_MAX,
			 "rule %u allows access mode %s only", v.ordinal,
			 modes);
		break;
	case GW_VERDICT_NO_RULE:
		snprintf(buf, GW_NAME_TEXT_MAX, "no rule allows it");
		break;
	}
}

void
gw_open_text(const char *dev_name, const char *sess_name,
	     char buf[GW_NAME_TEXT_MAX])
{
	snprintf(buf, GW_NAME_TEXT_MAX, "%.38s' by session '%.38s",
		 gw_name_text(dev_name).s, gw_name_text(sess_name).s);
}

int
gw_say_session(struct gw_verdict v, const char *sess_name,
	       char err_text[GW_TEXT_MAX])
{
	return gw_text_err(err_text, -EACCES,
			   v.kind == GW_VERDICT_ELSEWHERE
				   ? "session name '%s' is bound to other "
				     "addresses"
				   : "no access for session '%s' from this "
				     "address",
			   gw_name_text(sess_name).s);
}

int
gw_say_open(struct gw_verdict v, const char *sess_name, const char *dev_name,
	    char err_text[GW_TEXT_MAX])
{
	char modes[32];

	if (v.kind != GW_VERDICT_MODE)
		return gw_text_err(err_text, -EACCES,
				   "no access to '%.90s' for session '%.90s'",
				   gw_name_text(dev_name).s,
				   gw_name_text(sess_name).s);
	modes_text(v.modes, modes, sizeof(modes));
	return gw_text_err(err_text, -EACCES,
			   "session '%.80s' may open '%.80s' with access_mode "
			   "%s only",
			   gw_name_text(sess_name).s, gw_name_text(dev_name).s,
			   modes);
}

void
gw_limit_text(const struct gw_access_limits *l, enum gw_access_reason reason,
	      uint64_t memory, char buf[GW_NAME_TEXT_MAX])
{
	switch (reason) {
	case GW_ACCESS_ADDR_SESSIONS:
		snprintf(buf, GW_NAME_TEXT_MAX, "address-sessions is %u",
			 l->addr_sessions);
		break;
	case GW_ACCESS_ADDR_CONNECTIONS:
		snprintf(buf, GW_NAME_TEXT_MAX, "address-connections is %u",
			 l->addr_connections);
		break;
	case GW_ACCESS_ADDR_MEMORY:
		snprintf(buf, GW_NAME_TEXT_MAX,
			 "address-memory is %" PRIu64 ", a path takes %" PRIu64,
			 l->addr_memory, memory);
		break;
	case GW_ACCESS_SESSIONS:
		snprintf(buf, GW_NAME_TEXT_MAX, "max-sessions is %u",
			 l->sessions);
		break;
	case GW_ACCESS_MEMORY:
		snprintf(buf, GW_NAME_TEXT_MAX,
			 "max-memory is %" PRIu64 ", a path takes %" PRIu64,
			 l->memory, memory);
		break;
	default:
		snprintf(buf, GW_NAME_TEXT_MAX, "%s",
			 gw_access_reason_name(reason));
		break;
	}
}
