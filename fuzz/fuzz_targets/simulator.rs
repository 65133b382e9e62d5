//! Any choices of the simulator: what is drawn from a seed in `tests/sim`, bytes choose here.
#![no_main]

#[path = "../../tests/sim/simulator/mod.rs"]
mod simulator;

use libfuzzer_sys::fuzz_target;
use simulator::dice::Dice;
use simulator::run::{Sabotage, play};

fuzz_target!(|bytes: &[u8]| {
    let outcome = play(Dice::of_bytes(bytes), Sabotage::None);
    if let Some(broken) = &outcome.broken {
        panic!("{}\nbroken: {}: {}", outcome.told(), broken.invariant, broken.why);
    }
});
