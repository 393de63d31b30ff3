//! Socket options. The shadow keeps them: the kernel judges every setsockopt() and answers most of getsockopt(); what the
//! stack must obey is read back from it.

use core::ffi::c_int;

use stack::socket::{Reuse, Socket};
use stack::tcp::congestion::Choice;
use stack::tcp::{self, Settings, Sysctls};

use crate::fds::Place;
use crate::kernel::{self, Errno};
use crate::sockets::listener;
use crate::turn::{turn, turn_at};

/// Not in the libc crate.
pub(crate) const TCP_FASTOPEN_NO_COOKIE: c_int = 34;

/// What a shadow says about how its connection is to behave.
pub(crate) struct Shadow {
    pub(crate) settings: Settings,
    /// SO_RCVTIMEO and SO_SNDTIMEO in nanoseconds, 0 for none.
    pub(crate) receive_timeout: u64,
    pub(crate) send_timeout: u64,
    pub(crate) nonblocking: bool,
}

/// Reads all of it: a dozen system calls, made once per connection that is opened and per setsockopt().
pub(crate) fn read(fd: i32) -> Shadow {
    let socket = |name| number(fd, libc::SOL_SOCKET, name).unwrap_or(0);
    let tcp = |name| number(fd, libc::IPPROTO_TCP, name).unwrap_or(0);
    let ip = |name| number(fd, libc::IPPROTO_IP, name).unwrap_or(0);
    let default = Settings::default();
    // What differs from the namespace's default the program has set: it is not to grow by itself.
    let [send_buffer, receive_buffer] = [socket(libc::SO_SNDBUF), socket(libc::SO_RCVBUF)];
    let namespace = turn(0, |s, _| s.head.namespace).unwrap_or_default();
    let buffers_fixed = u8::from(send_buffer != namespace.tcp_wmem_default)
        | u8::from(receive_buffer != namespace.tcp_rmem_default) << 1;
    let [linger_on, linger_time] = option(fd, libc::SOL_SOCKET, libc::SO_LINGER).unwrap_or([0i32; 2]);
    let settings = Settings {
        no_delay: (tcp(libc::TCP_NODELAY) != 0).into(),
        cork: (tcp(libc::TCP_CORK) != 0).into(),
        keep_alive: (socket(libc::SO_KEEPALIVE) != 0).into(),
        reuse_address: (socket(libc::SO_REUSEADDR) != 0).into(),
        reuse_port: (socket(libc::SO_REUSEPORT) != 0).into(),
        fast_open: tcp(libc::TCP_FASTOPEN),
        fast_open_connect: (tcp(libc::TCP_FASTOPEN_CONNECT) != 0).into(),
        fast_open_without_cookie: (tcp(TCP_FASTOPEN_NO_COOKIE) != 0).into(),
        quick_ack: (tcp(libc::TCP_QUICKACK) != 0).into(),
        linger: (linger_on != 0).into(),
        linger_time: linger_time.max(0) as u32,
        buffers_fixed,
        send_buffer,
        receive_buffer,
        window_clamp: tcp(libc::TCP_WINDOW_CLAMP),
        receive_low_water: socket(libc::SO_RCVLOWAT).max(1),
        // LINUX: an unconnected socket reports the default of 536 when nothing was set.
        max_segment: match tcp(libc::TCP_MAXSEG) {
            536 => 0,
            set => set,
        },
        keep_idle: set(tcp(libc::TCP_KEEPIDLE), namespace.tcp_keepalive_time),
        keep_interval: set(tcp(libc::TCP_KEEPINTVL), namespace.tcp_keepalive_intvl),
        keep_count: set(tcp(libc::TCP_KEEPCNT), namespace.tcp_keepalive_probes),
        user_timeout: tcp(libc::TCP_USER_TIMEOUT),
        defer_accept: tcp(libc::TCP_DEFER_ACCEPT),
        syn_count: set(tcp(libc::TCP_SYNCNT), namespace.tcp_syn_retries),
        urgent_inline: (socket(libc::SO_OOBINLINE) != 0).into(),
        service: ip(libc::IP_TOS) as u8,
        not_sent_low_water: not_sent(tcp(libc::TCP_NOTSENT_LOWAT)),
        congestion: set(congestion(fd).into(), namespace.tcp_congestion_control) as u8,
        linger2: linger2(tcp(libc::TCP_LINGER2), namespace.tcp_fin_timeout),
        max_pacing_rate: pacing_rate(fd),
        mtu_discovery: ip(libc::IP_MTU_DISCOVER) as u8,
        reports_errors: (ip(libc::IP_RECVERR) != 0).into(),
        ..default
    };
    Shadow {
        settings,
        receive_timeout: timeout(fd, libc::SO_RCVTIMEO),
        send_timeout: timeout(fd, libc::SO_SNDTIMEO),
        nonblocking: is_nonblocking(fd),
    }
}

