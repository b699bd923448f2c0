/* SPDX-License-Identifier: BSD-3-Clause */
/* Request and response, and the type in front of every user message. */
#include <errno.h>

#include "proto/rnbd-msg.h"
#include "tests/fuzz/fuzz.h"

static int
one(const uint8_t *data, size_t size, bool rsp)
{
	struct rnbd_msg_sess_info m, again;
	uint8_t buf[RNBD_SESS_INFO_LEN];
	int rc = rnbd_msg_sess_info_decode(data, size, rsp, &m);

	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO);
		FUZZ_CHECK((rc == -EMSGSIZE) == (size < RNBD_SESS_INFO_LEN));
		return rc;
	}
	rnbd_msg_sess_info_encode(&m, rsp, buf);
	FUZZ_CHECK(rnbd_msg_sess_info_decode(buf, sizeof(buf), rsp, &again) ==
		   0);
	FUZZ_CHECK(m.ver == again.ver);
	return 0;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int req_rc = one(data, size, false);
	int rsp_rc = one(data, size, true);
	uint16_t type;
	int rc;

	/* Nothing is both. */
	FUZZ_CHECK(req_rc || rsp_rc);
	rc = rnbd_msg_type_decode(data, size, &type);
	FUZZ_CHECK(rc == (size < 4 ? -EMSGSIZE : 0));
	if (rc == 0)
		FUZZ_CHECK(rnbd_msg_type_name(type) != NULL);
	if (req_rc == 0)
		FUZZ_CHECK(type == RNBD_MSG_SESS_INFO);
	if (rsp_rc == 0)
		FUZZ_CHECK(type == RNBD_MSG_SESS_INFO_RSP);
	return 0;
}
