//! Cursors over the envelopes that carry records: spans of what weir reads and edits, nothing copied.
//!
//! A cursor is filled by one walk over a frame that passed the guard, so there is one reading of the bytes, the schema table's. Edits leave as
//! [`Splices`](crate::Splices) over the same frame. Several edits of one cursor may go into one `Splices`, and so may the frame's cleaning
//! (first the cleaning, then the edits).
