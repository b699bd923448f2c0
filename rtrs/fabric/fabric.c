/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The registry of fabrics, and the names of their words.
 */
#include "rtrs/fabric/fabric.h"

#include <string.h>

static const struct fabric_ops *const fabrics[] = {
	&fabric_tcp,
#ifdef RTRS_VERBS
	&fabric_verbs,
#endif
};

const struct fabric_ops *
fabric_by_name(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fabrics); i++)
		if (!strcmp(fabrics[i]->name, name))
			return fabrics[i];
	return NULL;
}

static const char *const wr_op_names[] = {
	[FABRIC_WR_SEND] = "SEND",
	[FABRIC_WR_SEND_WITH_IMM] = "SEND_WITH_IMM",
	[FABRIC_WR_SEND_WITH_INV] = "SEND_WITH_INV",
	[FABRIC_WR_RDMA_WRITE] = "RDMA_WRITE",
	[FABRIC_WR_RDMA_WRITE_WITH_IMM] = "RDMA_WRITE_WITH_IMM",
	[FABRIC_WR_MW_BIND] = "MW_BIND",
	[FABRIC_WR_MW_INV] = "MW_INV",
};

enum fabric_wc_op
fabric_wr_wc_op(unsigned op)
{
	switch (op) {
	case FABRIC_WR_RDMA_WRITE:
	case FABRIC_WR_RDMA_WRITE_WITH_IMM:
		return FABRIC_WC_OP_RDMA_WRITE;
	case FABRIC_WR_MW_BIND:
		return FABRIC_WC_OP_MW_BIND;
	case FABRIC_WR_MW_INV:
		return FABRIC_WC_OP_MW_INV;
	default:
		return FABRIC_WC_OP_SEND;
	}
}

const char *
fabric_wr_op_name(unsigned op)
{
	return op < ARRAY_SIZE(wr_op_names) ? wr_op_names[op] : "unknown";
}

static const char *const wc_status_names[] = {
	[FABRIC_WC_SUCCESS] = "SUCCESS",
	[FABRIC_WC_FLUSHED] = "FLUSHED",
	[FABRIC_WC_ERROR] = "ERROR",
};

const char *
fabric_wc_status_name(unsigned status)
{
	return status < ARRAY_SIZE(wc_status_names) ? wc_status_names[status]
						    : "unknown";
}
