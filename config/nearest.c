/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/nearest.h"

#include <stdio.h>
#include <string.h>

/* Longer words are not compared. */
#define WORD_MAX 64
#define FAR      (2 * WORD_MAX)

static unsigned
least(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

/* Levenshtein's distance, one row at a time. */
static unsigned
distance(const char *word, const char *other)
{
	size_t n = strlen(word), m = strlen(other);
	unsigned row[WORD_MAX + 1];

	if (n > WORD_MAX || m > WORD_MAX)
		return FAR;
	for (unsigned j = 0; j <= m; j++)
		row[j] = j;
	for (unsigned i = 1; i <= n; i++) {
		unsigned diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= m; j++) {
			unsigned change = word[i - 1] != other[j - 1];
			unsigned here = least(row[j] + 1, row[j - 1] + 1,
					      diagonal + change);

			diagonal = row[j];
			row[j] = here;
		}
	}
	return row[m];
}

void
nearest_add(struct nearest *n, const char *name)
{
	unsigned d = distance(n->word, name);
	size_t len = strlen(n->names);

	if (!n->best || d < n->distance) {
		n->best = name;
		n->distance = d;
	}
	snprintf(n->names + len, sizeof(n->names) - len, "%s%s",
		 len ? ", " : "", name);
}

const char *
nearest_text(const struct nearest *n, char text[NEAREST_TEXT_MAX])
{
	/* Two letters of eight may be wrong, but not one of two. */
	if (n->best && n->distance <= (strlen(n->word) + 1) / 3)
		snprintf(text, NEAREST_TEXT_MAX, "did you mean '%s'?", n->best);
	else
		snprintf(text, NEAREST_TEXT_MAX, "accepted: %s", n->names);
	return text;
}
