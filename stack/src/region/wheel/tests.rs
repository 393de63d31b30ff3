use super::*;
use crate::region::table;
use core::ptr::NonNull;

struct Many(Vec<TimerLink>);
impl Timed for Many {
    fn timer(&mut self, entry: u32) -> Option<&mut TimerLink> {
        if entry == 0 { None } else { self.0.get_mut(entry as usize) }
    }
}

fn wheel() -> Wheel {
    let head: &mut WheelHead = Box::leak(Box::new(WheelHead { now: 0, armed: 0, occupied: [0; SLOTS / 64] }));
    let slots: &mut [u32] = Vec::leak(vec![0; SLOTS]);
    // SAFETY: leaked boxes, used by this wheel alone.
    unsafe {
        Wheel::new(
            table::One::new(NonNull::from(head)),
            table::Table::new(NonNull::from(&mut slots[0]), SLOTS),
            64,
            Damage::default(),
        )
    }
}

const fn ms(n: u64) -> u64 {
    n << TICK_SHIFT
}

#[test]
fn entries_fire_in_the_order_of_their_deadlines_over_revolutions() {
    let (mut wheel, mut links) = (wheel(), Many(vec![TimerLink::default(); 64]));
    let deadlines: Vec<u64> = (1..64u64).map(|i| (i * 7919) % 20_000 + 1).collect();
    for (i, &d) in deadlines.iter().enumerate() {
        wheel.arm(&mut links, i as u32 + 1, ms(d));
    }
    assert!(wheel.check(&mut links));
    let mut fired = Vec::new();
    for now in 0..21_000 {
        while let Some(entry) = wheel.pop_due(&mut links, ms(now)) {
            assert_eq!(deadlines[entry as usize - 1], now);
            fired.push(entry);
        }
    }
    assert_eq!(fired.len(), 63);
    assert!(wheel.check(&mut links));
    assert_eq!(wheel.next_deadline(), u64::MAX);
}

#[test]
fn next_deadline_is_never_late() {
    let (mut wheel, mut links) = (wheel(), Many(vec![TimerLink::default(); 8]));
    wheel.arm(&mut links, 3, ms(50));
    assert_eq!(wheel.next_deadline(), ms(50));
    wheel.arm(&mut links, 4, ms(20));
    assert_eq!(wheel.next_deadline(), ms(20));
    wheel.disarm(&mut links, 4);
    assert_eq!(wheel.next_deadline(), ms(50));
    assert_eq!(wheel.pop_due(&mut links, ms(49)), None);
    wheel.arm(&mut links, 5, ms(10));
    assert_eq!(wheel.next_deadline(), ms(50));
    assert_eq!(wheel.pop_due(&mut links, ms(4000)), Some(5));
}

#[test]
fn moving_an_armed_entry_leaves_one_of_it() {
    let (mut wheel, mut links) = (wheel(), Many(vec![TimerLink::default(); 8]));
    for d in [5, 4101, 30, 7] {
        wheel.arm(&mut links, 2, ms(d));
        assert!(wheel.check(&mut links));
    }
    assert_eq!(wheel.pop_due(&mut links, ms(100)), Some(2));
    assert_eq!(wheel.pop_due(&mut links, ms(100_000)), None);
}
