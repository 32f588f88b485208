//! The tests, generic over the filesystem, and the macro that instantiates them.

pub mod attributes; // owners, modes, times, extended attributes
pub mod damage; // changed bytes
pub mod data; // contents and holes
pub mod disk; // storage that fails or is not wanted
pub mod layers; // whiteouts, and layers of overlays
pub mod names; // names, and what they can be names of
pub mod roundtrip; // random images

/// Instantiates the suite for a [`Filesystem`](crate::Filesystem), given by a path from the crate's root.
#[macro_export]
macro_rules! suite {
    ($filesystem:ty) => {
        $crate::suite! { @modules $filesystem;
            attributes: modes_owners_and_times, extended_attributes;
            damage: damaged_images_give_errors, damaged_superblocks_give_errors, cut_images_give_errors;
            data: sizes_around_blocks, sparse_files, pieces_do_not_show;
            disk: a_full_disk_is_an_error_at_every_point, nothing_is_written_of_it;
            layers: upper_layers_win, layers_of_an_overlay_are_read_as_layers;
            names: an_empty_tree, names_of_255_bytes, names_of_any_bytes, symbolic_links_up_to_4095_bytes,
                special_files, more_than_65535_hard_links_and_subdirectories, hard_links_far_apart;
            roundtrip: what_goes_in_comes_out, the_kernel_agrees;
        }
    };
    (@modules $filesystem:ty; $($module:ident: $($test:ident),+;)+) => {
        $(mod $module {
            $(#[test]
            fn $test() {
                $crate::suite::$module::$test::<$filesystem>();
            })+
        })+
    };
}
