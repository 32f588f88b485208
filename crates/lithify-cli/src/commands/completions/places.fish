
# Where an image is meant: transports, files, images of the store. What clap generates knows words, not places.
function __lithify_names
    # One to a line, the platform and the rest behind two blanks.
    set -l tokens (commandline -opc)
    for name in ($tokens[1] -q images 2>/dev/null | string replace -r '  .*' '')
        switch $name
            case 'oci:*' 'oci-archive:*' 'docker-archive:*' 'rootfs:*'
                continue
            case 'docker.io/library/*'
                string replace docker.io/library/ '' -- $name
        end
        echo $name
    end
end

function __lithify_places
    set -l current (commandline -ct)
    switch $current
        case @PATHS@
            set -l transport (string replace -r ':.*' ':' -- $current)
            set -l begun (string replace -r '^[^:]*:' '' -- $current)
            for path in $begun*
                if test -d $path
                    set path $path/
                end
                echo $transport$path
            end
        case 'docker:*' 'docker-daemon:*'
        case 'store:*'
            for name in (__lithify_names)
                echo store:$name
            end
        case '*'
            string join \n @TRANSPORTS@
            __lithify_names
            __fish_complete_path $current
    end
end

# Whether an image stands next, behind these verbs and so many arguments.
function __lithify_next_is
    set -l verb ''
    set -l option ''
    set -l number 0
    set -l words (commandline -opc)
    for word in $words[2..-1]
        if test -n "$option"
            set option ''
            continue
        end
        switch $word
            case '-*'
                switch "$verb $word"
                    case @OPTIONS@
                        set option $word
                end
            case '*'
                if test -z "$verb"
                    set verb $word
                else
                    set number (math $number + 1)
                end
        end
    end
    test -z "$option"; and contains -- "$verb $number" $argv
end

complete -c lithify -n '__lithify_next_is @PLACES@' -f -a '(__lithify_places)'
complete -c lithify -n '__lithify_next_is @NAMES@' -f -a '(__lithify_names)'
