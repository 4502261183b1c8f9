//! Tickets.
