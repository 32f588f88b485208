//! Seeds of snapshots.

/// Manifests with each member.
pub(super) fn manifests() -> Vec<Vec<u8>> {
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let least = format!(
        r#""image":{{"manifest":"sha256:{hex}","platform":"linux/amd64"}},"disk":{{"format":"raw","filesystem":"ext4","size":1048576,"content":"fsverity-sha256-16:{hex}"}}"#
    );
    let more = format!(
        r#""requires":[],"parent":"sha256:{hex}","labels":{{"a":"\u0007","\u00e9":""}},"info":{{"reference":"docker.io/library/debian:12","created":"2026-12-01T08:00:00.5Z","name":"n","source":"s","x":[1,null,true]}}"#
    );
    let schema = r#""schema":"lithify.snapshot/1""#;
    [
        format!("{{{schema},{least}}}"),
        format!("{{{least},{more},{schema}}}"),
        format!("{{{schema},\"requires\":[\"x\"],{least}}}"),
    ]
    .map(String::into_bytes)
    .into()
}
