/* SPDX-License-Identifier: BSD-3-Clause */
#include "rtrs/base/mutant.h"

#ifdef RNBD_MUTATIONS
enum rnbd_mutant rnbd_mutant_on;
#endif
