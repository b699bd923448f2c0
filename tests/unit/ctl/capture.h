/* SPDX-License-Identifier: BSD-3-Clause */
/* What is printed between two points, in a process of the test's own. */
#ifndef TESTS_UNIT_CTL_CAPTURE_H
#define TESTS_UNIT_CTL_CAPTURE_H

/* Both streams go to a file from here on. */
void capture_begin(void);
/* And back. The text is good until the next one. */
const char *capture_end(void);

#endif
