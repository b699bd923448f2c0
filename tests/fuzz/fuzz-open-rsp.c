/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "proto/rnbd-msg.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/msg-eq.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rnbd_msg_open_rsp m, again;
	uint8_t buf[RNBD_OPEN_RSP_LEN];
	int rc = rnbd_msg_open_rsp_decode(data, size, &m);

	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO);
		FUZZ_CHECK((rc == -EMSGSIZE) == (size < RNBD_OPEN_RSP_LEN));
		return 0;
	}
	rnbd_msg_open_rsp_encode(&m, buf);
	FUZZ_CHECK(rnbd_msg_open_rsp_decode(buf, sizeof(buf), &again) == 0);
	FUZZ_CHECK(open_rsp_eq(&m, &again));
	return 0;
}
