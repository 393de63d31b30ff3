//! Hostile frames for the receive path.
//!
//! A *world* is two stacks and a wire, brought into some state by honest traffic. Inputs then go to one of the stacks:
//! segments that are almost right, damaged copies of real ones, and noise; in between programs call, time passes, and
//! owners of the lock die. After each input every invariant is checked.

pub mod dice;
pub mod frames;
pub mod world;

use dice::Dice;
use world::{STARTS, World};

/// Inputs that one world takes before it is made anew.
const INPUTS_OF_A_WORLD: u64 = 48;

/// What a run saw, so that a reader can tell that it went deep.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report {
    pub inputs: u64,
    pub worlds: u64,
    pub segments_in: u64,
    pub segments_out: u64,
    pub resets_believed: u64,
    pub bytes_read: u64,
    pub connections: u64,
    pub out_of_order: u64,
    pub recoveries: u64,
}

/// Feeds `runs` inputs. `announce` hears the number of each world before it begins.
pub fn run(seed: u64, first_world: u64, runs: u64, mut announce: impl FnMut(u64)) -> Result<Report, String> {
    let mut report = Report::default();
    let mut number = first_world;
    while report.inputs < runs {
        announce(number);
        let mut dice = Dice::new(seed ^ number.wrapping_mul(0xd134_2543_de82_ef95));
        let start = STARTS[number as usize % STARTS.len()];
        // One world in eight has a damaged region: then nothing is promised but that nobody panics.
        let damaged = dice.one_in(8);
        let mut world = World::new(start, number ^ seed);
        for input in 0..INPUTS_OF_A_WORLD.min(runs - report.inputs) {
            if damaged && dice.one_in(4) {
                world.damage(&mut dice);
            }
            world.input(&mut dice);
            report.inputs += 1;
            if !damaged {
                world
                    .check()
                    .map_err(|broken| format!("world {number} ({start:?}), input {input}: {broken}"))?;
            }
        }
        world.add_to(&mut report);
        report.worlds += 1;
        number += 1;
    }
    Ok(report)
}
