#!/usr/bin/env bash
# `meson install` puts everything where nbdkit, a user and man find it.
. "$(dirname "$0")/functions.sh"
builddir=$(dirname "$(dirname "$RNBD_GATEWAYD")")
DESTDIR=$tmp/root meson install -C "$builddir" --no-rebuild >"$tmp/install.log" 2>&1
plugindir=$(nbdkit --dump-config | sed -n 's/^plugindir=//p')
plugin=$tmp/root$plugindir/nbdkit-rnbd-plugin.so
[ -f "$plugin" ] || fail "no plugin in nbdkit's $plugindir"
"${san_env[@]}" nbdkit "$plugin" --version | grep -q '^rnbd '
for f in sbin/rnbd-gatewayd bin/rnbdctl; do
	[ -x "$tmp/root/usr/local/$f" ] || fail "no $f"
	"$tmp/root/usr/local/$f" --version | grep -q "^${f#*/} [0-9]"
done
for page in man1/nbdkit-rnbd-plugin.1 man8/rnbd-gatewayd.8 man8/rnbdctl.8 \
	man5/rnbd-gatewayd.conf.5 man7/rnbd-metrics.7 man7/rnbd-protocol.7 \
	man7/rnbd-security.7; do
	man "$tmp/root/usr/local/share/man/$page" >"$tmp/page" ||
		fail "man cannot show $page"
	grep -q '^NAME' "$tmp/page" || fail "$page has no NAME"
done
# What completes words is where the shells look for it, and is theirs to read.
for f in bash-completion/completions/rnbdctl zsh/site-functions/_rnbdctl; do
	[ -f "$tmp/root/usr/local/share/$f" ] || fail "no $f"
done
bash -c '. "$1" && complete -p rnbdctl' - \
	"$tmp/root/usr/local/share/bash-completion/completions/rnbdctl" >/dev/null
[ "$(head -n 1 "$tmp/root/usr/local/share/zsh/site-functions/_rnbdctl")" = "#compdef rnbdctl" ] ||
	fail "the completion of zsh does not say what it completes"
# The service manager's files, where this system has one.
for v in systemdsystemunitdir=rnbd-gatewayd.service \
	systemdsystemunitdir=rnbd-map@.service sysusersdir=rnbd.conf \
	tmpfilesdir=rnbd.conf; do
	dir=$(pkg-config --variable="${v%=*}" systemd 2>/dev/null) || continue
	[ -f "$tmp/root$dir/${v#*=}" ] || fail "no ${v#*=} in $dir"
done
