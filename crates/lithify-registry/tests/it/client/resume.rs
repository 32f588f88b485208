//! Downloads that break, and go on.

use lithify_registry::{Client, Error};
use lithify_testkit::registry::{Action, Answer, At, Faulty, Kind, On};

use super::support::{NAME, digest, downloads, noise, open, options, read_blob, repository, shown};

const SIZE: usize = 200_000;

fn registry() -> (Faulty, Vec<u8>) {
    let (registry, blob) = (Faulty::start(), noise(SIZE));
    registry.add_blob(NAME, blob.clone());
    (registry, blob)
}

fn get() -> On {
    On::kind(Kind::Blob).method("GET")
}

#[test]
fn goes_on_where_it_broke() {
    for percent in (0..=100).step_by(10) {
        for break_off in [Action::ResetAt as fn(At) -> Action, Action::Truncate] {
            let (registry, blob) = registry();
            registry.rule(get().nth(1), break_off(At::Percent(percent)));
            assert_eq!(read_blob(&repository(&registry), &blob).unwrap(), blob);
            let requests = downloads(&registry);
            let ranges: Vec<_> = requests.iter().filter_map(|r| r.range()).collect();
            let at = SIZE * usize::from(percent) / 100;
            match percent {
                0 => assert!(requests.len() == 2 && ranges.is_empty(), "{ranges:?}"),
                100 => assert_eq!(requests.len(), 1),
                _ => assert_eq!(ranges, [format!("bytes={at}-{}", SIZE - 1)], "{percent}"),
            }
            let sent: u64 = requests.iter().map(|r| r.sent).sum();
            assert_eq!(sent, SIZE as u64, "no byte comes twice");
        }
    }
}

#[test]
fn goes_on_as_long_as_there_is_progress() {
    let (registry, blob) = registry();
    registry.rule(get(), Action::ResetAt(At::Byte(10_000)));
    assert_eq!(read_blob(&repository(&registry), &blob).unwrap(), blob);
    assert_eq!(downloads(&registry).len(), SIZE / 10_000);
}

#[test]
fn gives_up_without_progress() {
    let (registry, blob) = registry();
    registry.rule(get().after(1), Action::ResetAt(At::Byte(0)));
    registry.rule(get().nth(1), Action::ResetAt(At::Percent(50)));
    let error = read_blob(&repository(&registry), &blob).unwrap_err();
    assert!(
        matches!(error, Error::Transport { tries: 4, .. }),
        "{error:?}"
    );
    assert_eq!(downloads(&registry).len(), 4);
}

#[test]
fn refusals_and_breaks_are_counted_together() {
    let (registry, blob) = registry();
    registry.rule(get().nth(1), Action::Answer(Answer::status(503)));
    registry.rule(get().nth(2), Action::ResetAt(At::Byte(0)));
    registry.rule(get().nth(3), Action::Answer(Answer::status(503)));
    registry.rule(get().after(3), Action::ResetAt(At::Byte(0)));
    let error = read_blob(&repository(&registry), &blob).unwrap_err();
    assert!(
        matches!(error, Error::Transport { tries: 4, .. }),
        "{error:?}"
    );
    assert_eq!(downloads(&registry).len(), 4);
}

#[test]
fn starts_over_where_ranges_are_unknown() {
    for percent in (10..=90).step_by(20) {
        let (registry, blob) = registry();
        registry.rule(get(), Action::IgnoreRange);
        registry.rule(get().nth(1), Action::ResetAt(At::Percent(percent)));
        // While what is known is skipped, and after that.
        registry.rule(get().nth(2), Action::ResetAt(At::Percent(percent / 2)));
        registry.rule(get().nth(3), Action::Truncate(At::Percent(percent + 5)));
        assert_eq!(read_blob(&repository(&registry), &blob).unwrap(), blob);
        assert_eq!(downloads(&registry).len(), 4);
    }
}

#[test]
fn does_not_fetch_the_start_for_ever() {
    let (registry, blob) = registry();
    registry.rule(get(), Action::IgnoreRange);
    // Each time a little more, which would be enough progress with ranges.
    for n in 1..30 {
        let at = At::Byte(100_000 + 3_300 * n as u64);
        registry.rule(get().nth(n), Action::ResetAt(at));
    }
    let error = read_blob(&repository(&registry), &blob).unwrap_err();
    assert!(matches!(error, Error::Transport { .. }), "{error:?}");
    assert!(downloads(&registry).len() <= 5);
}

/// Servers that know no ranges, or only some, answer in many ways; what broke off on one of them never ended.
#[test]
fn where_the_part_cannot_be_had_it_starts_over_once() {
    let bends = [
        Action::Header("Content-Range".into(), "bytes 0-99999/200000".into()),
        Action::Header("Content-Range".into(), "bytes 100000-199998/200000".into()),
        Action::Header("Content-Range".into(), "bytes 100000-199999/200001".into()),
        Action::Header("Content-Range".into(), "nonsense".into()),
        Action::NoHeader("Content-Range".into()),
        Action::Answer(Answer::status(204)),
        Action::Answer(Answer::status(400)),
        Action::Answer(Answer::status(403)),
        Action::Answer(Answer::status(405)),
        Action::Answer(Answer::status(416)),
        Action::Answer(Answer::status(501)),
    ];
    for bend in bends {
        let (registry, blob) = registry();
        registry.rule(get().nth(1), Action::ResetAt(At::Percent(50)));
        registry.rule(get().ranged(true), bend.clone());
        assert_eq!(
            read_blob(&repository(&registry), &blob).unwrap(),
            blob,
            "{bend:?}"
        );
        assert_eq!(downloads(&registry).len(), 3, "{bend:?}");
        // Once it is known, no part is asked for again.
        let (registry, blob) = self::registry();
        registry.rule(get().nth(1), Action::ResetAt(At::Percent(50)));
        registry.rule(get().nth(3), Action::ResetAt(At::Percent(75)));
        registry.rule(get().ranged(true), bend.clone());
        assert_eq!(
            read_blob(&repository(&registry), &blob).unwrap(),
            blob,
            "{bend:?}"
        );
        let ranges = downloads(&registry)
            .iter()
            .filter(|r| r.range().is_some())
            .count();
        assert_eq!((downloads(&registry).len(), ranges), (4, 1), "{bend:?}");
    }
}