/// What the program has set, or 0 where the shadow shows no more than the namespace's default.
fn set(shown: u32, default: u32) -> u32 {
    if shown == default { 0 } else { shown }
}

/// SO_RCVTIMEO or SO_SNDTIMEO in nanoseconds, 0 for none.
fn timeout(fd: i32, name: c_int) -> u64 {
    match option::<i64, 2>(fd, libc::SOL_SOCKET, name) {
        Ok([seconds, microseconds]) => (seconds as u64)
            .saturating_mul(1_000_000_000)
            .saturating_add((microseconds as u64).saturating_mul(1_000)),
        Err(_) => 0,
    }
}

/// LINUX: 0 stands for the system's default, which is no limit.
fn not_sent(value: u32) -> u32 {
    if value == 0 { Settings::default().not_sent_low_water } else { value }
}

/// TCP_LINGER2 as the shadow shows it: seconds, or below zero for none.
fn linger2(shown: u32, default: u32) -> i32 {
    if shown == default { 0 } else { shown as i32 }
}

/// SO_MAX_PACING_RATE in KiB a second; 0 for none.
fn pacing_rate(fd: i32) -> u32 {
    match option::<u64, 1>(fd, libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE) {
        Ok([u64::MAX]) | Err(_) => 0,
        Ok([rate]) => (rate >> 10).clamp(1, u64::from(u32::MAX)) as u32,
    }
}

/// The algorithm that TCP_CONGESTION names; 0, the namespace's default, for one that the stack does not have.
fn congestion(fd: i32) -> u8 {
    let Ok(name) = option::<u8, 16>(fd, libc::IPPROTO_TCP, libc::TCP_CONGESTION) else { return 0 };
    let name = name.split(|&byte| byte == 0).next().and_then(|name| core::str::from_utf8(name).ok());
    name.and_then(Choice::from_name).map_or(0, |choice| choice.0)
}

pub(crate) fn number(fd: i32, level: c_int, name: c_int) -> Result<u32, Errno> {
    option::<i32, 1>(fd, level, name).map(|[value]| value as u32)
}

/// Reads an option that consists of `N` numbers.
fn option<T: Copy + Default, const N: usize>(fd: i32, level: c_int, name: c_int) -> Result<[T; N], Errno> {
    option_of_any_length(fd, level, name).map(|(value, _)| value)
}

/// The same, and how many bytes there were.
fn option_of_any_length<T: Copy + Default, const N: usize>(
    fd: i32,
    level: c_int,
    name: c_int,
) -> Result<([T; N], usize), Errno> {
    let mut value = [T::default(); N];
    let mut length = size_of::<[T; N]>() as libc::socklen_t;
    let arguments =
        [fd as usize, level as usize, name as usize, value.as_mut_ptr() as usize, (&raw mut length) as usize];
    // SAFETY: the kernel writes `length` bytes at most; T is an integer.
    unsafe { kernel::call(libc::SYS_getsockopt, arguments) }?;
    Ok((value, length as usize))
}

/// Gives the listener the keys of its Fast Open cookies that the shadow has, or else the namespace.
pub(crate) fn take_over_keys(fd: i32, place: Place) {
    let keys = option_of_any_length::<u8, 32>(fd, libc::IPPROTO_TCP, libc::TCP_FASTOPEN_KEY);
    if let Some(keys) = keys.as_ref().ok().and_then(|(bytes, length)| bytes.get(..*length)) {
        // A listener that has gone needs none.
        let _ = turn_at(place, |s, _| tcp::set_fast_open_keys(s, listener(place), keys));
    }
}

