/* SPDX-License-Identifier: BSD-3-Clause */
/* Looks at exports that are on other servers, which may take long to answer. */
#include <errno.h>

#include "gateway/export-priv.h"

bool
gw_exports_is_remote(struct gw_exports *x, const char *name)
{
	const struct gw_export *ex;
	bool remote;

	pthread_mutex_lock(&x->lock);
	ex = export_find(x, name);
	remote = ex && ex->spec.kind == GW_SPEC_NBD;
	pthread_mutex_unlock(&x->lock);
	return remote;
}

/* On a thread that may wait. The export may be out of the table by now. */
static void
look_work(struct gw_job *job)
{
	struct gw_look *look = container_of(job, struct gw_look, job);

	look->err = export_look_by(look->export, &look->params,
				   &look->size_bytes, look->err_text);
}

static void
look_done(struct gw_job *job)
{
	struct gw_look *look = container_of(job, struct gw_look, job);
	struct gw_export *ex = look->export;

	/* Only this thread takes it out of the table. */
	if (!ex->listed)
		look->err = gw_text_err(look->err_text, -ENOENT,
					"the export is gone or was replaced");
	else if (!look->err)
		export_set_size(look->exports, ex, look->size_bytes);
	export_unref(look->exports, ex);
	look->done(look);
}

int
gw_exports_look(struct gw_exports *x, const char *name, struct gw_look *look,
		char err_text[GW_TEXT_MAX])
{
	struct gw_export *ex = export_find(x, name);

	if (!ex)
		return export_say_unknown(name, err_text);
	pthread_mutex_lock(&x->lock);
	ex->refs++;
	export_open_params(ex, &look->params);
	pthread_mutex_unlock(&x->lock);
	look->params.log = x->log;
	look->params.cancel_fd = look->cancel_fd;
	look->exports = x;
	look->export = ex;
	look->err_text[0] = '\0';
	look->job = (struct gw_job){.work = look_work, .done = look_done};
	look->exec->run(look->exec, &look->job);
	return 0;
}
