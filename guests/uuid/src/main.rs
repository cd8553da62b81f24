//! Prints a random UUID, version 4. A package of its own, so that no other guest needs what it depends on.

use uuid::Uuid;

fn main() {
    println!("{}", Uuid::new_v4());
}
