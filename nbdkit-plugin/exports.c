/* SPDX-License-Identifier: BSD-3-Clause */
#include "nbdkit-plugin/exports.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static int
bad(char why[EXPORTS_TEXT_MAX], int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, EXPORTS_TEXT_MAX, fmt, ap);
	va_end(ap);
	return err;
}

static void
item_free(struct export_item *item)
{
	free(item->name);
	free(item->device);
}

void
exports_deinit(struct exports *x)
{
	for (unsigned i = 0; i < x->n_items; i++)
		item_free(&x->items[i]);
	for (unsigned i = 0; i < x->n_allow; i++)
		free(x->allow[i]);
	free(x->items);
	free(x->allow);
	free(x->root);
	free(x->only);
	*x = (struct exports){0};
}

static const struct export_item *
find(const struct exports *x, const char *name)
{
	for (unsigned i = 0; i < x->n_items; i++)
		if (!strcmp(x->items[i].name, name))
			return &x->items[i];
	return NULL;
}

int
exports_add(struct exports *x, const char *value, char why[EXPORTS_TEXT_MAX])
{
	const char *eq = strchr(value, '='), *device = eq ? eq + 1 : value;
	size_t len = strlen(device);
	struct export_item item = {0}, *grown;

	if (len > 3 && !strcmp(device + len - 3, ",ro")) {
		item.read_only = true;
		len -= 3;
	}
	if (!len || eq == value)
		return bad(why, -EINVAL, "'%.200s' is not [NAME=]DEVICE[,ro]",
			   value);
	if (len >= RNBD_NAME_LEN)
		return bad(why, -EINVAL,
			   "the name of a device has at most %d bytes",
			   RNBD_NAME_LEN - 1);
	item.device = strndup(device, len);
	item.name = eq ? strndup(value, (size_t)(eq - value))
		       : strndup(device, len);
	if (item.device && item.name && find(x, item.name)) {
		bad(why, -EEXIST, "'%.200s' is given twice", item.name);
		item_free(&item);
		return -EEXIST;
	}
	grown = item.device && item.name
			? reallocarray(x->items, x->n_items + 1, sizeof(*grown))
			: NULL;
	if (!grown) {
		item_free(&item);
		return bad(why, -ENOMEM, "%s", strerror(ENOMEM));
	}
	x->items = grown;
	x->items[x->n_items++] = item;
	return 0;
}

int
exports_add_allow(struct exports *x, const char *pattern,
		  char why[EXPORTS_TEXT_MAX])
{
	char **grown;
	char *copy;

	if (!*pattern)
		return bad(why, -EINVAL, "the pattern is empty");
	copy = strdup(pattern);
	grown = copy ? reallocarray(x->allow, x->n_allow + 1, sizeof(*grown))
		     : NULL;
	if (!grown) {
		free(copy);
		return bad(why, -ENOMEM, "%s", strerror(ENOMEM));
	}
	x->allow = grown;
	x->allow[x->n_allow++] = copy;
	return 0;
}

int
exports_check(const struct exports *x, char why[EXPORTS_TEXT_MAX])
{
	if (x->only && x->n_items)
		return bad(why, -EINVAL,
			   "device_path= is one device for every NBD client, "
			   "exports= is a list: give one of them");
	if ((x->only || x->n_items) && (x->root || x->n_allow || x->modes))
		return bad(why, -EINVAL,
			   "export-root=, export-allow= and export-modes= are "
			   "for clients that name the device: leave out %s=",
			   x->only ? "device_path" : "exports");
	return 0;
}

static bool
is_allowed(const struct exports *x, const char *name)
{
	for (unsigned i = 0; i < x->n_allow; i++)
		if (!fnmatch(x->allow[i], name, 0))
			return true;
	return !x->n_allow;
}

/* A way out of export-root=, which a server need not know of. */
static bool
has_dot_dot(const char *name)
{
	while ((name = strstr(name, ".."))) {
		if (name[2] == '\0' || name[2] == '/')
			return true;
		name += 2;
	}
	return false;
}

/* Takes "ro:" off the name. */
static int
take_mode(const char **name, struct export_choice *ret,
	  char why[EXPORTS_TEXT_MAX])
{
	size_t len = strcspn(*name, ":");
	char mode[16] = "";

	if ((*name)[len] && len < sizeof(mode))
		memcpy(mode, *name, len);
	ret->mode = rnbd_access_mode_parse(mode);
	if (ret->mode < 0)
		return bad(why, -EINVAL,
			   "export '%.200s': export-modes= wants ro:, rw: or "
			   "migration: in front of the device",
			   *name);
	*name += len + 1;
	return 0;
}

static int
choose_by_name(const struct exports *x, const char *name,
	       struct export_choice *ret, char why[EXPORTS_TEXT_MAX])
{
	int n, err = x->modes ? take_mode(&name, ret, why) : 0;

	if (err)
		return err;
	if (!*name)
		return bad(why, -ENOENT,
			   "an NBD client has to name the device it wants, as "
			   "the export's name: nbd://HOST/DEVICE");
	if (has_dot_dot(name))
		return bad(why, -EINVAL,
			   "export '%.200s': \"..\" is not allowed", name);
	if (!is_allowed(x, name))
		return bad(why, -ENOENT,
			   "export '%.200s' is not allowed by export-allow=",
			   name);
	n = snprintf(ret->device, sizeof(ret->device), "%s%s%s",
		     x->root ? x->root : "", x->root ? "/" : "", name);
	if (n >= (int)sizeof(ret->device))
		return bad(why, -EINVAL,
			   "export '%.100s...' is too long for a device: at "
			   "most %d bytes, export-root= included",
			   name, RNBD_NAME_LEN - 1);
	return 0;
}

int
exports_choose(const struct exports *x, const char *name,
	       struct export_choice *ret, char why[EXPORTS_TEXT_MAX])
{
	const struct export_item *item;

	ret->read_only = false;
	ret->mode = -1;
	if (x->only) {
		snprintf(ret->device, sizeof(ret->device), "%s", x->only);
		return 0;
	}
	if (!x->n_items)
		return choose_by_name(x, name, ret, why);
	item = find(x, name);
	if (!item)
		return bad(why, -ENOENT,
			   "no export '%.200s' in exports=", name);
	snprintf(ret->device, sizeof(ret->device), "%s", item->device);
	ret->read_only = item->read_only;
	return 0;
}

const char *
exports_default(const struct exports *x)
{
	return x->n_items ? x->items[0].name : "";
}
