/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rnbd-gatewayd: becoming a daemon, life cycle. Exit codes: 0 drained and ended
 * in order, 1 failure at run time, 2 wrong options or configuration.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gateway/cmdline.h"
#include "gateway/config.h"
#include "gateway/daemon.h"
#include "gateway/log-sink.h"
#include "gateway/os.h"
#include "gateway/sandbox.h"
#include "rtrs/base/remedy.h"

#define EXIT_USAGE 2

/*
 * Before there are threads: the child goes on, the parent stays until the
 * child is ready or has failed, so that its exit code says which. Returns the
 * descriptor on which to tell it, or a negative errno.
 */
static int
detach_begin(void)
{
	int fds[2], status;
	pid_t pid;
	char ready;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		close(fds[0]);
		setsid();
		return fds[1];
	}
	close(fds[1]);
	if (read(fds[0], &ready, 1) == 1)
		_exit(EXIT_SUCCESS);
	if (waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	_exit(EXIT_FAILURE);
}

static int
detach_end(int ready_fd, struct log_sink *sink)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	log_sink_set_target(sink, LOG_TARGET_SYSLOG);
	for (int i = 0; i < 3; i++)
		if (dup2(fd, i) < 0)
			return -errno;
	if (fd > 2)
		close(fd);
	if (write(ready_fd, "", 1) != 1)
		return -EPIPE;
	close(ready_fd);
	return 0;
}

/* After all that only a start does, before the first client is served. */
static int
enter_sandbox(const struct options *o, const struct log *log)
{
	const char *why = sandbox_missing();
	char text[SANDBOX_TEXT_MAX];
	int r;

	if (!o->sandbox)
		return 0;
	if (why) {
		log_info(log, "no sandbox: %s", why);
		return 0;
	}
	r = sandbox_apply(text);
	if (r < 0)
		log_err(log, "--sandbox yes: %s; --sandbox no does without it",
			text);
	return r;
}

static int
serve(struct gw_config *config, struct log_sink *sink, int ready_fd)
{
	const struct options *o = &config->opt;
	struct log *log = log_sink_log(sink);
	struct daemon *d;
	int r = daemon_new(config, log, stdout, &d);

	if (r)
		return r;
	r = enter_sandbox(o, log);
	if (!r && ready_fd >= 0) {
		r = detach_end(ready_fd, sink);
		if (r < 0)
			log_err(log, "cannot become a daemon: %s",
				strerror(-r));
	}
	if (!r) {
		log_sink_set_patience(sink, 0);
		r = daemon_run(d);
		log_sink_set_patience(sink, LOG_SINK_END_MS);
	}
	daemon_free(d);
	return r;
}

/* Of a daemon to be: whoever starts it reads what goes wrong. */
static enum log_target
first_target(const struct options *o)
{
	if (o->log_target_given && o->foreground)
		return o->log_target;
	return log_sink_fd_is_journal(STDERR_FILENO) ? LOG_TARGET_JOURNAL
						     : LOG_TARGET_STDERR;
}

static int
run(struct gw_config *config)
{
	const struct options *o = &config->opt;
	struct log_sink_params sp = {
		.ident = "rnbd-gatewayd",
		.threshold = o->log_level,
		.target = first_target(o),
		.fd = STDERR_FILENO,
		.now = os_now,
	};
	struct log_sink *sink;
	int ready_fd = -1, r;

	signal(SIGPIPE, SIG_IGN);
	/* A file larger than RLIMIT_FSIZE: EFBIG says it. */
	signal(SIGXFSZ, SIG_IGN);
	os_raise_nofile();
	r = log_sink_new(&sp, &sink);
	if (r < 0) {
		fprintf(stderr, "rnbd-gatewayd: error: log: %s%s\n",
			strerror(-r), remedy_words(r));
		return r;
	}
	r = sandbox_set_dumpable(o->core_dumps);
	if (r < 0)
		log_warn(log_sink_log(sink), "--core-dumps: %s", strerror(-r));
	if (!o->foreground) {
		ready_fd = detach_begin();
		if (ready_fd < 0)
			log_err(log_sink_log(sink),
				"cannot become a daemon: %s",
				strerror(-ready_fd));
	}
	r = o->foreground || ready_fd >= 0 ? serve(config, sink, ready_fd)
					   : ready_fd;
	log_sink_free(sink);
	return r;
}

static int
exit_code(int r)
{
	if (r == DAEMON_USAGE)
		return EXIT_USAGE;
	return r ? EXIT_FAILURE : EXIT_SUCCESS;
}

/* Of a configuration that was not taken: what is written there is wrong, or
 * only what it names is not there now. */
static int
load_exit_code(const struct cmdline *cl, int r)
{
	return !cl->check && (r == -ENODEV || r == -ENOMEM) ? EXIT_FAILURE
							    : EXIT_USAGE;
}

/* Everything is judged and nothing started. */
static int
check_config(const struct cmdline *cl, const struct gw_config *c)
{
	char text[CONF_TEXT_MAX];

	if (gw_config_check(c, text) < 0) {
		fprintf(stderr, "rnbd-gatewayd: error: %s\n", text);
		return EXIT_USAGE;
	}
	printf("%s: ok\n", cl->config ? cl->config : "command line");
	return EXIT_SUCCESS;
}

int
main(int argc, char **argv)
{
	static struct gw_config config;
	char err[OPT_TEXT_MAX];
	struct cmdline cl;
	int r;

	switch (cmdline_parse(&cl, argc, argv, stdout, err)) {
	case CMDLINE_DONE:
		return EXIT_SUCCESS;
	case CMDLINE_USAGE:
		fprintf(stderr, "rnbd-gatewayd: error: %s\n", err);
		return EXIT_USAGE;
	case CMDLINE_RUN:
		break;
	}
	r = gw_config_load(&cl, NULL, &config, err);
	if (r < 0) {
		fprintf(stderr, "rnbd-gatewayd: error: %s\n", err);
		r = load_exit_code(&cl, r);
		cmdline_deinit(&cl);
		return r;
	}
	if (cl.check)
		r = check_config(&cl, &config);
	else
		r = exit_code(run(&config));
	gw_config_deinit(&config);
	cmdline_deinit(&cl);
	return r;
}
