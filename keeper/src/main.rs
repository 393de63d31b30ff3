mod device;
mod ethtool;
mod fault;
mod netlink;
mod picture;
mod steer;
#[cfg(test)]
mod test_rig;
fn main() {}
