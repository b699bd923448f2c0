/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "proto/rnbd-msg.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char text[RNBD_EXPLAIN_RSP_LEN], again[RNBD_EXPLAIN_RSP_LEN];
	uint8_t buf[RNBD_EXPLAIN_RSP_LEN];
	size_t n;

	rnbd_msg_explain_rsp_decode(data, size, text);
	n = strnlen(text, sizeof(text));
	FUZZ_CHECK(n < sizeof(text) && n <= size);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(text[i] >= 0x20 && text[i] <= 0x7e);
	rnbd_msg_explain_rsp_encode(text, buf);
	FUZZ_CHECK(memcmp(buf, text, sizeof(buf)) == 0);
	rnbd_msg_explain_rsp_decode(buf, sizeof(buf), again);
	FUZZ_CHECK(memcmp(text, again, sizeof(text)) == 0);
	return 0;
}
