/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What there is to know of each noun of a client. Names, headers and what is
 * shown by default are those of the RNBD administrators' tool where it has
 * them; numbers are those of the kernel's sysfs.
 */
#include "gateway/ctl/client.h"

#define RDMA_KEYS "rd_cnt rd_bytes wr_cnt wr_bytes inflights failovers"

static const struct column session_columns[] = {
	{"sessname", "Session name", COL_TEXT, false, NULL,
	 "name of the session"},
	{"path_cnt", "Path cnt", COL_NUM, true, NULL, "number of paths"},
	{"act_path_cnt", "Act path cnt", COL_NUM, true, NULL,
	 "number of connected paths"},
	{"state", "State", COL_TEXT, false, NULL,
	 "connected, disconnected or failed"},
	{"path_uu", "PS", COL_TEXT, false, NULL,
	 "up (U) or down (_) state of every path"},
	{"mpath_policy", "MP Policy", COL_TEXT, false, NULL,
	 "which path takes a request"},
	{"tx_bytes", "TX", COL_BYTES, true, "wr_bytes", "bytes sent: writes"},
	{"rx_bytes", "RX", COL_BYTES, true, "rd_bytes",
	 "bytes received: reads"},
	{"inflights", "Inflights", COL_NUM, true, NULL, "requests under way"},
	{"devices", "Devices", COL_NUM, true, NULL, "devices in use"},
	{"direction", "Direction", COL_TEXT, false, NULL,
	 "outgoing, as on every client"},
	{"rdma", "RDMA", COL_JOIN, false, RDMA_KEYS,
	 "the numbers of stats/rdma, all paths together"},
	{"failovers", "Failovers", COL_NUM, true, NULL,
	 "requests that another path took over"},
	{"held", "Held", COL_NUM, true, NULL,
	 "I/O that had to wait for the server"},
	{"resent", "Resent", COL_NUM, true, NULL,
	 "requests sent again when it was back"},
	{"timeouts", "Timeouts", COL_NUM, true, NULL,
	 "I/O that waited longer than it may"},
	{"queue_depth", "Depth", COL_NUM, false, NULL,
	 "requests that may be under way; 0: not connected"},
	{"max_io_size", "Max I/O", COL_BYTES, false, NULL,
	 "largest request; 0: not connected"},
	{"pid", "Pid", COL_NUM, false, NULL, "the process, nbdkit"},
	{"why", "Why", COL_TEXT, false, NULL, "why it is not connected"},
	{NULL},
};

const struct table client_session_table = {
	.noun = "session",
	.nouns = "sessions",
	.columns = session_columns,
	.def = "sessname,path_cnt,path_uu,mpath_policy,tx_bytes,rx_bytes,"
	       "inflights",
};

static const struct column device_columns[] = {
	{"sessname", "Session", COL_TEXT, false, NULL, "name of the session"},
	{"mapping_path", "Mapping Path", COL_TEXT, false, NULL,
	 "name by which it was asked for"},
	{"id", "Id", COL_NUM, false, NULL,
	 "number of the device in its session"},
	{"access_mode", "Access Mode", COL_TEXT, false, NULL,
	 "ro, rw or migration"},
	{"read_only", "Read Only", COL_NUM, false, NULL, "1 if opened ro"},
	{"size", "Size", COL_BYTES, true, "size_bytes",
	 "size, as new NBD clients see it"},
	{"state", "State", COL_TEXT, false, NULL,
	 "init, open, closed or failed; dead and so on if only a map is left"},
	{"nbd", "Device", COL_TEXT, false, NULL,
	 "where it is mapped on this machine"},
	{"users", "Users", COL_NUM, true, NULL, "NBD connections that use it"},
	{"tx_bytes", "TX", COL_BYTES, true, "ops.write.bytes",
	 "amount of data written to the device"},
	{"rx_bytes", "RX", COL_BYTES, true, "ops.read.bytes",
	 "amount of data read from the device"},
	{"writes", "Writes", COL_NUM, true, "ops.write.ops", "writes"},
	{"reads", "Reads", COL_NUM, true, "ops.read.ops", "reads"},
	{"flushes", "Flushes", COL_NUM, true, "ops.flush.ops", "flushes"},
	{"discards", "Discards", COL_NUM, true, "ops.discard.ops", "discards"},
	{"zeroes", "Zeroes", COL_NUM, true, "ops.write_zeroes.ops",
	 "writes of zeroes"},
	{"p50", "P50", COL_TIME, false, "p50_ns",
	 "half of all I/O took no longer"},
	{"p99", "P99", COL_TIME, false, "p99_ns", "99 of 100 took no longer"},
	{"block_size", "Block", COL_NUM, false, NULL, "logical block size"},
	{"direction", "Direction", COL_TEXT, false, NULL,
	 "imported, as on every client"},
	{"why", "Why", COL_TEXT, false, NULL, "why it is not open"},
	{NULL},
};

const struct table client_device_table = {
	.noun = "device",
	.nouns = "devices",
	.columns = device_columns,
	.def = "sessname,mapping_path,nbd,state,access_mode,size,users,"
	       "tx_bytes,rx_bytes",
};

static const struct column path_columns[] = {
	{"sessname", "Sessname", COL_TEXT, false, NULL, "name of the session"},
	{"pathname", "Path name", COL_TEXT, false, NULL, "src@dst"},
	{"route", "Route", COL_TEXT, false, NULL, "as it was asked for"},
	{"id", "Id", COL_NUM, false, NULL, "number of the path in its session"},
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
	 "connecting, connected, reconnecting, closing, closed"},
	{"held_down", "Held down", COL_BOOL, false, NULL,
	 "whether it was disconnected by command"},
	{"tx_bytes", "TX", COL_BYTES, true, "wr_bytes", "bytes sent: writes"},
	{"rx_bytes", "RX", COL_BYTES, true, "rd_bytes",
	 "bytes received: reads"},
	{"inflights", "Inflights", COL_NUM, true, NULL, "requests under way"},
	{"rdma", "RDMA", COL_JOIN, false, RDMA_KEYS,
	 "the numbers of stats/rdma, in their order"},
	{"reconnects", "Reconnects", COL_JOIN, false,
	 "reconnects reconnect_errors",
	 "stats/reconnects: those that succeeded, and failed"},
	{"failovers", "Failovers", COL_NUM, true, NULL,
	 "requests that another path took over"},
	{"cur_latency", "Latency", COL_TIME, false, "cur_latency_ns",
	 "round trip of the last heartbeat"},
	{"min_latency", "Min Lat", COL_TIME, false, "min_latency_ns",
	 "the shortest since the last reset"},
	{"direction", "Direction", COL_TEXT, false, NULL,
	 "outgoing, as on every client"},
	{"why", "Why", COL_TEXT, false, NULL, "why it is not connected"},
	{NULL},
};

const struct table client_path_table = {
	.noun = "path",
	.nouns = "paths",
	.columns = path_columns,
	.def = "sessname,pathname,hca_name,hca_port,state,tx_bytes,rx_bytes,"
	       "inflights",
};
