/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A bounded little-endian cursor, for reading and for writing.
 *
 * Every access is checked. The first one that does not fit sets `bad` and from
 * then on getters return zeroes and putters do nothing, so a codec may run to
 * its end and test once: total on any bytes, never a read or write outside.
 *
 * All integers of RTRS and RNBD messages are little-endian; the one exception,
 * the 32-bit immediate, has a file of its own (rtrs-imm.h).
 */
#ifndef PROTO_WIRE_H
#define PROTO_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * True if [off, off + len) lies within [0, limit). The one helper for every
 * offset and length that came from the wire: it cannot overflow.
 */
static inline bool
wire_range_ok(uint64_t off, uint64_t len, uint64_t limit)
{
	return off <= limit && len <= limit - off;
}

struct wire_rd {
	const uint8_t *p;
	size_t left;
	bool bad;
};

static inline struct wire_rd
wire_rd_init(const void *buf, size_t len)
{
	return (struct wire_rd){.p = buf, .left = len};
}

/* Borrows n bytes in place, NULL if there are fewer. */
static inline const uint8_t *
wire_get_ref(struct wire_rd *r, size_t n)
{
	const uint8_t *p = r->p;

	if (r->bad || n > r->left) {
		r->bad = true;
		return NULL;
	}
	if (n) {
		r->p += n;
		r->left -= n;
	}
	return p;
}

static inline void
wire_get_skip(struct wire_rd *r, size_t n)
{
	(void)wire_get_ref(r, n);
}

static inline void
wire_get_bytes(struct wire_rd *r, void *dst, size_t n)
{
	const uint8_t *p = wire_get_ref(r, n);

	if (!n)
		return;
	if (p)
		memcpy(dst, p, n);
	else
		memset(dst, 0, n);
}

static inline uint8_t
wire_get_u8(struct wire_rd *r)
{
	const uint8_t *p = wire_get_ref(r, 1);

	return p ? p[0] : 0;
}

static inline uint16_t
wire_get_le16(struct wire_rd *r)
{
	const uint8_t *p = wire_get_ref(r, 2);

	return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

static inline uint32_t
wire_le32_at(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
	       (uint32_t)p[3] << 24;
}

static inline uint32_t
wire_get_le32(struct wire_rd *r)
{
	const uint8_t *p = wire_get_ref(r, 4);

	return p ? wire_le32_at(p) : 0;
}

static inline uint64_t
wire_get_le64(struct wire_rd *r)
{
	/* One access: a half that fits must not come out alone. */
	const uint8_t *p = wire_get_ref(r, 8);

	return p ? wire_le32_at(p) | (uint64_t)wire_le32_at(p + 4) << 32 : 0;
}

struct wire_wr {
	uint8_t *p;
	size_t left;
	bool bad;
};

static inline struct wire_wr
wire_wr_init(void *buf, size_t len)
{
	return (struct wire_wr){.p = buf, .left = len};
}

static inline uint8_t *
wire_put_ref(struct wire_wr *w, size_t n)
{
	uint8_t *p = w->p;

	if (w->bad || n > w->left) {
		w->bad = true;
		return NULL;
	}
	if (n) {
		w->p += n;
		w->left -= n;
	}
	return p;
}

static inline void
wire_put_bytes(struct wire_wr *w, const void *src, size_t n)
{
	uint8_t *p = wire_put_ref(w, n);

	if (p && n)
		memcpy(p, src, n);
}

static inline void
wire_put_zero(struct wire_wr *w, size_t n)
{
	uint8_t *p = wire_put_ref(w, n);

	if (p && n)
		memset(p, 0, n);
}

static inline void
wire_put_u8(struct wire_wr *w, uint8_t v)
{
	uint8_t *p = wire_put_ref(w, 1);

	if (p)
		p[0] = v;
}

static inline void
wire_put_le16(struct wire_wr *w, uint16_t v)
{
	uint8_t *p = wire_put_ref(w, 2);

	if (p) {
		p[0] = (uint8_t)v;
		p[1] = (uint8_t)(v >> 8);
	}
}

static inline void
wire_le32_to(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

static inline void
wire_put_le32(struct wire_wr *w, uint32_t v)
{
	uint8_t *p = wire_put_ref(w, 4);

	if (p)
		wire_le32_to(p, v);
}

static inline void
wire_put_le64(struct wire_wr *w, uint64_t v)
{
	uint8_t *p = wire_put_ref(w, 8);

	if (p) {
		wire_le32_to(p, (uint32_t)v);
		wire_le32_to(p + 4, (uint32_t)(v >> 32));
	}
}

#endif
