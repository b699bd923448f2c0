/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "proto/rnbd-msg.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rnbd_msg_close m, again;
	uint8_t buf[RNBD_CLOSE_LEN];
	int rc = rnbd_msg_close_decode(data, size, &m);

	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO);
		FUZZ_CHECK((rc == -EMSGSIZE) == (size < RNBD_CLOSE_LEN));
		return 0;
	}
	rnbd_msg_close_encode(&m, buf);
	FUZZ_CHECK(rnbd_msg_close_decode(buf, sizeof(buf), &again) == 0);
	FUZZ_CHECK(m.device_id == again.device_id);
	return 0;
}