#[test]
fn where_the_whole_cannot_be_had_either_the_registry_says_why() {
    for status in [400, 403, 416] {
        let (registry, blob) = registry();
        registry.rule(get().nth(1), Action::ResetAt(At::Percent(50)));
        registry.rule(get().after(1), Action::Answer(Answer::status(status)));
        let error = read_blob(&repository(&registry), &blob).unwrap_err();
        let is_said = matches!(error, Error::Status { status: found, .. } if found == status);
        assert!(is_said, "{error:?}");
        shown(&error);
        assert_eq!(downloads(&registry).len(), 3);
    }
}

#[test]
fn parts_of_another_length_than_they_say_are_refused() {
    let (registry, blob) = registry();
    registry.rule(get().nth(1), Action::ResetAt(At::Percent(50)));
    registry.rule(get().after(1), Action::ShortRange(100));
    let error = read_blob(&repository(&registry), &blob).unwrap_err();
    assert!(matches!(error, Error::Length { .. }), "{error:?}");
    assert_eq!(downloads(&registry).len(), 2);
}

#[test]
fn a_wrong_part_under_the_right_headers_is_for_the_digest_to_tell() {
    let (registry, blob) = registry();
    registry.rule(get().nth(1), Action::ResetAt(At::Percent(50)));
    registry.rule(get().ranged(true), Action::ShiftRange(-1));
    let repository = repository(&registry);
    let read = read_blob(&repository, &blob).unwrap();
    assert_ne!(digest(&read), digest(&blob));
    // Then it is asked for without parts, once.
    assert!(repository.distrust(&digest(&blob)));
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    assert!(!repository.distrust(&digest(&blob)));
}

#[test]
fn silence_in_the_middle_is_a_break() {
    let (registry, blob) = registry();
    registry.rule(get().nth(1), Action::StallAt(At::Percent(30)));
    let client = Client::new(options("[timeouts]\nidle = 1")).unwrap();
    let repository = open(&client, &registry.address());
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    assert_eq!(downloads(&registry)[1].range(), Some("bytes=60000-199999"));
}

#[test]
fn begins_in_the_middle() {
    let (registry, blob) = registry();
    let repository = repository(&registry);
    for offset in [1, 100_000, 199_999, 200_000] {
        let reader = repository
            .blob(&digest(&blob), SIZE as u64, offset)
            .unwrap();
        let read = super::support::read_all(reader.unwrap()).unwrap();
        assert_eq!(read, blob[usize::try_from(offset).unwrap()..]);
    }
    registry.rule(get(), Action::IgnoreRange);
    let reader = repository
        .blob(&digest(&blob), SIZE as u64, 150_000)
        .unwrap();
    let read = super::support::read_all(reader.unwrap()).unwrap();
    assert_eq!(read, blob[150_000..]);
}

#[test]
fn parts_are_read_with_and_without_ranges() {
    for ignored in [false, true] {
        let (registry, blob) = registry();
        if ignored {
            registry.rule(get(), Action::IgnoreRange);
        }
        registry.rule(get().nth(1), Action::ResetAt(At::Byte(10)));
        let repository = repository(&registry);
        let digest = digest(&blob);
        let part = repository
            .blob_part(&digest, SIZE as u64, 1000..5000)
            .unwrap();
        assert_eq!(part, blob[1000..5000]);
        let end = repository
            .blob_part(&digest, SIZE as u64, 199_990..300_000)
            .unwrap();
        assert_eq!(end, blob[199_990..]);
        assert!(
            repository
                .blob_part(&digest, SIZE as u64, 9..9)
                .unwrap()
                .is_empty()
        );
        assert_eq!(downloads(&registry).len(), 3);
    }
}

#[test]
fn parts_that_are_refused_are_read_from_the_whole() {
    let bends = [
        Action::Header("Content-Range".into(), "bytes 0-3999/200000".into()),
        Action::Answer(Answer::status(403)),
        Action::Answer(Answer::status(416)),
        Action::Answer(Answer::status(501)),
    ];
    for bend in bends {
        let (registry, blob) = registry();
        registry.rule(get().ranged(true), bend.clone());
        let repository = repository(&registry);
        let part = repository.blob_part(&digest(&blob), SIZE as u64, 1000..5000);
        assert_eq!(part.unwrap(), blob[1000..5000], "{bend:?}");
        assert_eq!(downloads(&registry).len(), 2, "{bend:?}");
    }
    // What is not there is asked for once.
    let (registry, blob) = registry();
    registry.rule(get(), Action::Answer(Answer::status(404)));
    let part = repository(&registry).blob_part(&digest(&blob), SIZE as u64, 1000..5000);
    assert!(matches!(part.unwrap_err(), Error::NotFound { .. }));
    assert_eq!(downloads(&registry).len(), 1);
}
