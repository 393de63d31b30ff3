//! The few questions about a device that only ethtool's ioctl answers.

use std::mem::zeroed;
use std::os::fd::AsRawFd;

use rustix::io::Errno;

/// How many queues the device receives by. One, if its driver does not say.
pub(crate) fn receive_queues(device: &str) -> Result<u32, Errno> {
    let mut channels = Channels { command: ETHTOOL_GCHANNELS, ..Channels::default() };
    match ethtool(device, &mut channels) {
        Ok(()) => Ok((channels.rx_count.saturating_add(channels.combined_count)).max(1)),
        Err(Errno::OPNOTSUPP) => Ok(1),
        Err(errno) => Err(errno),
    }
}

/// The name of the driver; empty if it does not say.
pub(crate) fn driver(device: &str) -> String {
    let mut info = DriverInfo { command: ETHTOOL_GDRVINFO, driver: [0; 32], rest: [0; 160] };
    if ethtool(device, &mut info).is_err() {
        return String::new();
    }
    let end = info.driver.iter().position(|&byte| byte == 0).unwrap_or(info.driver.len());
    String::from_utf8_lossy(&info.driver[..end]).into_owned()
}

/// The kernel does not put received segments together (GRO) on this device for as long as this lives. Generic XDP comes
/// after that, and what was put together fits no frame.
pub(crate) struct Unmerged {
    device: String,
}

impl Unmerged {
    /// None where nothing is put together anyway.
    pub(crate) fn make(device: &str) -> Option<Unmerged> {
        let is_off = !merges_segments(device).ok()?;
        if is_off || set_merges_segments(device, false).is_err() {
            return None;
        }
        Some(Unmerged { device: device.to_owned() })
    }
}

impl Drop for Unmerged {
    fn drop(&mut self) {
        // A device that is gone needs nothing back.
        let _ = set_merges_segments(&self.device, true);
    }
}

fn merges_segments(device: &str) -> Result<bool, Errno> {
    let mut value = Value { command: ETHTOOL_GGRO, data: 0 };
    ethtool(device, &mut value)?;
    Ok(value.data != 0)
}

fn set_merges_segments(device: &str, on: bool) -> Result<(), Errno> {
    ethtool(device, &mut Value { command: ETHTOOL_SGRO, data: u32::from(on) })
}

/// `struct ethtool_channels`.
#[derive(Default)]
#[repr(C)]
struct Channels {
    command: u32,
    max_rx: u32,
    max_tx: u32,
    max_other: u32,
    max_combined: u32,
    rx_count: u32,
    tx_count: u32,
    other_count: u32,
    combined_count: u32,
}

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DriverInfo {
    command: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// What SIOCETHTOOL may be pointed at.
///
/// # Safety
/// The type is the kernel's structure of every command that is put in its first field, which is a `u32`.
unsafe trait Command {}
// SAFETY: used with ETHTOOL_GCHANNELS alone, which fills a struct ethtool_channels.
unsafe impl Command for Channels {}
// SAFETY: used with ETHTOOL_GDRVINFO alone, which fills a struct ethtool_drvinfo.
unsafe impl Command for DriverInfo {}
// SAFETY: used with ETHTOOL_GGRO and ETHTOOL_SGRO, which take a struct ethtool_value.
unsafe impl Command for Value {}

fn ethtool<C: Command>(device: &str, command: &mut C) -> Result<(), Errno> {
    // SAFETY: ifreq is plain data, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    if device.len() >= request.ifr_name.len() {
        return Err(Errno::NODEV);
    }
    for (place, byte) in request.ifr_name.iter_mut().zip(device.bytes()) {
        *place = byte as libc::c_char;
    }
    request.ifr_ifru.ifru_data = (&raw mut *command).cast();
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0)).map_err(|_| Errno::IO)?;
    // SAFETY: `request` names a command structure that lives through the call and is as large as the kernel takes it to be.
    if unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) } < 0 {
        let errno = std::io::Error::last_os_error().raw_os_error();
        return Err(errno.map_or(Errno::IO, Errno::from_raw_os_error));
    }
    Ok(())
}

const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_GGRO: u32 = 0x2b;
const ETHTOOL_SGRO: u32 = 0x2c;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_rig::Rig;

    #[test]
    fn a_veth_device_tells_its_queues_and_its_driver() {
        let Some(_rig) = Rig::with_queues(2) else { return };
        assert_eq!(receive_queues("here"), Ok(2));
        assert_eq!(driver("here"), "veth");
        assert_eq!(receive_queues("lo"), Ok(1));
        assert!(receive_queues("nowhere").is_err());
        assert!(receive_queues("a name that is longer than a name can be").is_err());
        set_merges_segments("here", true).expect("set");
        let unmerged = Unmerged::make("here").expect("it did merge");
        assert_eq!(merges_segments("here"), Ok(false));
        assert!(Unmerged::make("here").is_none(), "nothing to change, so nothing to restore");
        drop(unmerged);
        assert_eq!(merges_segments("here"), Ok(true));
    }
}
