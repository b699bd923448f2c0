/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * libevent and jansson allocate through the wrappers: the daemon's side.
 *
 * But for what evhttp asks for: that of libevent 2.1.12 leaks or crashes, deep
 * within, where it has no memory for a connection or a request
 * (evhttp_connection_base_bufferevent_new, evhttp_request_new). Nothing above
 * it can help that, so nothing would be learnt.
 */
#include <dlfcn.h>
#include <event2/event.h>
#include <execinfo.h>
#include <jansson.h>
#include <string.h>

#include "rtrs/base/util.h"
#include "tests/faults/fault-priv.h"

static bool
is_for_evhttp(void)
{
	void *frames[12];
	int n = backtrace(frames, ARRAY_SIZE(frames));
	Dl_info info;

	for (int i = 0; i < n; i++)
		if (dladdr(frames[i], &info) && info.dli_fname &&
		    strstr(info.dli_fname, "libevent_extra"))
			return true;
	return false;
}

static void *
event_malloc(size_t size)
{
	bool spared = is_for_evhttp();
	void *p;

	if (spared)
		fault_pause();
	p = fault_malloc(size);
	if (spared)
		fault_resume();
	return p;
}

static void *
event_realloc(void *old, size_t size)
{
	bool spared = is_for_evhttp();
	void *p;

	if (spared)
		fault_pause();
	p = fault_realloc(old, size);
	if (spared)
		fault_resume();
	return p;
}

static void __attribute__((constructor)) hook_libs(void)
{
	event_set_mem_functions(event_malloc, event_realloc, fault_free);
	json_set_alloc_funcs(fault_malloc, fault_free);
}
