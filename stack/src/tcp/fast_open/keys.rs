//! The keys of a listener's cookies, which programs can set (TCP_FASTOPEN_KEY): servers behind one address that have the same
//! key take each other's cookies.

use super::super::{Listener, Tuple, numbers};
use crate::region::Handle;
use crate::shard::{Shard, keyed};
use crate::wire::options::Cookie;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Little-endian words.
type Key = [u32; 4];

const KEY_LEN: usize = 16;
const MOST: usize = 2;

/// The first makes cookies; those of the second are still good.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Clone, Copy)]
#[repr(C)]
pub struct Keys {
    keys: [Key; MOST],
    /// None: the region's own key stands for them.
    count: u32,
}

/// What TCP_FASTOPEN_KEY says: one key of 16 bytes, or two.
pub fn set_keys(s: &mut Shard, listener: Handle<Listener>, bytes: &[u8]) {
    let Some(l) = s.listeners.get_mut(listener) else { return };
    let given = bytes.as_chunks::<KEY_LEN>().0;
    for (key, bytes) in l.fast_open_keys.keys.iter_mut().zip(given) {
        let words = u128::from_le_bytes(*bytes);
        *key = [0, 32, 64, 96].map(|shift| (words >> shift) as u32);
    }
    l.fast_open_keys.count = given.len().min(MOST) as u32;
}

/// The cookie that the peer gets.
pub(super) fn cookie(s: &Shard, listener: Handle<Listener>, tuple: &Tuple) -> Option<Cookie> {
    let keys = s.listeners.get(listener).map(|l| l.fast_open_keys)?;
    match keys.keys.first().filter(|_| keys.count > 0) {
        Some(&key) => of(key, tuple),
        None => Cookie::new(&numbers::fast_open_cookie(s, tuple).to_be_bytes()),
    }
}

/// Whether one of the keys has made this cookie.
pub(super) fn is_good(s: &Shard, listener: Handle<Listener>, tuple: &Tuple, given: Option<Cookie>) -> bool {
    let keys = s.listeners.get(listener).map(|l| l.fast_open_keys);
    let second = keys.filter(|keys| keys.count > 1).and_then(|keys| keys.keys.get(1).copied());
    let is = |cookie: Option<Cookie>| cookie.is_some() && given == cookie;
    is(cookie(s, listener, tuple)) || second.is_some_and(|key| is(of(key, tuple)))
}

/// LINUX: __tcp_fastopen_cookie_gen_cipher(): of the peer's address and ours, as the packet has them.
fn of([a, b, c, d]: Key, tuple: &Tuple) -> Option<Cookie> {
    let key = [[a, b], [c, d]].map(|[low, high]| u64::from(high) << 32 | u64::from(low));
    let addresses = u64::from(tuple.remote.0) << 32 | u64::from(tuple.local.0);
    Cookie::new(&keyed::hash_of_eight(key, addresses.swap_bytes()).to_le_bytes())
}
