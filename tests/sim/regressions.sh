#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
# Runs the seeds of regressions.txt.
#
#   tests/sim/regressions.sh RNBD-SIM
set -euo pipefail

if [ $# != 1 ] || [ ! -x "$1" ]; then
	echo "usage: regressions.sh RNBD-SIM, the simulator that was built" >&2
	exit 2
fi
sim=$1
list=$(dirname "$(realpath "$0")")/regressions.txt
n=0

while read -r scenario seed _; do
	"$sim" --scenario "$scenario" --seed "$seed"
	n=$((n + 1))
done < <(grep -v '^#' "$list")
if [ "$n" = 0 ]; then
	echo "regressions.sh: no seed in $list" >&2
	exit 1
fi
