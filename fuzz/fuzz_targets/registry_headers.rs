//! Any text as `Location`, `Content-Range`, `Link`, `Retry-After` and as the head of an answer: no panic, and what is accepted is what it may be.
#![no_main]

use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use lithify_registry::{Url, headers};

fuzz_target!(|text: &str| {
    let base =
        Url::parse("https://registry.example:5000/v2/a/b/blobs/uploads/x?y=z").expect("a URL");
    if let Ok(url) = base.join(text) {
        assert!(!url.host().is_empty());
        assert!(!url.authority().contains('@'));
        assert!(matches!(url.scheme(), "http" | "https"));
        let again = base
            .join(text)
            .expect("what is joined once is joined twice");
        assert!(again == url && again.same_origin(&url));
        let more = url.with_query("digest", text);
        assert!(more.same_origin(&url));
        // What is printed is short of secrets and control characters.
        let shown = url.to_string();
        assert!(!shown.contains('?') && !shown.contains(char::is_control));
    }
    if let Some((first, last, total)) = headers::content_range(text) {
        assert!(first <= last && total.is_none_or(|total| last < total));
    }
    if let Some(address) = headers::next_page(text) {
        assert!(text.contains(&format!("<{address}>")));
    }
    let mut head = text.as_bytes().to_vec();
    let changed = headers::mend_head(&mut head);
    assert_eq!(changed, head != text.as_bytes());
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 31);
    if headers::retry_after(text, now).is_some() {
        assert!(!text.trim().is_empty());
    }
});
