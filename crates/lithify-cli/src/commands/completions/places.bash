
# Where an image is meant: transports, files, images of the store. What clap generates knows words, not places.
_lithify_places() {
    _lithify "$@"
    # By blanks: to readline a colon ends a word.
    local line="${COMP_LINE:0:COMP_POINT}" verb="" option="" number=0 kind="" word cur
    local -a words
    read -ra words <<<"${line}"
    case "${line}" in
        *[[:space:]]) cur="" ;;
        *) cur="${words[-1]}" && unset 'words[-1]' ;;
    esac
    for word in "${words[@]:1}"; do
        if [[ -n "${option}" ]]; then
            option=""
            continue
        fi
        case "${word}" in
            -*)
                case "${verb} ${word}" in
                    @OPTIONS@) option="${word}" ;;
                esac
                ;;
            *) if [[ -z "${verb}" ]]; then verb="${word}"; else number=$((number + 1)); fi ;;
        esac
    done
    case "${cur}" in -*) return ;; esac
    case "${verb} ${option:-${number}}" in
        @PLACES@) kind=place ;;
        @NAMES@) kind=name ;;
        *) return ;;
    esac
    COMPREPLY=()
    local prefix="" found name
    local -a all=()
    case "${kind} ${cur}" in
        @PATHS@)
            prefix="${cur%%:*}:"
            ;;
        "place docker:"* | "place docker-daemon:"*) return ;;
        "place store:"*) kind=name prefix="store:" ;;
        "place "*) all=(@TRANSPORTS@) ;;
    esac
    if [[ "${kind}" == place ]]; then
        while IFS= read -r name; do
            if [[ -d "${name/#\~/${HOME}}" ]]; then name+=/; fi
            all+=("${prefix}${name}")
        done < <(compgen -f -- "${cur#"${prefix}"}")
    fi
    if [[ "${kind}" == name || -z "${prefix}" ]]; then
        # One to a line, the platform and the rest behind two blanks.
        while IFS= read -r name; do
            name="${name%%  *}"
            case "${name}" in
                oci:* | oci-archive:* | docker-archive:* | rootfs:*) continue ;;
            esac
            all+=("${prefix}${name}")
            case "${name}" in
                docker.io/library/*) all+=("${prefix}${name#docker.io/library/}") ;;
            esac
        done < <("${COMP_WORDS[0]}" -q images 2>/dev/null)
    fi
    # Readline replaces what is behind the last colon, if a colon ends words.
    local behind=""
    if [[ "${COMP_WORDBREAKS}" == *:* ]]; then behind="${cur%"${cur##*:}"}"; fi
    for found in "${all[@]}"; do
        if [[ "${found}" == "${cur}"* ]]; then COMPREPLY+=("${found#"${behind}"}"); fi
    done
    if [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *[:/] ]]; then
        compopt -o nospace 2>/dev/null
    fi
}

complete -F _lithify_places -o bashdefault -o default lithify
