/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "proto/rtrs-msg.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/msg-eq.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtrs_msg_req m, again;
	uint8_t buf[RTRS_REQ_HDR_MAX];
	int rc = rtrs_msg_req_decode(data, size, &m);
	size_t len;

	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO);
		FUZZ_CHECK(rc != -EMSGSIZE || size < RTRS_REQ_HDR_MAX);
		return 0;
	}
	FUZZ_CHECK(m.type == RTRS_MSG_WRITE || m.type == RTRS_MSG_READ);
	FUZZ_CHECK(m.sg_cnt <= 1);
	FUZZ_CHECK(rtrs_msg_req_len(&m) <= size);
	len = rtrs_msg_req_encode(&m, buf);
	FUZZ_CHECK(len == rtrs_msg_req_len(&m));
	/* No byte of a request header is reserved. */
	FUZZ_CHECK(memcmp(buf, data, len) == 0);
	FUZZ_CHECK(rtrs_msg_req_decode(buf, len, &again) == 0);
	FUZZ_CHECK(req_eq(&m, &again));
	return 0;
}
