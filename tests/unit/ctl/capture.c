/* SPDX-License-Identifier: BSD-3-Clause */
#include "capture.h"

#include <check.h>
#include <stdio.h>
#include <unistd.h>

static FILE *file;
static int out, err;

void
capture_begin(void)
{
	fflush(stdout);
	fflush(stderr);
	file = tmpfile();
	ck_assert_ptr_nonnull(file);
	out = dup(STDOUT_FILENO);
	err = dup(STDERR_FILENO);
	ck_assert_int_ge(dup2(fileno(file), STDOUT_FILENO), 0);
	ck_assert_int_ge(dup2(fileno(file), STDERR_FILENO), 0);
}

const char *
capture_end(void)
{
	static char text[16384];
	size_t n;

	fflush(stdout);
	fflush(stderr);
	dup2(out, STDOUT_FILENO);
	dup2(err, STDERR_FILENO);
	close(out);
	close(err);
	rewind(file);
	n = fread(text, 1, sizeof(text) - 1, file);
	text[n] = '\0';
	fclose(file);
	return text;
}
