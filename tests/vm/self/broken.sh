#!/usr/bin/env bash
# vm: where=host kernels=6.12 build=no
# Fails each time.
exit 1
