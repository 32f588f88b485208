//! Answers that come by a byte now and then. Windows are short and what is late is never there in time: a slow machine
//! changes nothing.

use std::io::Read as _;
use std::time::Duration;

use lithify_registry::daemon::{Daemon, DaemonError, DaemonOptions};
use lithify_registry::{Client, Error, PushOptions};
use lithify_testkit::gzip;
use lithify_testkit::registry::{Action, Answer, At, Demand, FakeDaemon, Faulty, Kind, On};

use super::support::{
    LIMIT, NAME, PASSWORD, add_index, client, digest, downloads, noise, open, options, read_blob,
    shown, signed_in, tag,
};

/// A pause that no test waits for to the end.
const PAUSE: Duration = Duration::from_millis(50);

/// Short answers have to be there in a third of a second; the next byte may take a minute.
const SHORT: &str = "timeouts = { answer = 0.3, idle = 60 }\n";
/// A third of a second is the window; 300 bytes have to come in it.
const BLOBS: &str = "timeouts = { min-rate = 1000, window = 0.3, idle = 60 }\n";

fn is_late(error: &Error) -> bool {
    matches!(error, Error::Transport { source, tries: 4, .. } if source.is_timeout())
}

#[test]
fn short_answers_are_there_in_time_or_not_at_all() {
    for action in [
        Action::Drip(1, PAUSE),
        Action::DripHead(1, PAUSE),
        Action::StallAt(At::Byte(3)),
        Action::Stall,
    ] {
        let registry = Faulty::start();
        let index = add_index(&registry);
        let repository = open(&client(SHORT), &registry.address());
        let on = On::kind(Kind::Manifest);
        registry.rule(on.clone(), action.clone());
        let error = repository.manifest(&tag(), LIMIT).unwrap_err();
        assert!(is_late(&error), "{action:?}: {error:?}");
        let text = shown(&error);
        assert!(
            text.contains("its whole answer was not there in time"),
            "{text}"
        );
        // Once is no harm.
        registry.clear_rules();
        registry.rule(on.times(1), action);
        let mut patient = options(SHORT);
        patient.retry.retries = 30;
        let repository = open(&Client::new(patient).unwrap(), &registry.address());
        let found = repository.manifest(&tag(), LIMIT).unwrap();
        assert_eq!(found.unwrap().bytes, index);
    }
}

#[test]
fn tokens_and_lists_are_there_in_time_or_not_at_all() {
    let registry = Faulty::start();
    add_index(&registry);
    let challenge = format!("Bearer realm=\"{}/token\",service=\"x\"", registry.url());
    let client = Client::new(signed_in(options(SHORT), PASSWORD)).unwrap();
    let repository = open(&client, &registry.address());
    registry.rule(On::kind(Kind::Tags), Action::Drip(1, PAUSE));
    assert!(is_late(&repository.tags().unwrap_err()));
    registry.demand(Demand::any_token(&challenge));
    registry.rule(On::kind(Kind::Token), Action::Drip(1, PAUSE));
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    let text = shown(&error);
    assert!(
        text.contains("its whole answer was not there in time"),
        "{text}"
    );
}

/// Each page comes in time, and there is always another one: a list has the time of ten answers.
#[test]
fn lists_without_end_are_given_up() {
    let registry = Faulty::start();
    add_index(&registry);
    let tags = On::kind(Kind::Tags);
    for (here, next) in [
        ("last=a", "last=b"),
        ("last=b", "last=a"),
        ("n=1000", "last=a"),
    ] {
        let link = format!("</v2/{NAME}/tags/list?{next}>; rel=next");
        registry.rule(tags.clone().path(here), Action::Header("Link".into(), link));
    }
    let client = client("timeouts = { answer = 0.05, idle = 60 }\n");
    let error = open(&client, &registry.address()).tags().unwrap_err();
    assert!(
        matches!(&error, Error::Transport { source, .. } if source.is_timeout()),
        "{error:?}"
    );
    shown(&error);
}

/// Each redirect comes in time, and all of them together too late.
#[test]
fn redirects_have_the_time_of_one_answer() {
    let registry = Faulty::start();
    add_index(&registry);
    let on = On::kind(Kind::Manifest);
    registry.rule(on.clone(), Action::Hops(307, 8));
    registry.rule(On::any(), Action::Delay(2 * PAUSE));
    let repository = open(&client(SHORT), &registry.address());
    let error = repository.manifest(&tag(), LIMIT).unwrap_err();
    assert!(is_late(&error), "{error:?}");
}

#[test]
fn words_of_a_refusal_are_not_waited_for() {
    let registry = Faulty::start();
    let answer = Answer::error(403, "DENIED", &"no ".repeat(100));
    registry.rule(On::kind(Kind::Manifest), Action::Answer(answer));
    registry.rule(On::kind(Kind::Manifest), Action::Drip(1, PAUSE));
    let error = open(&client(SHORT), &registry.address())
        .manifest(&tag(), LIMIT)
        .unwrap_err();
    assert!(
        matches!(error, Error::Status { status: 403, .. }),
        "{error:?}"
    );
}

