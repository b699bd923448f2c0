/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/control/control.h"
#include "rtrs/base/hist.h"

json_t *
control_hist(const struct hist *h)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "count",
			 (json_int_t)hist_count(h), "p50_ns",
			 (json_int_t)hist_quantile(h, 0.5), "p99_ns",
			 (json_int_t)hist_quantile(h, 0.99), "sum_ns",
			 (json_int_t)h->sum);
}

json_t *
control_hist_buckets(const struct hist *h)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < HIST_BUCKETS; i++) {
		uint64_t top =
			i + 1 < HIST_BUCKETS ? hist_lower(i + 1) - 1 : h->max;

		if (h->n[i])
			json_array_append_new(
				list, json_pack("[I, I]", (json_int_t)top,
						(json_int_t)h->n[i]));
	}
	return list;
}
