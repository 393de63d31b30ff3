//! shunt's engine.
