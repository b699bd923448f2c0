#compdef rnbdctl
# Completion of rnbdctl for zsh; see rnbdctl.bash.
local -a reply
reply=("${(@f)$(${words[1]} __complete "${(@)words[2,CURRENT]}" 2>/dev/null)}")
compadd -- "${(@)reply:#}"
