/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "proto/rtrs-msg.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/msg-eq.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtrs_msg_conn_req m, again;
	uint8_t buf[RTRS_CONN_REQ_LEN];
	int rc = rtrs_msg_conn_req_decode(data, size, &m);

	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO ||
			   rc == -EPROTONOSUPPORT);
		FUZZ_CHECK((rc == -EMSGSIZE) == (size < RTRS_CONN_REQ_LEN));
		return 0;
	}
	FUZZ_CHECK(m.version >> 8 == RTRS_PROTO_VER_MAJOR);
	rtrs_msg_conn_req_encode(&m, buf);
	FUZZ_CHECK(rtrs_msg_conn_req_decode(buf, sizeof(buf), &again) == 0);
	FUZZ_CHECK(conn_req_eq(&m, &again));
	return 0;
}
