/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device of a server as /dev/nbdN of this machine: one nbdkit with the plugin
 * rnbd for each session, one nbd device for each device of it.
 *
 *   map.c        the commands: map, unmap, client map list
 *   map-line.c   the line that the kernel's map_device takes
 *   map-state.c  what is mapped, in files that outlive rnbdctl
 *   map-list.c   the same, of all sessions
 *   map-proc.c   processes: who they are, starting and ending them
 *   map-nbd.c    nbd devices, as sysfs shows them
 *   map-serve.c  nbdkit and nbd-client for a session and its devices
 *
 * Functions return an exit code and say on stderr what is wrong, unless they
 * are documented to do otherwise.
 */
#ifndef GATEWAY_CTL_MAP_H
#define GATEWAY_CTL_MAP_H

#include <stdint.h>
#include <sys/types.h>

#include "gateway/ctl/ctl.h"

/*
 * Where /run, /sys and /dev are looked for: "" or, for tests, the directory in
 * the environment variable RNBD_ROOT.
 */
const char *map_root(void);
/* "ROOT" and a path; the caller's. Ends the program if there is no memory. */
char *map_path(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* --- map-line.c */

#define MAP_ERR_MAX 512

struct map_line {
	char *sessname, *device_path;
	const char *access_mode; /* "ro", "rw" or "migration" */
	char **params; /* "path=...", ...: all that is of the session */
	unsigned n_params, n_paths;
};

/*
 * Parses "sessname=S path=P device_path=D ...", parted by blanks, tabs and ends
 * of lines. 0, -EINVAL or -ENOMEM with words in err; ret is then empty.
 */
int map_line_parse(const char *text, struct map_line *ret,
		   char err[MAP_ERR_MAX]);
/*
 * The line in a file, which may go over several lines and have comments: "#" at
 * the beginning of a line. Errors: as above, and -errno of reading it.
 */
int map_line_read(const char *file, struct map_line *ret,
		  char err[MAP_ERR_MAX]);
void map_line_deinit(struct map_line *line);

/* --- map-proc.c */

/* nbdkit's messages are for who asks why; memory they must not fill. */
#define MAP_LOG_MAX (1 << 20)

/* A process, in a way that survives: a pid alone may be another's by now. */
struct map_proc {
	pid_t pid;      /* 0: none */
	uint64_t start; /* of /proc/PID/stat: clock ticks since boot */
};

/* A pidfd of the living process; -1: it has ended. */
int map_proc_open(const struct map_proc *p);
bool map_proc_alive(const struct map_proc *p);
/* SIGTERM, and SIGKILL if that has no effect in time. false: it still lives. */
bool map_proc_end(const struct map_proc *p, unsigned timeout_ms);

/* The program's file, by PATH and the directories of root's; NULL: none. */
char *map_find_program(const char *name);

/* A process that is there, but waits before it becomes the program. */
struct map_child {
	struct map_proc proc;
	int go; /* pipe; closing it without a word ends the child */
};

enum map_spawn {
	MAP_SPAWN_DAEMON = BIT(0), /* goes on without us: nbdkit */
};

/*
 * argv[0] may differ from file. Standard output and error go to out. listener,
 * if not -1, is passed as systemd passes a socket. -errno; says nothing.
 */
int map_child_new(const char *file, char *const *argv, int out, int listener,
		  unsigned flags, struct map_child *ret);
/* Lets it run. -errno. */
int map_child_go(struct map_child *child);
/* Ends it, if it was not let run. Its exit status as of wait(2), or -errno. Not
 * of a daemon. */
int map_child_wait(struct map_child *child);
/* Ends it, if it was not let run. */
void map_child_forget(struct map_child *child);

/* --- map-nbd.c */

/* Not root; or besides no nbd in this kernel, or no nbd-client. */
int map_check_root(void);
int map_nbd_check(void);
/* The N of "/dev/nbdN" or "nbdN"; -1: neither. */
int map_nbd_index(const char *name);
/* The process that connected it, as the kernel calls it; 0: not connected. */
pid_t map_nbd_pid(int index);
/* Bytes; 0: none, or no such device. */
uint64_t map_nbd_size(int index);
/* The first one from `from` that is not connected, whether or not it is there:
 * the kernel makes what is missing. -1: none. */
int map_nbd_free(int from);
/*
 * Who holds it open, or a partition of it: "" nobody; "mounted on /mnt", ...
 * With fd, which is -1 if it is held, nobody can mount it until that is closed.
 */
void map_nbd_user(int index, char *text, size_t len, int *fd);
/* Until it is connected by pid and has a size, and there is a file in /dev.
 * -ETIMEDOUT, -ENODEV if it is disconnected meanwhile; says nothing. */
int map_nbd_wait(int index, pid_t pid);
/* By nbd-client. What is in caches only is lost. */
int map_nbd_detach(int index);
/* Until the kernel is done with that, which it is not while it is held open. */
bool map_nbd_wait_gone(int index);

/* --- map-state.c */

enum map_dev_state {
	MAP_DEV_MAPPED,
	MAP_DEV_HALF,     /* rnbdctl ended while it was mapped */
	MAP_DEV_DEAD,     /* its nbdkit has ended */
	MAP_DEV_DETACHED, /* the nbd device is another's, or nobody's */
};

struct map_dev {
	int index;              /* of /dev/nbdN */
	bool complete;          /* rnbdctl lived to see it mapped */
	struct map_proc client; /* nbd-client, which connected it and ended */
	struct map_proc nbdkit; /* that serves it */
	char *device_path, *access_mode;
};

struct map_sess {
	char *sessname;
	struct map_proc nbdkit; /* pid 0: none was started */
	char **params;
	unsigned n_params;
	struct map_dev *devs;
	unsigned n_devs;
	char *stem; /* DIR/NAME, of all its files */
	int lock;
};

/* A file name for a session's name; short enough for a socket's. */
void map_escape(const char *sessname, char *buf, size_t len);
#define MAP_STEM_MAX 64

/*
 * Takes its lock and reads its state; empty if there is none. If another has
 * the lock: waits for it, or leaves *ret NULL.
 */
int map_sess_open(const char *sessname, bool wait, struct map_sess **ret);
/* All files of a session without devices and nbdkit are removed. */
void map_sess_close(struct map_sess *s); /* NULL is fine */
int map_sess_save(const struct map_sess *s);
/* Steals both strings. NULL: no memory. */
struct map_dev *map_sess_add(struct map_sess *s, char *device_path,
			     char *access_mode);
void map_sess_remove(struct map_sess *s, struct map_dev *dev);
/* Path of one of its files: "nbd", "ctl", "log"; the caller's. */
char *map_sess_file(const struct map_sess *s, const char *suffix);

/* --- map-serve.c; s is of map_sess_open(), and what changes is saved */

/* An nbdkit for the session; that which runs, if line does not differ. */
int map_serve(struct map_sess *s, const struct map_line *line);
/* Ends it if there are no devices. */
int map_unserve(struct map_sess *s);
/* The line's device, as the first free /dev/nbdN from index on. */
int map_attach(struct map_sess *s, const struct map_line *line, int index);
/* Disconnects a device, and forgets it. force: even if it is in use. */
int map_drop(struct map_sess *s, struct map_dev *dev, bool force);
/* What an rnbdctl that was killed began: what is in use by now is mapped. */
int map_roll_back(struct map_sess *s);

enum map_dev_state map_dev_state(const struct map_dev *d);
const char *map_dev_state_name(enum map_dev_state state);

/* The directory of all sessions. *ret is -1 if there is none, and make is
 * false. An exit code; said. */
int map_dir_open(bool make, int *ret);
/* What is in a file of it; false: nothing, or not ours. To deinit either way.
 */
bool map_sess_load(int dir, const char *name, struct map_sess *s);
void map_sess_deinit(struct map_sess *s);

/* --- map-list.c */

/* Rows of all maps, or of a session's: an array, the caller's. */
int map_list(const char *sessname, json_t **ret);
/* Names of sessions that an rnbdctl left, or is, in the middle of something. */
int map_list_begun(json_t **ret);
/* The session that has /dev/nbdN mapped; the caller's. CTL_NOT_FOUND: none. */
int map_find_session(int index, char **ret);

#endif
