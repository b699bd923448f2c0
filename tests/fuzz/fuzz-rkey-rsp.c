/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "proto/rtrs-msg.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/msg-eq.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtrs_msg_rkey_rsp m, again;
	uint8_t buf[RTRS_RKEY_RSP_LEN];
	int rc = rtrs_msg_rkey_rsp_decode(data, size, &m);

	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO);
		FUZZ_CHECK((rc == -EMSGSIZE) == (size < RTRS_RKEY_RSP_LEN));
		return 0;
	}
	rtrs_msg_rkey_rsp_encode(&m, buf);
	FUZZ_CHECK(rtrs_msg_rkey_rsp_decode(buf, sizeof(buf), &again) == 0);
	FUZZ_CHECK(rkey_rsp_eq(&m, &again));
	return 0;
}
