/* SPDX-License-Identifier: BSD-3-Clause */
/* What clients have counted, and which they are. */
#include <inttypes.h>

#include "gateway/ctl/client.h"

/* The objects that method answers with, in an array. */
static int
ask_all(const struct ctl *ctl, const char *session, const char *method,
	json_t **ret)
{
	json_t *rows = json_array();
	struct clients all = {0};
	int r = clients_open(ctl, session, &all);

	for (unsigned i = 0; i < all.n && !r; i++) {
		json_t *res = NULL;

		r = rpc_call(all.list[i].rpc, method, NULL, &res);
		if (!r)
			json_array_append_new(rows, res);
	}
	clients_close(&all);
	if (r)
		json_decref(rows);
	else
		*ret = rows;
	return r;
}

static int
print_all(const struct ctl *ctl, json_t *rows,
	  void (*print)(const struct ctl *ctl, const json_t *row))
{
	json_t *row;
	size_t i;
	int r = CTL_OK;

	if (ctl->format == CTL_JSON)
		r = ctl_print_json(rows);
	else
		json_array_foreach(rows, i, row)
			print(ctl, row);
	json_decref(rows);
	return r ? r : ctl_flush();
}

static void
print_stats(const struct ctl *ctl, const json_t *st)
{
	char rd[32], wr[32];

	fputs("session ", stdout);
	print_text(json_str(st, "sessname"));
	printf(": paths %d, devices %d, under way %d\n"
	       "since %d s: reads %" PRId64 " (%s), writes %" PRId64
	       " (%s), failovers %" PRId64 ", reconnects %" PRId64 " (%" PRId64
	       " failed)\nwaited for the server: %" PRId64
	       ", sent again %" PRId64 ", given up %" PRId64 "\n\n",
	       (int)json_num(st, "paths"), (int)json_num(st, "devices"),
	       (int)json_num(st, "inflights"), (int)json_num(st, "since_s"),
	       (int64_t)json_num(st, "rd_cnt"),
	       bytes_text(json_num(st, "rd_bytes"), ctl->unit, rd, sizeof(rd)),
	       (int64_t)json_num(st, "wr_cnt"),
	       bytes_text(json_num(st, "wr_bytes"), ctl->unit, wr, sizeof(wr)),
	       (int64_t)json_num(st, "failovers"),
	       (int64_t)json_num(st, "reconnects"),
	       (int64_t)json_num(st, "reconnect_errors"),
	       (int64_t)json_num(st, "held"), (int64_t)json_num(st, "resent"),
	       (int64_t)json_num(st, "timeouts"));
	ctl_print_op_table(ctl, st);
}

int
client_stats(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *rows;
	int r = ask_all(ctl, n ? args[0] : NULL, "stats", &rows);

	return r ? r : print_all(ctl, rows, print_stats);
}

static void
print_version(const struct ctl *ctl, const json_t *v)
{
	printf("%s %s, session ", json_str(v, "program"),
	       json_str(v, "version"));
	print_text(json_str(v, "sessname"));
	printf(", pid %d\n", (int)json_num(v, "pid"));
}

int
client_version(const struct ctl *ctl, char **args, unsigned n)
{
	json_t *rows;
	int r = ask_all(ctl, n ? args[0] : NULL, "version", &rows);

	return r ? r : print_all(ctl, rows, print_version);
}
