mod fault;
mod steer;
#[cfg(test)]
mod test_rig;
fn main() {}
