/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/hostile/choice.h"

void
choice_by_seed(struct choice *c, uint64_t seed)
{
	*c = (struct choice){.state = seed * UINT64_C(0x9e3779b97f4a7c15)};
}

void
choice_by_bytes(struct choice *c, const uint8_t *data, size_t len)
{
	static const uint8_t none;

	*c = (struct choice){.data = data ? data : &none, .left = len};
}

bool
choice_spent(const struct choice *c)
{
	return c->data && !c->left;
}

static uint64_t
next(struct choice *c, unsigned n_bytes)
{
	uint64_t z = 0;

	if (!c->data) {
		/* splitmix64 */
		z = c->state += UINT64_C(0x9e3779b97f4a7c15);
		z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
		z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
		return z ^ z >> 31;
	}
	while (n_bytes-- && c->left) {
		z = z << 8 | *c->data++;
		c->left--;
	}
	return z;
}

uint64_t
choose(struct choice *c, uint64_t n)
{
	if (n <= 1)
		return 0;
	return next(c, n <= 256 ? 1 : n <= 65536 ? 2 : 8) % n;
}

bool
choose_percent(struct choice *c, unsigned percent)
{
	/* Bytes that ran out choose what is usual. */
	return percent && 99 - choose(c, 100) < percent;
}

void
choose_bytes(struct choice *c, void *buf, size_t len)
{
	uint8_t *p = buf;

	while (len--)
		*p++ = (uint8_t)next(c, 1);
}

uint64_t
choose_lie(struct choice *c, uint64_t honest, unsigned bits)
{
	uint64_t max = bits < 64 ? (UINT64_C(1) << bits) - 1 : UINT64_MAX;
	uint64_t v = 0;

	switch (choose(c, 9)) {
	case 0:
		v = 0;
		break;
	case 1:
		v = 1;
		break;
	case 2:
		v = max;
		break;
	case 3:
		v = max - 1;
		break;
	case 4:
		v = max / 2 + choose(c, 2);
		break;
	case 5:
		v = honest + 1;
		break;
	case 6:
		v = honest - 1;
		break;
	case 7:
		v = honest ^ UINT64_C(1) << choose(c, bits);
		break;
	default:
		v = next(c, bits / 8);
		break;
	}
	return v & max;
}
