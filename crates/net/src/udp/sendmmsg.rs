//! The one system call that no safe wrapper offers: many messages, each with its own address and its own
//! GSO segment size, out of one buffer.
//!
//! What pays for the `unsafe`: see the rows `sendmmsg` and `sendmsg per run` of `bench/forward`.
#![allow(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};

use socket2::SockAddr;

/// The kernel's limit of datagrams in a GSO message (UDP_MAX_SEGMENTS, 64 up to Linux 6.8).
pub const MAX_GSO_SEGMENTS: usize = 64;

/// Payload of a GSO message: a UDP length has 16 bits, some of which are for headers.
pub const MAX_GSO_BYTES: usize = 65_000;

/// Messages of one call. More saves nothing that can be measured; this keeps the headers within 16 KiB of
/// stack.
pub(super) const MAX_MESSAGES: usize = 64;

/// One message: a datagram, or a run of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Message {
    /// Where it lies in the buffer.
    pub(super) bytes: Range<usize>,
    /// Length of each datagram but the last.
    pub(super) segment: usize,
    pub(super) destination: SocketAddr,
}

impl Message {
    /// Datagrams in it.
    pub(super) fn count(&self) -> usize {
        self.bytes.len().div_ceil(self.segment.max(1))
    }
}

/// The control message `UDP_SEGMENT`, laid out as `cmsg(3)` wants it on 64-bit machines.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

// SAFETY: these are computations without access to memory.
const _: () = unsafe {
    assert!(size_of::<SegmentControl>() == libc::CMSG_SPACE(size_of::<u16>() as u32) as usize);
    assert!(std::mem::offset_of!(SegmentControl, segment) + size_of::<u16>() == libc::CMSG_LEN(2) as usize);
};

/// Sends the first messages, at most [`MAX_MESSAGES`], and returns how many the kernel took. An error
/// concerns the first message alone.
pub(super) fn send(socket: BorrowedFd<'_>, buffer: &[u8], messages: &[Message]) -> io::Result<usize> {
    let messages = &messages[..messages.len().min(MAX_MESSAGES)];
    let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MAX_MESSAGES];
    let mut controls = [SegmentControl {
        header: libc::cmsghdr {
            // SAFETY: a computation without access to memory.
            cmsg_len: unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) } as _,
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        },
        segment: 0,
        padding: [0; 6],
    }; MAX_MESSAGES];
    let mut names: [Option<SockAddr>; MAX_MESSAGES] = [const { None }; MAX_MESSAGES];
    // SAFETY: all-zero bytes are a valid `mmsghdr`: integers and null pointers.
    let mut headers: [libc::mmsghdr; MAX_MESSAGES] = unsafe { std::mem::zeroed() };

    for (index, message) in messages.iter().enumerate() {
        let bytes = &buffer[message.bytes.clone()];
        iovecs[index] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let name = names[index].insert(SockAddr::from(message.destination));
        let header = &mut headers[index].msg_hdr;
        header.msg_name = name.as_ptr().cast_mut().cast();
        header.msg_namelen = name.len();
        header.msg_iov = &raw mut iovecs[index];
        header.msg_iovlen = 1;
        if message.segment < bytes.len() {
            // Never truncates: a segment is at most MAX_DATAGRAM.
            controls[index].segment = message.segment as u16;
            header.msg_control = (&raw mut controls[index]).cast();
            header.msg_controllen = size_of::<SegmentControl>() as _;
        }
    }
    // SAFETY: the first `messages.len()` headers point to names, iovecs and controls in the arrays above and to
    // bytes of `buffer`, all of which live, unmoved, until the call returns. The kernel only reads what
    // `msg_name`, `msg_iov` and `msg_control` point to; it writes `msg_len` in `headers`, which is ours.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), messages.len() as libc::c_uint, 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}
