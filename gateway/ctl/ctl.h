/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rnbdctl: one command, spoken in the words of the tool that administrators of
 * RNBD know, asked of a daemon over its control socket.
 *
 *   main.c      options, and the words to a command
 *   words.c     words, their abbreviations, what may follow a command
 *   commands.c  the table of commands, which is also the help
 *   rpc.c       the socket
 *   fields.c    the columns of each noun
 *   value.c     what stands in a row, and as text
 *   choice.c    which fields of a table are printed
 *   table.c     rows as a table, CSV, JSON or XML
 *   list.c ...  the commands, by what they do
 *   map.h       those that map devices of a server on this machine
 *   complete.c  what a shell may offer next
 *   client*.c   the same of clients, after the word `client`
 */
#ifndef GATEWAY_CTL_CTL_H
#define GATEWAY_CTL_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "rtrs/base/util.h"

#define CTL_SERVER_SOCKET "/run/rnbd/gatewayd.sock"
/* Where clients of ours answer, as NAME.ctl; RNBD_CLIENT_DIR is another. */
#define CTL_CLIENT_DIR    "/run/rnbd/client"

enum ctl_exit {
	CTL_OK = 0,
	CTL_REFUSED = 1, /* by the daemon, or an answer that is none */
	CTL_USAGE = 2,
	CTL_UNREACHABLE = 3,
	CTL_NOT_FOUND = 4,
	CTL_PERMISSION = 5,
};

enum ctl_format {
	CTL_TABLE,
	CTL_CSV,
	CTL_JSON,
	CTL_XML,
};

/* What was said, but for the command itself. */
struct ctl {
	const char *socket; /* NULL: the usual one */
	bool client;        /* mode `client` */
	enum ctl_format format;
	const char *fields; /* NULL: those by default */
	char unit;          /* B, K, M, ...; 0: what fits */
	bool noheaders, nototals, notree;
	bool verbose, wait, force, help;
	const char *file; /* map, unmap: NULL: what was said */
	/* top: */
	unsigned samples; /* 0: without end */
	double delay;     /* seconds */
};

/* Says why on stderr and returns code. */
int ctl_fail(int code, const char *fmt, ...)
	__attribute__((format(printf, 1 + 1, 3)));
