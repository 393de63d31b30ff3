//! Speaking to the keeper that is there: `shunt status`, `shunt options`, `shunt trace`, `shunt stop`, and whether there is one at all.

use std::io::{Read as _, Seek as _};
use std::time::Duration;

use rustix::fd::{AsRawFd as _, IntoRawFd as _, OwnedFd};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use stack::control::{Ask, Report, Request};

use crate::channel::{ask, reach_keeper};
use crate::fault::{Fault, explain};

/// Why the keeper cannot be asked.
pub(crate) enum Unheard {
    /// None is there.
    Absent,
    /// It is there and refuses, or does not speak as it should.
    Refused(Fault),
}

impl Unheard {
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Unheard::Absent => Fault::new(
                "no keeper answers in this network namespace: shunt run starts one, or shunt keeper",
            ),
            Unheard::Refused(fault) => fault,
        }
    }
}

/// Somebody accepts connections on the keeper's address.
pub(crate) fn is_there() -> bool {
    reach_keeper().is_ok()
}

/// One of the keeper's reports.
pub(crate) fn report(which: Report) -> Result<String, Unheard> {
    let (_, descriptors) = request(Ask::Status, &[which as u32])?;
    let report = descriptors.into_iter().next().ok_or_else(|| unexpected("it sent no report"))?;
    let mut text = String::new();
    let mut file = std::fs::File::from(into_std(report));
    file.rewind()
        .and_then(|()| file.read_to_string(&mut text))
        .map_err(|error| unexpected(&format!("its report cannot be read: {error}")))?;
    Ok(text)
}

/// Ends the keeper; refused while programs are attached, unless forced.
pub(crate) fn stop(force: bool) -> Result<(), Unheard> {
    let (args, _) = request(Ask::Stop, &[u32::from(force)])?;
    match args[0] {
        0 => Ok(()),
        _ if force => Ok(()),
        programs => Err(Unheard::Refused(Fault::new(format!(
            "{programs} programs are attached: end them first, or end their connections with shunt stop --force"
        )))),
    }
}

fn request(what: Ask, arguments: &[u32]) -> Result<([u32; 7], Vec<OwnedFd>), Unheard> {
    let socket = reach_keeper().map_err(|errno| match errno {
        Errno::CONNREFUSED => Unheard::Absent,
        errno => unexpected(&format!("{}", explain(errno))),
    })?;
    // A keeper that waits for a stopped program's lock must not hold up those who only ask.
    set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))
        .map_err(|errno| unexpected(&explain(errno).to_string()))?;
    let mut request = Request { ask: what as u32, ..Request::default() };
    request.args.iter_mut().zip(arguments).for_each(|(place, argument)| *place = *argument);
    let (reply, descriptors) = ask(&socket, request).map_err(|errno| match errno {
        // It ended just now.
        Errno::CONNRESET | Errno::PIPE => Unheard::Absent,
        Errno::AGAIN => unexpected("it does not answer"),
        errno => unexpected(&format!("{}", explain(errno))),
    })?;
    if reply.errno != 0 {
        return Err(Unheard::Refused(Fault::new(reply.text())));
    }
    Ok((reply.args, descriptors))
}

const PATIENCE: Duration = Duration::from_secs(10);

fn unexpected(what: &str) -> Unheard {
    Unheard::Refused(Fault::new(format!("the keeper cannot be asked: {what}")))
}

/// rustix without std has a descriptor type of its own.
pub(crate) fn into_std(descriptor: OwnedFd) -> std::os::fd::OwnedFd {
    debug_assert!(descriptor.as_raw_fd() >= 0);
    // SAFETY: the number was owned, and is owned again from here on.
    unsafe { std::os::fd::FromRawFd::from_raw_fd(descriptor.into_raw_fd()) }
}
