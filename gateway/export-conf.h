/* SPDX-License-Identifier: BSD-3-Clause */
/* The keys of an export: of a section [export], and of --export. */
#ifndef GATEWAY_EXPORT_CONF_H
#define GATEWAY_EXPORT_CONF_H

#include "config/conf.h"

/*
 * obj is a struct gw_spec, all zero at first; when every key was set,
 * gw_spec_check() judges it as a whole. Ended by a NULL name.
 */
extern const struct conf_key gw_export_keys[];
/* Where a key belongs that looks like one of these and is none; NULL. */
const char *gw_export_key_elsewhere(const char *key);

#endif
