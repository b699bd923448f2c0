/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What there is to know of each noun. Names, headers and what is shown by
 * default are those of the RNBD administrators' tool where it has them.
 */
#include "gateway/ctl/ctl.h"

static const struct column session_columns[] = {
	{"sessname", "Session name", COL_TEXT, false, NULL,
	 "name of the session"},
	{"path_cnt", "Path cnt", COL_NUM, true, NULL, "number of paths"},
	{"act_path_cnt", "Act path cnt", COL_NUM, true, NULL,
	 "number of connected paths"},
	{"state", "State", COL_TEXT, false, NULL, "connected or disconnected"},
	{"path_uu", "PS", COL_TEXT, false, NULL,
	 "up (U) or down (_) state of every path"},
	{"tx_bytes", "TX", COL_BYTES, true, "wr_bytes",
	 "bytes that the client sent: writes"},
	{"rx_bytes", "RX", COL_BYTES, true, "rd_bytes",
	 "bytes that the client received: reads"},
	{"inflights", "Inflights", COL_NUM, true, NULL, "requests under way"},
	{"devices", "Devices", COL_NUM, true, NULL, "open devices"},
	{"direction", "Direction", COL_TEXT, false, NULL,
	 "incoming, as on every server"},
	{"hostname", "Hostname", COL_TEXT, false, NULL,
	 "address of the client"},
	{"rdma", "RDMA", COL_JOIN, false, "rd_cnt rd_bytes wr_cnt wr_bytes",
	 "the numbers of stats/rdma, all paths together"},
	{"chunk_bytes", "Chunks", COL_BYTES, true, NULL,
	 "buffers that the client writes to"},
	{"worker", "Worker", COL_NUM, false, NULL, "the thread it lives on"},
	{NULL},
};

const struct table session_table = {
	.noun = "session",
	.nouns = "sessions",
	.columns = session_columns,
	.def = "sessname,path_cnt,tx_bytes,rx_bytes,inflights",
};

static const struct column device_columns[] = {
	{"sessname", "Session", COL_TEXT, false, NULL,
	 "name of the session that has it open"},
	{"mapping_path", "Mapping Path", COL_TEXT, false, NULL,
	 "name by which the client asked for it"},
	{"id", "Id", COL_NUM, false, NULL,
	 "number of the device in its session"},
	{"access_mode", "Access Mode", COL_TEXT, false, NULL,
	 "ro, rw or migration"},
	{"read_only", "Read Only", COL_NUM, false, NULL, "1 if opened ro"},
	{"size", "Size", COL_BYTES, true, "size_bytes", "size of the device"},
	{"tx_bytes", "TX", COL_BYTES, true, "ops.write.bytes",
	 "amount of data written to the device"},
	{"rx_bytes", "RX", COL_BYTES, true, "ops.read.bytes",
	 "amount of data read from the device"},
	{"writes", "Writes", COL_NUM, true, "ops.write.ops", "write requests"},
	{"reads", "Reads", COL_NUM, true, "ops.read.ops", "read requests"},
	{"flushes", "Flushes", COL_NUM, true, "ops.flush.ops",
	 "flush requests"},
	{"discards", "Discards", COL_NUM, true, "ops.discard.ops",
	 "discard requests"},
	{"zeroes", "Zeroes", COL_NUM, true, "ops.write_zeroes.ops",
	 "write zeroes requests"},
	{"inflights", "Inflights", COL_NUM, true, NULL, "requests under way"},
	{"throttled", "Waiting", COL_NUM, true, NULL,
	 "those of them that wait for a limit"},
	{"p50", "P50", COL_TIME, false, "p50_ns",
	 "half of all requests took no longer"},
	{"p99", "P99", COL_TIME, false, "p99_ns",
	 "99 of 100 requests took no longer"},
	{"export", "Export", COL_TEXT, false, NULL,
	 "the export; empty if the search path found it"},
	{"direction", "Direction", COL_TEXT, false, NULL,
	 "exported, as on every server"},
	{NULL},
};

const struct table device_table = {
	.noun = "device",
	.nouns = "devices",
	.columns = device_columns,
	.def = "sessname,mapping_path,access_mode,size,tx_bytes,rx_bytes",
};

