//! Completions where an image is meant: transports, files, names of the store. Each shell completes lines itself.

use std::fs;
use std::path::Path;

use crate::common::{image, layer, lithify};
use lithify_testkit::{TarEntry, require, run, temp_dir};
use tempfile::TempDir;

/// What is typed, and what it can become: words as they stand in the end, without the slash behind a directory.
const LINES: &[(&str, &[&str])] = &[
    ("lithify build o", &["oci-archive:", "oci:"]),
    ("lithify -q ls --platform linux/arm64 docker:", &[]),
    ("lithify inspect i", &["image"]),
    ("lithify inspect oci:i", &["oci:image"]),
    ("lithify verify ap", &["app:1"]),
    ("lithify verify app:", &["app:1"]),
    (
        "lithify cat store:reg",
        &["store:registry.example.com/team/web:2"],
    ),
    ("lithify copy oci:image docker-a", &["docker-archive:"]),
    (
        "lithify commit --base do",
        &[
            "docker-archive:",
            "docker-daemon:",
            "docker.io/library/app:1",
            "docker://",
        ],
    ),
    ("lithify commit --base oci:i", &["oci:image"]),
    ("lithify commit x -o oci:i", &["oci:image"]),
    ("lithify build x --compress zs", &["zstd"]),
    ("lithify tag app:1 ap", &[]),
    ("lithify rm re", &["registry.example.com/team/web:2"]),
    ("lithify mount composefs:i", &["composefs:image"]),
    ("lithify composefs fs", &["fsck"]),
    ("lithify composefs fsck --metadata", &["--metadata-only"]),
    ("lithify composefs init --verity re", &["require"]),
    // What is no image is as it was.
    ("lithify build x --format squashfs-", &["squashfs-layers"]),
    ("lithify build --verit", &["--verity"]),
    ("lithify inspe", &["inspect"]),
];

/// Files where a script says nothing: readline completes them by itself, other shells are told to.
const FILES: &[(&str, &[&str])] = &[("lithify composefs dump composefs:i", &["composefs:image"])];

/// A directory with an image, a store with two, and the script of a shell.
fn place(shell: &str) -> TempDir {
    let tmp = temp_dir();
    let source = image(
        &tmp.path().join("image"),
        [layer([TarEntry::file("a", "x")])],
    );
    for name in ["app:1", "registry.example.com/team/web:2"] {
        let destination = format!("store:{name}");
        let mut command = lithify();
        command.env("LITHIFY_STORE", tmp.path().join("store"));
        run::ok(command.args(["copy", &source, &destination]));
    }
    let script = run::text(lithify().args(["completions", shell]));
    fs::write(tmp.path().join("script"), script).unwrap();
    tmp
}

/// Runs a shell in that place, with the command on its path.
fn run_in(place: &Path, shell: &str, arguments: &[&str]) -> String {
    let program = lithify().get_program().to_owned();
    let directory = Path::new(&program).parent().unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = run::command(shell);
    command
        .current_dir(place)
        .env("PATH", format!("{}:{path}", directory.display()))
        .env("LITHIFY_STORE", place.join("store"))
        .env("HOME", place)
        .args(arguments);
    run::text(&mut command)
}

/// Compares what a shell offers for each line; `offers` gives words that may lack what stands before `:`.
fn check(shell: &str, offers: impl Fn(&Path, &str) -> String) {
    let place = place(shell);
    let files = FILES.iter().filter(|_| shell != "bash");
    for (line, expected) in LINES.iter().chain(files) {
        let typed = line.rsplit(' ').next().unwrap();
        let (before, _) = typed.split_at(typed.rfind(':').map_or(0, |colon| colon + 1));
        let mut words: Vec<String> = offers(place.path(), line)
            .lines()
            .map(|word| word.split('\t').next().unwrap().trim_end_matches('/'))
            .filter(|word| !word.is_empty())
            .map(|word| match word {
                // The slashes of a transport are its own.
                "docker:" => "docker://".to_owned(),
                word if word.starts_with(before) => word.to_owned(),
                word => format!("{before}{word}"),
            })
            .collect();
        words.sort();
        words.dedup();
        assert_eq!(words, *expected, "{shell}: {line}");
    }
}

#[test]
fn bash_completes_transports_and_names_of_the_store() {
    // As readline calls it, which breaks words at colons too.
    let script = "
        . ./script
        complete -p lithify | grep -q -- '-F _lithify_places' || exit 1
        COMP_LINE=$1 COMP_POINT=${#1} COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'
        IFS=$' ' read -ra COMP_WORDS <<<\"${1//:/ : }\"
        case $1 in *[\\ :]) COMP_WORDS+=('') ;; esac
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _lithify_places lithify \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"
        printf '%s\\n' \"${COMPREPLY[@]}\"
    ";
    check("bash", |place, line| {
        run_in(place, "bash", &["--norc", "-c", script, "bash", line])
    });
}

#[test]
fn zsh_completes_transports_and_names_of_the_store() {
    if !require::tool("zsh") {
        return;
    }
    // A shell at a terminal of its own, which writes down what fits and ends when it has completed.
    let script = r#"
        zmodload zsh/zpty
        zpty shell zsh -f -i
        zpty -w shell 'autoload -Uz compinit; compinit -u -D; . ./script; finish() { exit }'
        zpty -w shell 'compadd() { local -a fits; builtin compadd -A fits "$@"; print -rl -- $fits >>found; builtin compadd "$@" }'
        zpty -w shell 'comppostfuncs=(finish)'
        : >found
        zpty -n -w shell "$1"$'\t'
        while zpty -r shell; do :; done >seen
        cat found
    "#;
    check("zsh", |place, line| {
        run_in(place, "zsh", &["-f", "-c", script, "zsh", line])
    });
}

#[test]
fn fish_completes_transports_and_names_of_the_store() {
    if !require::tool("fish") {
        return;
    }
    let script = "source ./script; complete -C $argv[1]";
    check("fish", |place, line| {
        run_in(place, "fish", &["--no-config", "-c", script, line])
    });
}
