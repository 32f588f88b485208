//! Streams that others wrote: the same tar may be cut in other ways, and a stream may lie.

use lithify_composefs::oci::LayerSplitter;
use lithify_composefs::repository::{CreateOptions, OpenOptions, VerityMode};
use lithify_composefs::splitstream::ContentType;
use lithify_testkit::{Tar, TarEntry, temp_dir};
use lithify_tree::{InodeKind, Merge};
use proptest::prelude::*;

use super::*;

/// A part of a tar, and whether a stream has it as an object.
type Part = (Vec<u8>, bool);

fn repository(path: &std::path::Path) -> Repository {
    let create = CreateOptions {
        verity: VerityMode::Off,
        ..CreateOptions::default()
    };
    let options = OpenOptions::new().sync(false);
    Repository::create(path, &create, &options).unwrap()
}

fn stream(repository: &Repository, parts: &[Part]) -> FileDigest {
    let mut stream = repository.write_stream(ContentType::LAYER).unwrap();
    for (bytes, is_object) in parts {
        match is_object {
            true => {
                let object = repository.store_object(bytes).unwrap();
                stream.object(object.id, object.size).unwrap();
            }
            false => stream.inline(bytes).unwrap(),
        }
    }
    stream.finish().unwrap().id
}

fn read(repository: &Repository, id: &FileDigest) -> Result<(LayerEntries, Found), Error> {
    let session = Session::default();
    let layer = LayerName {
        index: 0,
        name: "a layer",
        is_found: true,
        sparse: Sparse::Stored,
    };
    let stream = repository
        .open_stream_by_id(id, ContentType::LAYER)
        .unwrap();
    let mut found = Found::default();
    let budgets = Budgets::new(&session);
    let (entries, _) = read_entries(repository, stream, layer, &mut found, &session, &budgets)?;
    Ok((entries, found))
}

/// Of each file its path and its content.
fn files(entries: LayerEntries, found: &Found) -> Vec<(Vec<u8>, u64, Option<Content<'_>>)> {
    let mut merge = Merge::new();
    merge.apply(entries).unwrap();
    let tree = merge.finish();
    let file = |node| match tree.node_inode(node).kind {
        InodeKind::File { size, content } => {
            let content = content.map(|id| found.contents.get(id));
            Some((tree.path(node), size, content))
        }
        _ => None,
    };
    tree.walk().filter_map(file).collect()
}

/// Files around the length from which they are objects, one with holes, and an entry that is part of no image.
fn tar() -> Vec<u8> {
    let mut tar = Tar::new();
    for size in [0, 1, 64, 65, 512, 700, 70_000] {
        tar.add(TarEntry::file(format!("f{size}"), vec![size as u8; size]));
    }
    tar.add(
        TarEntry::file("sparse", vec![9; 513])
            .record("GNU.sparse.major", "0")
            .record("GNU.sparse.minor", "1")
            .record("GNU.sparse.size", "100000")
            .record("GNU.sparse.numblocks", "2")
            .record("GNU.sparse.map", "5000,512,99999,1"),
    );
    tar.add(TarEntry::file(".wh..wh.aufs", vec![1; 100]));
    tar.add(TarEntry::directory("d"));
    tar.finish()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// However a tar is cut into bytes and objects, the files are the same: an object that is a part of one is read.
    #[test]
    fn files_are_the_same_however_a_stream_is_cut(cuts in prop::collection::vec(1..90_000usize, 0..12)) {
        let tmp = temp_dir();
        let repository = repository(&tmp.path().join("repository"));
        let tar = tar();
        let mut splitter = LayerSplitter::unverified(&repository, Session::default().limits.layer.tar()).unwrap();
        splitter.push(&tar).unwrap();
        let ours = splitter.finish().unwrap().id;
        let (entries, found) = read(&repository, &ours).unwrap();
        let expected = files(entries, &found);
        prop_assert_eq!(expected.len(), 8);
        prop_assert_eq!(found.kept.len(), 1);

        // Where the data of files is, only pieces of it are objects.
        let mut data = Vec::new();
        let mut parser = TarEntries::new(&Session::default().limits.layer, Names::Layer);
        let mut input = &tar[..];
        while let Step::Entry(_) | Step::Passed = parser.next(&mut input).unwrap() {
            let at = tar.len() - input.len();
            let length = usize::try_from(parser.data_left()).unwrap();
            data.push(at..at + length);
            parser.take_data(length as u64);
            input = &input[length..];
        }
        let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut < tar.len()).collect();
        cuts.extend(data.iter().flat_map(|d| [d.start, d.end]));
        cuts.extend([0, tar.len()]);
        cuts.sort_unstable();
        cuts.dedup();
        let parts: Vec<Part> = cuts
            .windows(2)
            .enumerate()
            .map(|(number, cut)| {
                let is_data = data.iter().any(|d| d.start <= cut[0] && cut[1] <= d.end);
                (tar[cut[0]..cut[1]].to_vec(), is_data && number % 3 != 0)
            })
            .collect();
        let theirs = stream(&repository, &parts);
        let (entries, found) = read(&repository, &theirs).unwrap();
        prop_assert!(files(entries, &found) == expected);
    }
}

