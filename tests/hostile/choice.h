/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Where the decisions of a hostile peer come from: a seed, or the bytes of a
 * fuzzer, each of which is a choice.
 */
#ifndef TESTS_HOSTILE_CHOICE_H
#define TESTS_HOSTILE_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct choice {
	uint64_t state;      /* of the seed */
	const uint8_t *data; /* of the fuzzer; NULL: by seed */
	size_t left;
};

void choice_by_seed(struct choice *c, uint64_t seed);
void choice_by_bytes(struct choice *c, const uint8_t *data, size_t len);
/* The fuzzer has no more to say: from here on everything is 0. */
bool choice_spent(const struct choice *c);

/* 0..n-1; 0 when n is 0. */
uint64_t choose(struct choice *c, uint64_t n);
bool choose_percent(struct choice *c, unsigned percent);
void choose_bytes(struct choice *c, void *buf, size_t len);
/*
 * What a field of so many bits is made to say in place of honest: nothing, one,
 * the most, one less, half, honest and one more or less, or anything.
 */
uint64_t choose_lie(struct choice *c, uint64_t honest, unsigned bits);

#endif
