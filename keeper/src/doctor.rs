//! `shunt doctor`: looks, without changing anything, for what would keep shunt from working here, or from working well.

use rustix::process::geteuid;

use crate::device;
use crate::ethtool;
use crate::fault::{Fault, explain};
use crate::firewall;
use crate::netlink::Netlink;
use crate::picture::{Accelerated, Picture};

pub(crate) fn examine(wanted: Option<&str>) -> Result<(), Fault> {
    let mut troubles = 0;
    let mut check = |what: &str, verdict: Result<String, String>| match verdict {
        Ok(good) => println!("ok    {what}: {good}"),
        Err(bad) => {
            troubles += 1;
            println!("LOOK  {what}: {bad}");
        }
    };
    check("user", user());
    check("AF_XDP", af_xdp());
    let mut netlink = Netlink::open()
        .map_err(|errno| Fault::new(format!("cannot list the devices: {}", explain(errno))))?;
    let chosen = device::choose(&mut netlink, wanted);
    match &chosen {
        Ok(device) => {
            let driver = ethtool::driver(&device.name);
            check(
                "device",
                Ok(format!(
                    "{} (driver {driver}, queues: {}, MTU {})",
                    device.name, device.queues, device.mtu
                )),
            );
        }
        Err(fault) => check("device", Err(fault.to_string())),
    }
    if let Ok(device) = chosen {
        let ours = [Accelerated { device, first_link: 0 }];
        let picture = Picture::take(&mut netlink, &ours)?;
        check(
            "routing",
            if picture.has_policy {
                Err("policy routing rules exist (ip rule): outgoing connections stay with the kernel".into())
            } else {
                Ok(format!("{} routes", picture.routes.len()))
            },
        );
    }
    check(
        "firewall",
        if firewall::has_rules() { Err(firewall::WARNING.into()) } else { Ok("no rules".into()) },
    );
    match troubles {
        0 => Ok(()),
        n => Err(Fault::new(format!("{n} things to look at"))),
    }
}

fn user() -> Result<String, String> {
    if geteuid().is_root() {
        Ok("root".into())
    } else {
        Err("not root: a keeper can only be started by root, programs may then be run by you".into())
    }
}

fn af_xdp() -> Result<String, String> {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketType, socket};
    match socket(AddressFamily::XDP, SocketType::RAW, None) {
        Ok(_) => Ok("the kernel has it".into()),
        Err(Errno::AFNOSUPPORT) => {
            Err("this kernel has none: use one built with CONFIG_XDP_SOCKETS (Linux 5.9 or later)".into())
        }
        Err(Errno::PERM) => Err("not permitted to see: ask as root".into()),
        Err(errno) => Err(explain(errno).to_string()),
    }
}