/* One line on stderr about what is no failure. */
void ctl_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Flushes stdout: CTL_OK, or it says that there is no room for it. */
int ctl_flush(void);
/* If verbose: one line on stdout. */
void ctl_say(const struct ctl *ctl, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* --- rpc.c */

struct rpc;

/* Each returns an exit code, and says what is wrong. */
int rpc_open(const struct ctl *ctl, struct rpc **ret);
/* Says nothing: 0 or a negative errno. path is borrowed until the end. */
int rpc_connect(const char *path, struct rpc **ret);
void rpc_close(struct rpc *rpc); /* NULL is fine */
/* Steals params, which may be NULL. *ret is the result, the caller's. */
int rpc_call(struct rpc *rpc, const char *method, json_t *params, json_t **ret);
/* The same, but a peer that ends instead of answering is no error that is said:
 * *ret_left. */
int rpc_call_unless_left(struct rpc *rpc, const char *method, json_t *params,
			 json_t **ret, bool *ret_left);
/* Whether the result of `version` is of rnbd-gatewayd, and not of a client. */
bool rpc_is_server(const json_t *version);
/* The process on the other side; 0: not known. */
pid_t rpc_peer(const struct rpc *rpc);
/* All at once. */
int ctl_call(const struct ctl *ctl, const char *method, json_t *params,
	     json_t **ret);
/* The same without a word about what goes wrong: for completion. Of clients:
 * the rows of all of them. */
json_t *ctl_try(const struct ctl *ctl, const char *method);

/* --- value.c */

/* Text that cannot steer a terminal. */
void print_text(const char *s);
/* 1536 with unit 0 is "1.5K". buf has at least 32 bytes. */
const char *bytes_text(json_int_t bytes, char unit, char *buf, size_t len);
/* bytes in units; 0: as they are. */
double scaled(json_int_t bytes, char unit);
/* 1500 is "1.5us"; 0, which is none, is "-". */
const char *time_text(double ns, char *buf, size_t len);
/* The value at a.b.c; NULL: not there. */
const json_t *json_at(const json_t *row, const char *key);
json_int_t json_num(const json_t *row, const char *key);
const char *json_str(const json_t *row, const char *key);

/* --- fields.c */

enum column_kind {
	COL_TEXT,
	COL_NUM,
	COL_BYTES,
	COL_TIME, /* ns */
	COL_BOOL,
	COL_JOIN, /* several numbers, as a file of sysfs has them */
};

struct column {
	const char *name, *header;
	enum column_kind kind;
	bool total;      /* the sum of a list means something */
	const char *key; /* a.b.c of the row; NULL: name. COL_JOIN: keys */
	const char *help;
};

struct table {
	const char *noun, *nouns;     /* "session", "sessions" */
	const struct column *columns; /* ended by a NULL name */
	const char *def;              /* fields by default */
};

extern const struct table session_table, device_table, path_table, export_table,
	map_table;

/* --- choice.c */

/* Numbers of fields as the user chose them; false: one is unknown. */
#define TABLE_MAX_COLUMNS 40
struct choice {
	const struct column *col[TABLE_MAX_COLUMNS];
	unsigned n;
};
bool table_choose(const struct table *t, const char *fields, bool json,
		  struct choice *ret, char *err, size_t err_len);
/* Whether text is a list of fields, for words that are not options. */
bool table_knows(const struct table *t, const char *text);

/* --- table.c */

/*
 * Prints rows, an array, in the format of ctl. tree, if not NULL, prints what
 * belongs below a row of a table.
 */
int table_print(const struct ctl *ctl, const struct table *t, json_t *rows,
		void (*tree)(const struct ctl *ctl, json_t *row));
/* One row, a field per line. */
int table_show(const struct ctl *ctl, const struct table *t, json_t *row);
int ctl_print_json(const json_t *v);

/* --- list.c and daemon.c, for lists of clients too */

void ctl_paths_tree(const struct ctl *ctl, json_t *sess);
/* A table of what belongs to a session, under key. */
int ctl_part(const struct ctl *ctl, json_t *sess, const char *key,
	     const struct table *t);
/* All rows that bear the name, or that there are none. */
int ctl_show_rows(const struct ctl *ctl, const struct table *t, json_t *rows,
		  const char *name, const char *sess);
/* "ops" and "latency" of stats, a line per operation. */
void ctl_print_op_table(const struct ctl *ctl, const json_t *st);

/* --- commands.c */

enum command_opt {
	OPT_FORMAT = BIT(0), /* json csv xml, --json --csv */
	OPT_FIELDS = BIT(1),
	OPT_UNITS = BIT(2),
	OPT_LIST = BIT(3), /* noheaders nototals notree */
	OPT_JSON = BIT(4), /* json only */
	OPT_VERBOSE = BIT(5),
	OPT_WAIT = BIT(6),
	OPT_TOP = BIT(7), /* -n, -d */
	OPT_FORCE = BIT(8),
	OPT_FILE = BIT(9), /* --file */
};

struct command {
	const char *words; /* "session list" */
	const char *args;  /* "SESSION [PATH]", "" */
	unsigned min, max; /* how many arguments */
	unsigned opts;     /* command_opt bits */
	int (*fn)(const struct ctl *ctl, char **args, unsigned n);
	const struct table *table; /* whose fields it prints; NULL */
	const char *help;          /* one line */
};

extern const struct command commands[]; /* ended by NULL words */

void print_help(FILE *out);
void print_command_help(const struct command *cmd);

/* --- words.c */

/*
 * Finds the command that words[0..n) begin with and says how many words it
 * took. Mode words in front set ctl->client. NULL: said why.
 */
const struct command *words_command(struct ctl *ctl, char **words, unsigned n,
				    unsigned *ret_used);
/*
 * Sorts what follows: options into ctl, arguments into args (which has room for
 * n). Returns an exit code.
 */
int words_rest(struct ctl *ctl, const struct command *cmd, char **words,
	       unsigned n, char **args, unsigned *ret_n);
/* The words that options may be said with, for help and completion. */
struct word_opt {
	const char *word;
	unsigned opts; /* after commands that have one of these */
	void (*set)(struct ctl *ctl, const char *word);
	const char *help;
};
extern const struct word_opt word_opts[]; /* ended by a NULL word */

/* --- the commands */

int cmd_session_list(const struct ctl *ctl, char **args, unsigned n);
int cmd_session_show(const struct ctl *ctl, char **args, unsigned n);
int cmd_device_list(const struct ctl *ctl, char **args, unsigned n);
int cmd_device_show(const struct ctl *ctl, char **args, unsigned n);
int cmd_path_list(const struct ctl *ctl, char **args, unsigned n);
int cmd_path_show(const struct ctl *ctl, char **args, unsigned n);
int cmd_export_list(const struct ctl *ctl, char **args, unsigned n);

int cmd_export_add(const struct ctl *ctl, char **args, unsigned n);
int cmd_export_remove(const struct ctl *ctl, char **args, unsigned n);
int cmd_export_resize(const struct ctl *ctl, char **args, unsigned n);
int cmd_export_limits(const struct ctl *ctl, char **args, unsigned n);
int cmd_device_close(const struct ctl *ctl, char **args, unsigned n);
int cmd_session_close(const struct ctl *ctl, char **args, unsigned n);
int cmd_path_disconnect(const struct ctl *ctl, char **args, unsigned n);

int cmd_status(const struct ctl *ctl, char **args, unsigned n);
int cmd_stats(const struct ctl *ctl, char **args, unsigned n);
int cmd_stats_reset(const struct ctl *ctl, char **args, unsigned n);
int cmd_version(const struct ctl *ctl, char **args, unsigned n);
int cmd_log_level(const struct ctl *ctl, char **args, unsigned n);
int cmd_access_stats(const struct ctl *ctl, char **args, unsigned n);
int cmd_reload(const struct ctl *ctl, char **args, unsigned n);
int cmd_drain(const struct ctl *ctl, char **args, unsigned n);
int cmd_top(const struct ctl *ctl, char **args, unsigned n);

int cmd_map(const struct ctl *ctl, char **args, unsigned n);
int cmd_unmap(const struct ctl *ctl, char **args, unsigned n);
/* `client map list` */
int cmd_map_list(const struct ctl *ctl, char **args, unsigned n);

/* --- complete.c */

/* Prints what may follow words[0..n - 1), each beginning with the last one. */
int complete(char **words, unsigned n);

#endif
