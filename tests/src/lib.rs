//! Real programs in the rig.
