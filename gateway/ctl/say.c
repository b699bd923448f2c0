/* SPDX-License-Identifier: BSD-3-Clause */
/* What is said besides the answer itself. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "gateway/ctl/client.h"
#include "gateway/ctl/term.h"

static void __attribute__((format(printf, 2, 0)))
tell(const char *kind, const char *fmt, va_list ap)
{
	(void)fflush(stdout);
	fprintf(stderr, "rnbdctl: %s: ", kind);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int
ctl_fail(int code, const char *fmt, ...)
{
	va_list ap;

	term_leave();
	va_start(ap, fmt);
	tell("error", fmt, ap);
	va_end(ap);
	return code;
}

void
ctl_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	tell("warning", fmt, ap);
	va_end(ap);
}

void
ctl_say(const struct ctl *ctl, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (!ctl->verbose)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	print_text(text);
	putchar('\n');
}

int
ctl_flush(void)
{
	if (fflush(stdout) == EOF || ferror(stdout))
		return ctl_fail(CTL_REFUSED, "cannot write: %s",
				strerror(errno));
	return CTL_OK;
}

json_t *
ctl_try(const struct ctl *ctl, const char *method)
{
	json_t *ret = NULL;

	/* The caller has seen to it that nobody hears the errors. */
	if (ctl->client)
		return clients_rows(ctl, NULL, method, NULL, &ret) ? NULL : ret;
	return ctl_call(ctl, method, NULL, &ret) ? NULL : ret;
}