#[test]
fn blobs_that_hardly_come_are_given_up() {
    let registry = Faulty::start();
    let blob = noise(2000);
    registry.add_blob(NAME, blob.clone());
    registry.rule(On::kind(Kind::Blob), Action::Drip(1, PAUSE));
    let repository = open(&client(BLOBS), &registry.address());
    let error = read_blob(&repository, &blob).unwrap_err();
    assert!(is_late(&error), "{error:?}");
    let text = shown(&error);
    assert!(
        text.contains("less than the 1000 bytes per second") && text.contains("`min-rate`"),
        "{text}"
    );
    let ranges: Vec<_> = downloads(&registry)
        .iter()
        .map(|r| r.range().is_some())
        .collect();
    assert_eq!(ranges, [false, true, true, true]);
    let error = repository
        .blob_part(&digest(&blob), 2000, 100..1900)
        .unwrap_err();
    assert!(is_late(&error), "{error:?}");
}

#[test]
fn what_is_compressed_on_its_way_is_no_slower() {
    let registry = Faulty::start();
    // Two thousand bytes that say nothing until most of them are there.
    let blob = noise(2000);
    registry.add_blob_as(NAME, &digest(&blob).to_string(), gzip(&blob));
    let coded = Action::Header("Content-Encoding".into(), "gzip".into());
    registry.rule(On::kind(Kind::Blob), coded);
    let patient = open(&client(BLOBS), &registry.address());
    assert_eq!(read_blob(&patient, &blob).unwrap(), blob);
    let toml = BLOBS.replace("idle = 60", "idle = 0.5");
    let repository = open(&client(&toml), &registry.address());
    registry.rule(On::kind(Kind::Blob), Action::Drip(1, PAUSE));
    let error = read_blob(&repository, &blob).unwrap_err();
    assert!(is_late(&error), "{error:?}");
    shown(&error);
}

#[test]
fn blobs_that_hardly_come_are_had_elsewhere_or_again() {
    let (registry, mirror) = (Faulty::start(), Faulty::start());
    let blob = noise(2000);
    registry.add_blob(NAME, blob.clone());
    mirror.add_blob(NAME, blob.clone());
    mirror.rule(On::kind(Kind::Blob), Action::Drip(1, PAUSE));
    let toml = format!(
        "{BLOBS}[[registry]]\nprefix = \"{}\"\nmirror = [{{ location = \"{}\" }}]",
        registry.address(),
        mirror.address()
    );
    let repository = open(&client(&toml), &registry.address());
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    assert_eq!(downloads(&mirror).len(), 4);
    assert!(downloads(&registry)[0].range().is_some());
    // The same place may do better the next time: what came is kept.
    registry.clear_requests();
    registry.rule(On::kind(Kind::Blob).times(1), Action::Drip(1, PAUSE));
    let repository = open(&client(BLOBS), &registry.address());
    assert_eq!(read_blob(&repository, &blob).unwrap(), blob);
    assert!(downloads(&registry)[1].range().is_some());
}

#[test]
fn uploads_that_are_hardly_taken_are_given_up() {
    let registry = Faulty::start();
    registry.rule(On::kind(Kind::Upload).method("PUT"), Action::Sip(1, PAUSE));
    // More than the buffers between here and there take.
    let blob = noise(48 << 20);
    let fast = BLOBS.replace("1000", "1000000000000");
    let mut once = options(&fast);
    once.retry.retries = 0;
    let client = Client::new(once).unwrap();
    let error = open(&client, &registry.address())
        .upload_blob(
            &digest(&blob),
            blob.len() as u64,
            &blob.as_slice(),
            &PushOptions::default(),
        )
        .unwrap_err();
    assert!(
        matches!(&error, Error::Transport { source, tries: 1, .. } if source.is_timeout()),
        "{error:?}"
    );
    assert!(shown(&error).contains("it took no more than"), "{error}");
}

#[test]
fn a_daemon_may_be_slow_to_begin_but_not_for_ever() {
    let image = "team/app:1".parse().unwrap();
    let image = lithify_oci::source::DaemonImage::Name(image);
    let daemon = FakeDaemon::start();
    daemon.add_image("team/app:1", noise(10_000));
    let mut options = DaemonOptions::default();
    options.host = Some(daemon.host());
    options.idle = Duration::from_secs(3);
    options.min_rate = 1_000_000;
    daemon.rule(On::kind(Kind::Save).times(1), Action::Drip(1, PAUSE));
    let mut saved = Daemon::connect(&options).unwrap().save(&image).unwrap();
    let error = saved.read_to_end(&mut Vec::new()).unwrap_err();
    let inner = error.get_ref().unwrap().downcast_ref::<DaemonError>();
    assert!(
        matches!(inner, Some(DaemonError::BrokenOff { source, .. }) if source.is_timeout()),
        "{error:?}"
    );
    daemon.rule(On::kind(Kind::Inspect), Action::Drip(1, PAUSE));
    let error = Daemon::connect(&options)
        .unwrap()
        .inspect(&image)
        .unwrap_err();
    assert!(
        matches!(&error, DaemonError::Transport { source, .. } if source.is_timeout()),
        "{error:?}"
    );
    // Any pace will do, if that is said.
    (options.min_rate, options.idle) = (0, Duration::from_secs(60));
    let mut saved = Daemon::connect(&options).unwrap().save(&image).unwrap();
    let mut bytes = Vec::new();
    saved.read_to_end(&mut bytes).unwrap();
    assert!(!bytes.is_empty());
}
