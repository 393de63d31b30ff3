use super::*;
use rustix::fs::ftruncate;

/// A memfd with the header of a region, changed by `tamper`.
fn forged(tamper: impl FnOnce(&mut Header)) -> OwnedFd {
    let sizes = Sizes::tiny();
    let len = Places::of(&sizes).total(&sizes);
    let fd = memfd_create("forged", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, len as u64).unwrap();
    let mut header = Header { magic: MAGIC, version: LAYOUT_VERSION, pad: 0, bytes: len as u64, sizes };
    tamper(&mut header);
    rustix::io::pwrite(&fd, header.as_bytes(), 0).unwrap();
    fd
}

fn refusal(fd: OwnedFd) -> Option<AttachError> {
    Region::attach(fd).err()
}

#[test]
fn a_region_is_the_same_for_all_who_map_it() {
    let (made, fd) = Region::create(Sizes::tiny(), [3, 4], 0).unwrap();
    let seen = Region::attach(&fd).unwrap();
    assert_eq!(seen.sizes, made.sizes);
    made.processes()[3].occupy(77);
    assert!(seen.processes()[3].is_alive());
    // SAFETY: nobody else uses these shards.
    let (mut a, b) = unsafe { (made.shard(0), seen.shard(0)) };
    let frame = a.frames.alloc(crate::region::Purpose::Data).unwrap();
    a.frames.chunk_mut(frame)[..5].copy_from_slice(b"hello");
    assert_eq!(&b.frames.chunk(frame)[..5], b"hello");
    assert_eq!(a.check(), Ok(()));
}

#[test]
fn a_region_of_another_version_is_refused_by_its_number() {
    assert_eq!(refusal(forged(|h| h.version = 99)), Some(AttachError::OtherVersion(99)));
    assert_eq!(refusal(forged(|_| {})), None);
}

#[test]
fn a_header_that_contradicts_itself_is_refused() {
    assert_eq!(refusal(forged(|h| h.magic = 0)), Some(AttachError::NotARegion));
    assert_eq!(refusal(forged(|h| h.sizes.frames = u32::MAX)), Some(AttachError::Malformed));
    assert_eq!(refusal(forged(|h| h.sizes.connections *= 64)), Some(AttachError::Malformed));
    assert_eq!(refusal(forged(|h| h.sizes.chunk_size = 3)), Some(AttachError::Malformed));
    assert_eq!(refusal(forged(|h| h.sizes.shards = 0)), Some(AttachError::Malformed));
    let short = memfd_create("short", MemfdFlags::CLOEXEC).unwrap();
    assert_eq!(refusal(short), Some(AttachError::NotARegion));
}

#[test]
fn a_handed_out_region_cannot_be_shrunk_under_its_users() {
    let (_region, fd) = Region::create(Sizes::tiny(), [3, 4], 0).unwrap();
    assert_eq!(ftruncate(&fd, 4096), Err(Errno::PERM));
}
