//! Shards as a process has them: threads, sockets, and rooms within.

mod front;
mod support;
mod tcp;
mod udp;
