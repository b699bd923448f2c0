# Completion of rnbdctl for bash. What there is to complete is known to rnbdctl
# itself; names of sessions and the like it asks the daemon for.
# shellcheck shell=bash

_rnbdctl() {
	local words cword cur reply
	# Addresses have colons, which end a word for bash but not for us.
	if declare -F _get_comp_words_by_ref >/dev/null; then
		_get_comp_words_by_ref -n : words cword cur
	else
		words=("${COMP_WORDS[@]}")
		cword=$COMP_CWORD
		cur=${COMP_WORDS[COMP_CWORD]}
	fi
	mapfile -t reply < <("${words[0]}" __complete \
		"${words[@]:1:cword}" 2>/dev/null)
	COMPREPLY=("${reply[@]}")
	if [ ${#COMPREPLY[@]} -eq 0 ] &&
		[[ ${words[cword - 1]} == --@(control|socket|file) ]]; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
	fi
	if declare -F __ltrim_colon_completions >/dev/null; then
		__ltrim_colon_completions "$cur"
	fi
}
complete -F _rnbdctl rnbdctl
