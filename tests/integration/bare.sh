#!/usr/bin/env bash
# The quick start configures the build with the packages that it installs: those
# of the tests, which are the libraries check and subunit, are not there.
. "$(dirname "$0")/functions.sh"
requires meson
mkdir "$tmp/pc"
IFS=: read -ra dirs <<<"$(pkg-config --variable pc_path pkg-config)"
for dir in "${dirs[@]}"; do
	[ ! -d "$dir" ] || find "$dir" -name '*.pc' \
		-not -name check.pc -not -name libsubunit.pc \
		-exec ln -sf -t "$tmp/pc" {} +
done
# shellcheck disable=SC2016  # it is text
options=$(sed -nE 's/.*meson setup "\$build" "\$top" ?([^;&]*);.*/\1/p' \
	"$RNBD_SRCDIR/config/quickstart.sh")
configure() {
	PKG_CONFIG_LIBDIR=$tmp/pc meson setup "$tmp/build" "$RNBD_SRCDIR" "$@" \
		>"$tmp/meson.log" 2>&1
}
# They are hidden indeed.
! configure -Dtests=true || fail "the library check is still found"
rm -rf "$tmp/build"
# shellcheck disable=SC2086  # words are meant
configure $options || fail "meson setup $options"
