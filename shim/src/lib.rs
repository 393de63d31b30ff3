//! libshunt.so.
