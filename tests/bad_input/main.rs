//! Damage, strange directories, newer formats and full disks: each is told by its name, and nothing is changed, served
//! wrongly or made up.

#[path = "../place/mod.rs"]
mod place;

mod crowded;
mod damage;
mod directory;
mod far;
mod full_disk;
mod sample;
mod served;
mod small;
