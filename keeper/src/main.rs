mod channel;
mod device;
mod ethtool;
mod fault;
mod lease;
mod netlink;
mod picture;
mod proof;
mod steer;
#[cfg(test)]
mod test_rig;
fn main() {}
