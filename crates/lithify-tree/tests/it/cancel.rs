//! Work that is stopped.

use lithify_cancel::CancelToken;
use lithify_tree::overlay::{OverlayError, alone_until};
use lithify_tree::{Entry, EntryKind, LayerEntries, Merge, MergeError, Metadata, TreePath};

#[test]
fn a_layer_is_applied_as_long_as_the_work_goes_on() {
    let mut layer = LayerEntries::new();
    let entry = Entry {
        path: TreePath::clean(b"a").unwrap(),
        metadata: Metadata::default(),
        kind: EntryKind::Fifo,
    };
    layer.push(&entry, None).unwrap();
    let token = CancelToken::new();
    let mut merge = Merge::new().until(&token);
    merge.apply_ref(&layer, 0).unwrap();
    assert!(alone_until(&layer, &token).is_ok());
    token.cancel();
    let stopped = merge.apply_ref(&layer, 0);
    assert!(matches!(stopped, Err(MergeError::Cancelled(_))));
    // There is no half of a layer.
    assert_eq!(merge.finish().len(), 1);
    let stopped = alone_until(&layer, &token);
    assert!(matches!(
        stopped,
        Err(OverlayError::Merge(MergeError::Cancelled(_)))
    ));
}
