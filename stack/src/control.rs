//! What programs and the keeper say to each other.
