/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/base/mutant.h"

#ifdef RNBD_MUTATIONS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum rnbd_mutant rnbd_mutant_on;

static const struct {
	const char *name, *what;
} mutants[] = {{"NONE", ""},
#define RNBD_MUTANT_WORDS(name, what) {#name, what},
	       RNBD_MUTANTS(RNBD_MUTANT_WORDS)
#undef RNBD_MUTANT_WORDS
};

#define N_MUTANTS (sizeof(mutants) / sizeof(mutants[0]))

/* Every program of such a build obeys; an unknown name gets the list. */
__attribute__((constructor)) static void
choose(void)
{
	const char *name = getenv("RNBD_MUTANT");

	if (!name)
		return;
	for (unsigned i = 0; i < N_MUTANTS; i++) {
		if (strcmp(mutants[i].name, name) != 0)
			continue;
		rnbd_mutant_on = (enum rnbd_mutant)i;
		return;
	}
	for (unsigned i = 1; i < N_MUTANTS; i++)
		printf("%s: %s\n", mutants[i].name, mutants[i].what);
	exit(2);
}
#endif