#[test]
fn objects_where_the_tar_has_no_such_data_are_told() {
    let tmp = temp_dir();
    let repository = repository(&tmp.path().join("repository"));
    let mut tar = Tar::new();
    tar.add(TarEntry::file("file", vec![b'f'; 1000]));
    let tar = tar.finish();
    let (header, data, end) = (&tar[..512], &tar[512..1512], &tar[1512..]);
    let inline = |bytes: &[u8]| (bytes.to_vec(), false);
    let object = |bytes: &[u8]| (bytes.to_vec(), true);
    let good = stream(&repository, &[inline(header), object(data), inline(end)]);
    assert!(read(&repository, &good).is_ok());
    for parts in [
        // In place of headers, beyond the data, behind all of it, and behind the end.
        vec![object(header), object(data), inline(end)],
        vec![
            inline(header),
            object(&tar[512..1600]),
            inline(&tar[1600..]),
        ],
        vec![inline(header), object(data), object(end)],
        vec![inline(&tar), object(data)],
    ] {
        let lying = stream(&repository, &parts);
        let error = read(&repository, &lying).map(drop).unwrap_err();
        assert!(
            matches!(
                error.cause(),
                crate::Cause::Composefs(ComposefsError::Misplaced { .. })
            ),
            "{}",
            error.report()
        );
        assert!(error.is_verification());
    }
    // A tar that ends inside a file, and one with something behind its end.
    for parts in [
        vec![inline(header), inline(&data[..500])],
        vec![inline(header), object(data), inline(end), inline(b"more")],
    ] {
        let cut = stream(&repository, &parts);
        let error = read(&repository, &cut).map(drop).unwrap_err();
        assert!(error.report().contains("a layer"), "{}", error.report());
    }
}

#[test]
fn a_file_that_is_an_object_of_another_length_is_told() {
    let tmp = temp_dir();
    let path = tmp.path().join("repository");
    let repository = repository(&path);
    let mut tar = Tar::new();
    tar.add(TarEntry::file("file", vec![b'f'; 1000]));
    let tar = tar.finish();
    let parts = [
        (tar[..512].to_vec(), false),
        (tar[512..1512].to_vec(), true),
        (tar[1512..].to_vec(), false),
    ];
    let id = stream(&repository, &parts);
    let object = repository.store_object(&tar[512..1512]).unwrap().id;
    let file = path
        .join("objects")
        .join(lithify_composefs::object_path(&object));
    std::fs::write(file, vec![b'f'; 999]).unwrap();
    let error = read(&repository, &id).map(drop).unwrap_err();
    assert!(error.is_verification(), "{}", error.report());
}
