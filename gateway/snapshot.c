/* SPDX-License-Identifier: BSD-3-Clause */
#include "gateway/snapshot.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One more element of an array that doubles; NULL: no memory. */
static void *
grow(void **array, size_t n, size_t *room, size_t size)
{
	if (n == *room) {
		size_t want = *room ? 2 * *room : 16;
		void *p = reallocarray(*array, want, size);

		if (!p)
			return NULL;
		*array = p;
		*room = want;
	}
	return (char *)*array + n * size;
}

static void
add_path(void *user, const struct rtrs_srv_path_info *info)
{
	struct snapshot *snap = user;
	struct snap_path *p = grow((void **)&snap->paths, snap->n_paths,
				   &snap->room_paths, sizeof(*snap->paths));

	if (!p) {
		snap->err = -ENOMEM;
		return;
	}
	snap->n_paths++;
	p->info = *info;
	snprintf(p->sess_name, sizeof(p->sess_name), "%s", info->sess_name);
	snprintf(p->hca_name, sizeof(p->hca_name), "%s", info->hca_name);
}

static void
latency_add(struct gw_latency *sum, const struct gw_latency *l)
{
	for (int i = 0; l && i < BACKEND_N_OPS; i++)
		hist_merge(&sum->op[i], &l->op[i]);
}

static void
add_export(void *user, const struct gw_export_info *info)
{
	struct snapshot *snap = user;

	latency_add(snap->latency, info->latency);
}

static void
device_quantiles(struct snap_device *d, const struct gw_latency *l)
{
	struct hist all = l->op[0];

	for (int i = 1; i < BACKEND_N_OPS; i++)
		hist_merge(&all, &l->op[i]);
	d->p50_ns = hist_quantile(&all, 0.5);
	d->p99_ns = hist_quantile(&all, 0.99);
}

static void
add_device(void *user, const struct gw_device_info *info)
{
	struct snapshot *snap = user;
	struct snap_device *d =
		grow((void **)&snap->devices, snap->n_devices,
		     &snap->room_devices, sizeof(*snap->devices));

	if (!d) {
		snap->err = -ENOMEM;
		return;
	}
	snap->n_devices++;
	*d = (struct snap_device){.info = *info};
	if (info->latency && snap->want & SNAP_DEVICE_LATENCY)
		device_quantiles(d, info->latency);
	d->info.latency = NULL; /* the worker's own */
	snprintf(d->export_name, sizeof(d->export_name), "%s",
		 info->export_name);
	d->info.latency = NULL; /* of the worker */
	snprintf(d->sess_name, sizeof(d->sess_name), "%s", info->sess_name);
	snprintf(d->dev_name, sizeof(d->dev_name), "%s", info->dev_name);
}

void
snapshot_take(struct gw_server *s, unsigned want, struct snapshot *snap)
{
	*snap = (struct snapshot){.want = want};
	if (want & SNAP_LATENCY) {
		snap->latency = calloc(1, sizeof(*snap->latency));
		if (snap->latency)
			gw_server_for_each_export(s, add_export, snap);
		else
			snap->err = -ENOMEM;
	}
	gw_server_stats(s, &snap->stats);
	rtrs_srv_for_each_path(gw_server_rtrs(s), add_path, snap);
	gw_server_for_each_device(s, add_device, snap);
	/* Only now the arrays do not move any more. */
	for (size_t i = 0; i < snap->n_paths; i++) {
		snap->paths[i].info.sess_name = snap->paths[i].sess_name;
		snap->paths[i].info.hca_name = snap->paths[i].hca_name;
	}
	for (size_t i = 0; i < snap->n_devices; i++) {
		snap->devices[i].info.sess_name = snap->devices[i].sess_name;
		snap->devices[i].info.dev_name = snap->devices[i].dev_name;
		snap->devices[i].info.export_name =
			snap->devices[i].export_name;
	}
}

void
snapshot_deinit(struct snapshot *snap)
{
	free(snap->paths);
	free(snap->devices);
	free(snap->latency);
	*snap = (struct snapshot){0};
}

void
snapshot_pathname(const struct rtrs_srv_path_info *info,
		  char ret[SNAP_PATHNAME_MAX])
{
	char src[RTRS_ADDR_TEXT_MAX], dst[RTRS_ADDR_TEXT_MAX];

	rtrs_addr_host_text(info->fabric, &info->addrs.peer, src);
	rtrs_addr_host_text(info->fabric, &info->addrs.local, dst);
	snprintf(ret, SNAP_PATHNAME_MAX, "%s@%s", src, dst);
}
