//! Images: EROFS of metadata alone.