/// The same for a shadow on which nothing was set.
pub(crate) fn untouched(fd: i32) -> Shadow {
    Shadow {
        settings: Settings::default(),
        receive_timeout: 0,
        send_timeout: 0,
        nonblocking: is_nonblocking(fd),
    }
}

fn is_nonblocking(fd: i32) -> bool {
    kernel::fcntl(fd, libc::F_GETFL, 0).is_ok_and(|flags| flags as i32 & libc::O_NONBLOCK != 0)
}

/// After a setsockopt() of the program: takes over what it changed. False if that is nothing of ours.
pub(crate) fn read_back(fd: i32, level: c_int, name: c_int, into: &mut Settings) -> bool {
    if (level, name) == (libc::SOL_SOCKET, libc::SO_LINGER) {
        let Ok([on, time]) = option::<i32, 2>(fd, level, name) else { return false };
        (into.linger, into.linger_time) = ((on != 0).into(), time.max(0) as u32);
        return true;
    }
    if (level, name) == (libc::IPPROTO_TCP, libc::TCP_CONGESTION) {
        into.congestion = congestion(fd);
        return true;
    }
    if (level, name) == (libc::SOL_SOCKET, libc::SO_MAX_PACING_RATE) {
        into.max_pacing_rate = pacing_rate(fd);
        return true;
    }
    // LINUX: what was forced is asked for by the other name.
    let asked_as = match (level, name) {
        (libc::SOL_SOCKET, libc::SO_SNDBUFFORCE) => libc::SO_SNDBUF,
        (libc::SOL_SOCKET, libc::SO_RCVBUFFORCE) => libc::SO_RCVBUF,
        _ => name,
    };
    let Ok(value) = number(fd, level, asked_as) else { return false };
    let on = u8::from(value != 0);
    match (level, name) {
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => into.no_delay = on,
        (libc::IPPROTO_TCP, libc::TCP_CORK) => into.cork = on,
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => into.keep_idle = value,
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => into.keep_interval = value,
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => into.keep_count = value,
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => into.user_timeout = value,
        (libc::IPPROTO_TCP, libc::TCP_LINGER2) => into.linger2 = value as i32,
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => into.mtu_discovery = value as u8,
        (libc::IPPROTO_IP, libc::IP_RECVERR) => into.reports_errors = on,
        (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT) => into.defer_accept = value,
        (libc::IPPROTO_TCP, libc::TCP_SYNCNT) => into.syn_count = value,
        (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT) => into.not_sent_low_water = not_sent(value),
        (libc::IPPROTO_TCP, libc::TCP_MAXSEG) => into.max_segment = value,
        (libc::IPPROTO_IP, libc::IP_TOS) => into.service = value as u8,
        (libc::SOL_SOCKET, libc::SO_OOBINLINE) => into.urgent_inline = on,
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => into.keep_alive = on,
        (libc::IPPROTO_TCP, libc::TCP_FASTOPEN) => into.fast_open = value,
        (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT) => into.fast_open_connect = on,
        (libc::IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE) => into.fast_open_without_cookie = on,
        (libc::SOL_SOCKET, libc::SO_REUSEADDR) => into.reuse_address = on,
        (libc::SOL_SOCKET, libc::SO_REUSEPORT) => into.reuse_port = on,
        (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => into.receive_low_water = value.max(1),
        (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP) => into.window_clamp = value,
        (libc::SOL_SOCKET, libc::SO_SNDBUF | libc::SO_SNDBUFFORCE) => {
            (into.send_buffer, into.buffers_fixed) = (value, into.buffers_fixed | 1);
        }
        (libc::SOL_SOCKET, libc::SO_RCVBUF | libc::SO_RCVBUFFORCE) => {
            (into.receive_buffer, into.buffers_fixed) = (value, into.buffers_fixed | 2);
        }
        _ => return false,
    }
    true
}

/// What SO_SNDBUF (or SO_RCVBUF) may ask for here, if that is not what the kernel bounds it by anyway.
pub(crate) fn largest_buffer(name: c_int) -> Option<u32> {
    let most = |sysctls: Sysctls| {
        if name == libc::SO_SNDBUF { sysctls.wmem_max } else { sysctls.rmem_max }
    };
    let (ours, namespace) = turn(0, |s, _| (most(s.head.sysctls), most(s.head.namespace))).ok()?;
    (ours != namespace).then_some(ours)
}

/// SO_SNDBUF (or SO_RCVBUF) asks for so much.
pub(crate) fn resize(settings: &mut Settings, name: c_int, asked: u32, sysctls: &Sysctls) {
    if name == libc::SO_SNDBUF {
        settings.ask_send_buffer(asked, sysctls);
    } else {
        settings.ask_receive_buffer(asked, sysctls);
    }
}

pub(crate) fn read_back_timeouts(fd: i32, level: c_int, name: c_int, into: &mut Socket) {
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => into.receive_timeout = timeout(fd, name),
        (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => into.send_timeout = timeout(fd, name),
        _ => {}
    }
}

/// What getsockopt() answers for an option that `Settings` keeps. Buffer sizes and the like that nobody set are
/// the shadow's to tell.
pub(crate) fn number_of(settings: &Settings, level: c_int, name: c_int) -> Option<u32> {
    let default = Settings::default();
    let unless = |value: u32, default: u32| (value != default).then_some(value);
    Some(match (level, name) {
        (libc::IPPROTO_TCP, libc::TCP_NODELAY) => settings.no_delay.into(),
        (libc::IPPROTO_TCP, libc::TCP_CORK) => settings.cork.into(),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE) => return unless(settings.keep_idle, 0),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL) => return unless(settings.keep_interval, 0),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT) => return unless(settings.keep_count, 0),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT) => settings.user_timeout,
        (libc::IPPROTO_TCP, libc::TCP_SYNCNT) => return unless(settings.syn_count, default.syn_count),
        (libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT) => {
            return unless(settings.not_sent_low_water, default.not_sent_low_water);
        }
        (libc::IPPROTO_TCP, libc::TCP_LINGER2) => return unless(settings.linger2 as u32, 0),
        (libc::IPPROTO_TCP, libc::TCP_WINDOW_CLAMP) => return unless(settings.window_clamp, 0),
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => settings.mtu_discovery.into(),
        (libc::IPPROTO_IP, libc::IP_RECVERR) => settings.reports_errors.into(),
        (libc::IPPROTO_IP, libc::IP_TOS) => settings.service.into(),
        (libc::SOL_SOCKET, libc::SO_OOBINLINE) => settings.urgent_inline.into(),
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => settings.keep_alive.into(),
        (libc::IPPROTO_TCP, libc::TCP_FASTOPEN_CONNECT) => settings.fast_open_connect.into(),
        (libc::IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE) => settings.fast_open_without_cookie.into(),
        (libc::SOL_SOCKET, libc::SO_REUSEADDR) => settings.reuse_address.into(),
        (libc::SOL_SOCKET, libc::SO_REUSEPORT) => settings.reuse_port.into(),
        (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => settings.receive_low_water,
        _ => return None,
    })
}

/// Whether the shadow has something set that only the kernel can give.
pub(crate) fn wants_kernel(fd: i32) -> bool {
    let bound_to_device = option::<u8, 16>(fd, libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
    bound_to_device.is_ok_and(|name| name.first().is_some_and(|&byte| byte != 0))
        || number(fd, libc::SOL_IP, libc::IP_TRANSPARENT).is_ok_and(|on| on != 0)
}

pub(crate) fn reuse(fd: i32) -> Reuse {
    let is_on = |name| number(fd, libc::SOL_SOCKET, name).is_ok_and(|on| on != 0);
    Reuse { address: is_on(libc::SO_REUSEADDR), port: is_on(libc::SO_REUSEPORT) }
}

pub(crate) fn is_ipv6_only(fd: i32) -> bool {
    number(fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY).is_ok_and(|on| on != 0)
}
