/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "proto/rtrs-imm.h"
#include "proto/rtrs-msg.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/msg-eq.h"

struct seen {
	uint32_t n;
	uint32_t queue_depth;
};

static void
put(void *user, uint32_t chunk, uint64_t addr, uint32_t key)
{
	struct seen *s = user;

	(void)addr;
	(void)key;
	FUZZ_CHECK(chunk == s->n);
	FUZZ_CHECK(chunk < s->queue_depth);
	s->n++;
}

static void
chunks(const uint8_t *data, size_t size, uint32_t queue_depth,
       uint32_t chunk_size)
{
	struct seen s = {.queue_depth = queue_depth};
	int rc = rtrs_msg_info_rsp_chunks(data, size, queue_depth, chunk_size,
					  put, &s);

	FUZZ_CHECK(rc == 0 || rc == -EMSGSIZE || rc == -EPROTO ||
		   rc == -EINVAL);
	FUZZ_CHECK(s.n == (rc ? 0 : queue_depth));
	if (rc == 0)
		FUZZ_CHECK(rtrs_imm_sizes_ok(queue_depth, chunk_size));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t total = 0;
	uint32_t least = UINT32_MAX;
	uint16_t n;
	int rc = rtrs_msg_info_rsp_decode(data, size, &n);

	chunks(data, size, 512, 131072);
	chunks(data, size, 2, 131072);
	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO);
		return 0;
	}
	FUZZ_CHECK(n > 0 && rtrs_msg_info_rsp_len(n) <= size);
	for (unsigned i = 0; i < n; i++) {
		struct rtrs_desc d, again;
		uint8_t buf[RTRS_INFO_RSP_HDR_LEN + RTRS_DESC_LEN];

		FUZZ_CHECK(rtrs_msg_info_rsp_desc(data, size, i, &d) == 0);
		FUZZ_CHECK(rtrs_msg_info_rsp_encode(&d, 1, buf, sizeof(buf)) ==
			   (int)sizeof(buf));
		FUZZ_CHECK(rtrs_msg_info_rsp_desc(buf, sizeof(buf), 0,
						  &again) == 0);
		FUZZ_CHECK(desc_eq(&d, &again));
		total += d.len;
		least = d.len < least ? d.len : least;
	}
	/* The sizes that this message could be meant for. */
	if (least >= RTRS_MIN_CHUNK_SIZE)
		chunks(data, size, (uint32_t)(total / least), least);
	return 0;
}
