//! A few seeds in every test run; `cargo xtask sim` runs thousands.

use super::run;
use crate::base::bounds::GEOMETRY_BYTES_MIN;
use crate::base::lsn::Geometry;
use crate::engine::fault::Fault;
use crate::engine::{Engine, OpenOptions};
use crate::primitives::Primitives;
use crate::sim::disk::SimDisk;
use crate::storage::disk::FileSystem;

fn hold(seeds: impl IntoIterator<Item = u64>) {
    for seed in seeds {
        if let Err(reason) = run(seed) {
            panic!("seed {seed}: {reason}");
        }
    }
}

#[test]
fn what_is_found_after_crashes_is_a_prefix_past_the_last_acknowledgement() {
    hold(0..40);
}

#[test]
fn a_seed_does_the_same_each_time() {
    for seed in 0..5 {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}

#[test]
fn a_network_file_system_is_refused_before_anything_is_made() {
    let disk = SimDisk::new(1);
    disk.set_file_system(FileSystem::Network("nfs".to_owned()));
    let geometry = Geometry::new(GEOMETRY_BYTES_MIN, GEOMETRY_BYTES_MIN).expect("the least geometry");
    let opened = Engine::<Primitives>::open(disk.attach(), OpenOptions::new(geometry, [1; 16]));
    assert!(matches!(opened, Err(Fault::UnsupportedFileSystem { kind }) if kind == "nfs"));
    assert_eq!((disk.paths(), disk.changes()), (Vec::new(), 0));
}
