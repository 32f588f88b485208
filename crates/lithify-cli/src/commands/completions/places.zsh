# Where an image is meant: transports, files, images of the store. What clap generates knows words, not places.
_lithify_names() {
    local -a names
    # One to a line, the platform and the rest behind two blanks.
    names=(${${(f)"$(_call_program images lithify -q images 2>/dev/null)"}%%  *})
    names=(${names:#(oci|oci-archive|docker-archive|rootfs):*})
    names+=(${${(M)names:#docker.io/library/*}#docker.io/library/})
    compadd -a names
}

_lithify_places() {
    if compset -P '(@PATHS@)'; then
        _files
    elif compset -P 'store:'; then
        _lithify_names
    elif [[ ${PREFIX} != docker(:|-daemon:)* ]]; then
        local -a transports
        transports=(@TRANSPORTS@)
        compadd -S '' -a transports
        _lithify_names
        _files
    fi
}

_lithify_composefs() {
    if compset -P 'composefs:'; then
        _files
    else
        compadd -S '' composefs:
        _files
    fi
}


