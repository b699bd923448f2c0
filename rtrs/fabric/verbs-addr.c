/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/fabric/verbs-addr.h"

#include <endian.h>
#include <stddef.h>
#include <string.h>

/* Port space of AF_IB in the upper bits of a service id, a port below. */
#define PS_IB_SID    UINT64_C(0x00000000013f0000)
#define DEFAULT_PKEY 0xffff

/* The kernel's sockaddr_ib; all in network order but the family and scope. */
struct ib_sockaddr {
	uint16_t family;
	uint16_t pkey;
	uint32_t flowinfo;
	uint8_t gid[VERBS_GID_LEN];
	uint64_t sid;
	uint64_t sid_mask;
	uint64_t scope_id;
};

_Static_assert(sizeof(struct ib_sockaddr) == 48, "as the kernel has it");
_Static_assert(offsetof(struct ib_sockaddr, sid) == 24, "as the kernel has it");

void
verbs_gid_addr(const uint8_t gid[VERBS_GID_LEN], uint16_t port,
	       struct sockaddr_storage *ret, socklen_t *ret_len)
{
	struct ib_sockaddr ib = {
		.family = AF_IB,
		.pkey = htobe16(DEFAULT_PKEY),
		.sid = htobe64(PS_IB_SID + port),
		.sid_mask = UINT64_MAX,
	};

	memcpy(ib.gid, gid, VERBS_GID_LEN);
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, &ib, sizeof(ib));
	*ret_len = sizeof(ib);
}

bool
verbs_addr_gid(const struct sockaddr_storage *ss,
	       uint8_t ret_gid[VERBS_GID_LEN], uint16_t *ret_port)
{
	struct ib_sockaddr ib;

	if (ss->ss_family != AF_IB)
		return false;
	memcpy(&ib, ss, sizeof(ib));
	memcpy(ret_gid, ib.gid, VERBS_GID_LEN);
	*ret_port = (uint16_t)be64toh(ib.sid);
	return true;
}
