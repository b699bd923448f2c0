/* SPDX-License-Identifier: BSD-3-Clause */
/* Input: four bytes as on the wire, then two of a queue depth. */
#include "proto/rtrs-imm.h"
#include "tests/fuzz/fuzz.h"

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct rtrs_imm imm;
	uint32_t v, id, off;
	unsigned qd, mem_bits;
	uint8_t wire[4];
	int err;

	if (size < 6)
		return 0;
	v = rtrs_imm_from_wire(data);
	rtrs_imm_to_wire(v, wire);
	for (int i = 0; i < 4; i++)
		FUZZ_CHECK(wire[i] == data[i]);
	qd = (unsigned)data[4] << 8 | data[5];
	qd = qd ? qd : 1;
	mem_bits = rtrs_imm_mem_bits(qd);
	imm = rtrs_imm_decode(v);
	FUZZ_CHECK(imm.type <= 15 && imm.payload < 1u << 28);
	FUZZ_CHECK(rtrs_imm_type_name(imm.type) != NULL);

	rtrs_imm_io_req_payload(imm.payload, mem_bits, &id, &off);
	FUZZ_CHECK(rtrs_bits((uint64_t)id + 1) <= rtrs_bits(qd));
	FUZZ_CHECK(rtrs_bits((uint64_t)off + 1) <= mem_bits);
	FUZZ_CHECK(rtrs_imm_io_req(mem_bits, id, off) == imm.payload);

	rtrs_imm_io_rsp_payload(imm.payload, &id, &err);
	FUZZ_CHECK(err <= 0 && err >= -(int)RTRS_IMM_ERRNO_MAX);
	FUZZ_CHECK(id < 1u << RTRS_IMM_MSG_ID_BITS);
	FUZZ_CHECK((rtrs_imm_io_rsp(id, err, false) & 0x0fffffff) ==
		   imm.payload);
	if (imm.type == RTRS_IMM_IO_RSP || imm.type == RTRS_IMM_IO_RSP_W_INV)
		FUZZ_CHECK(rtrs_imm_io_rsp(id, err,
					   imm.type == RTRS_IMM_IO_RSP_W_INV) ==
			   v);
	return 0;
}
