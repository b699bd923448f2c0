/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Which device of the server an NBD client gets for the export that it names:
 *
 *   device_path=NAME     this one, whatever the client asks for
 *   exports=...          those of a list, under their names
 *   neither              the export's name is the name of the device, below
 *                        export-root= and within export-allow=; with
 *                        export-modes= behind the mode it is opened in, and a
 *                        colon: "ro:disk"
 *
 * Knows nothing of nbdkit.
 */
#ifndef NBDKIT_PLUGIN_EXPORTS_H
#define NBDKIT_PLUGIN_EXPORTS_H

#include <stdbool.h>
#include <stddef.h>

#include "proto/rnbd-msg.h"

#define EXPORTS_TEXT_MAX 384

/* One of a fixed list. */
struct export_item {
	char *name;   /* what NBD clients call it */
	char *device; /* what the server calls it */
	bool read_only;
};

struct exports {
	char *only; /* device_path=; NULL: not given */
	struct export_item *items;
	unsigned n_items;
	char *root;   /* export-root=; NULL: none */
	char **allow; /* patterns of export-allow= */
	unsigned n_allow;
	bool modes; /* export-modes= */
};

void exports_deinit(struct exports *x);

/*
 * "[NAME=]DEVICE[,ro]". Errors: -EINVAL, -EEXIST, -ENOMEM, with words in why.
 */
int exports_add(struct exports *x, const char *value,
		char why[EXPORTS_TEXT_MAX]);
/* A pattern as of fnmatch(3), for whole names. -EINVAL, -ENOMEM. */
int exports_add_allow(struct exports *x, const char *pattern,
		      char why[EXPORTS_TEXT_MAX]);
/* What goes together: 0 or -EINVAL with words. */
int exports_check(const struct exports *x, char why[EXPORTS_TEXT_MAX]);

struct export_choice {
	char device[RNBD_NAME_LEN];
	bool read_only;
	int mode; /* enum rnbd_access_mode; -1: as access_mode= says */
};
/*
 * What a client gets that asks for name. -ENOENT there is none of that name,
 * or it is not allowed; -EINVAL it cannot be the name of a device.
 */
int exports_choose(const struct exports *x, const char *name,
		   struct export_choice *ret, char why[EXPORTS_TEXT_MAX]);

/* The export of a client that names none; "" if it has to name one. */
const char *exports_default(const struct exports *x);

#endif
