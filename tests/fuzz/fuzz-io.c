/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>

#include "proto/rnbd-msg.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/proto/msg-eq.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rnbd_msg_io m, again;
	uint8_t buf[RNBD_IO_LEN];
	int rc = rnbd_msg_io_decode(data, size, &m);

	FUZZ_CHECK(rnbd_op_name(size ? data[0] : 0) != NULL);
	if (rc) {
		FUZZ_CHECK(rc == -EMSGSIZE || rc == -EPROTO);
		FUZZ_CHECK((rc == -EMSGSIZE) == (size < RNBD_IO_MIN_LEN));
		return 0;
	}
	/* Two bytes of prio, or none. */
	FUZZ_CHECK(size >= RNBD_IO_MIN_LEN + 2 || m.prio == 0);
	rnbd_msg_io_encode(&m, buf);
	FUZZ_CHECK(rnbd_msg_io_decode(buf, sizeof(buf), &again) == 0);
	FUZZ_CHECK(io_eq(&m, &again));
	return 0;
}
