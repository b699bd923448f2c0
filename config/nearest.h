/* SPDX-License-Identifier: BSD-3-Clause */
/* What somebody may have meant who misspelt a name. */
#ifndef CONFIG_NEAREST_H
#define CONFIG_NEAREST_H

#define NEAREST_TEXT_MAX 768

/* Begins as {.word = WORD}; names and word are borrowed. */
struct nearest {
	const char *word, *best;
	unsigned distance;
	char names[NEAREST_TEXT_MAX - 16];
};

void nearest_add(struct nearest *n, const char *name);
/* "did you mean 'NAME'?", or "accepted: NAME, NAME" when none is like it. */
const char *nearest_text(const struct nearest *n, char text[NEAREST_TEXT_MAX]);

#endif