static const struct column path_columns[] = {
	{"sessname", "Sessname", COL_TEXT, false, NULL, "name of the session"},
	{"pathname", "Path name", COL_TEXT, false, NULL,
	 "src@dst, from the client's point of view"},
	{"src_addr", "Client Addr", COL_TEXT, false, NULL,
	 "client address of the path"},
	{"dst_addr", "Server Addr", COL_TEXT, false, NULL,
	 "server address of the path"},
	{"src_port", "Client Port", COL_NUM, false, NULL,
	 "the client's port, where there is one"},
	{"dst_port", "Server Port", COL_NUM, false, NULL, "the server's port"},
	{"hca_name", "HCA", COL_TEXT, false, NULL,
	 "RDMA device; empty over TCP"},
	{"hca_port", "Port", COL_NUM, false, NULL, "port of the RDMA device"},
	{"state", "State", COL_TEXT, false, NULL,
	 "CONNECTING, CONNECTED, CLOSING or CLOSED"},
	{"tx_bytes", "TX", COL_BYTES, true, "wr_bytes",
	 "bytes that the client sent: writes"},
	{"rx_bytes", "RX", COL_BYTES, true, "rd_bytes",
	 "bytes that the client received: reads"},
	{"inflights", "Inflights", COL_NUM, true, NULL, "requests under way"},
	{"connections", "Conns", COL_NUM, true, NULL, "connections"},
	{"rdma", "RDMA", COL_JOIN, false, "rd_cnt rd_bytes wr_cnt wr_bytes",
	 "the numbers of stats/rdma, in their order"},
	{"direction", "Direction", COL_TEXT, false, NULL,
	 "incoming, as on every server"},
	{"chunk_bytes", "Chunks", COL_BYTES, true, NULL,
	 "buffers that the client writes to"},
	{"chunk_pages", "Pages", COL_TEXT, false, NULL,
	 "lazy, plain, transparent or hugetlb; empty until it is up"},
	{NULL},
};

const struct table path_table = {
	.noun = "path",
	.nouns = "paths",
	.columns = path_columns,
	.def = "sessname,hca_name,hca_port,src_addr,state,tx_bytes,rx_bytes",
};

static const struct column export_columns[] = {
	{"name", "Name", COL_TEXT, false, NULL, "what clients ask for"},
	{"spec", "Spec", COL_TEXT, false, NULL, "what it is"},
	{"read_only", "Read Only", COL_BOOL, false, NULL,
	 "whether nobody may write"},
	{"size", "Size", COL_BYTES, true, "size_bytes", "size, as last seen"},
	{"mappings", "Mappings", COL_NUM, true, NULL, "how often it is open"},
	{"flush_failed", "Flush Failed", COL_BOOL, false, NULL,
	 "whether data were lost, so that flushes fail until it is closed"},
	{"iops", "IOPS", COL_NUM, false, NULL,
	 "requests per second that it may have; 0: no limit"},
	{"bandwidth", "Bandwidth", COL_BYTES, false, NULL,
	 "bytes per second that it may have; 0: no limit"},
	{NULL},
};

const struct table export_table = {
	.noun = "export",
	.nouns = "exports",
	.columns = export_columns,
	.def = "name,size,read_only,mappings,spec",
};

static const struct column map_columns[] = {
	{"device", "Device", COL_TEXT, false, NULL, "the nbd device"},
	{"sessname", "Session", COL_TEXT, false, NULL, "name of the session"},
	{"mapping_path", "Mapping Path", COL_TEXT, false, NULL,
	 "name of the device on the server"},
	{"access_mode", "Access Mode", COL_TEXT, false, NULL,
	 "ro, rw or migration"},
	{"size", "Size", COL_BYTES, true, "size_bytes", "size of the device"},
	{"state", "State", COL_TEXT, false, NULL,
	 "mapped, half, dead or detached"},
	{"pid", "Nbdkit", COL_NUM, false, NULL, "process that serves it"},
	{NULL},
};

const struct table map_table = {
	.noun = "device",
	.nouns = "devices",
	.columns = map_columns,
	.def = "device,sessname,mapping_path,access_mode,size,state",
};
