//! The system calls that no safe wrapper offers, for measurements only.
#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;

use socket2::SockAddr;

/// Messages of one `sendmmsg`.
pub(crate) const MAX_MESSAGES: usize = 32;

/// Keeps the calling thread on one core.
pub(crate) fn pin_to(core: usize) -> io::Result<()> {
    // SAFETY: a `cpu_set_t` of zeroes is an empty set, which CPU_SET then writes within; the kernel only reads it.
    let result = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Has runs of datagrams arrive whole.
pub(crate) fn enable_gro(socket: &UdpSocket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the value and its size belong together and outlive the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// `UDP_SEGMENT` as a control message.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct SegmentControl {
    header: libc::cmsghdr,
    segment: u16,
    padding: [u8; 6],
}

/// Sends equal shares of `buffer` to the addresses, each share as one run of datagrams of `segment` bytes,
/// all in one system call.
pub(crate) fn send_runs(
    socket: &UdpSocket,
    buffer: &[u8],
    segment: usize,
    addresses: &[SockAddr],
) -> io::Result<usize> {
    assert!(addresses.len() <= MAX_MESSAGES && buffer.len().is_multiple_of(addresses.len()));
    let share = buffer.len() / addresses.len();
    let mut control = SegmentControl {
        header: libc::cmsghdr {
            // SAFETY: a computation without access to memory.
            cmsg_len: unsafe { libc::CMSG_LEN(size_of::<u16>() as u32) } as _,
            cmsg_level: libc::SOL_UDP,
            cmsg_type: libc::UDP_SEGMENT,
        },
        segment: segment as u16,
        padding: [0; 6],
    };
    let mut iovecs = [libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; MAX_MESSAGES];
    // SAFETY: all-zero bytes are a valid `mmsghdr`: integers and null pointers.
    let mut headers: [libc::mmsghdr; MAX_MESSAGES] = unsafe { std::mem::zeroed() };
    for (index, (address, bytes)) in addresses.iter().zip(buffer.chunks_exact(share)).enumerate() {
        iovecs[index] = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: share };
        let header = &mut headers[index].msg_hdr;
        header.msg_name = address.as_ptr().cast_mut().cast();
        header.msg_namelen = address.len();
        header.msg_iov = &raw mut iovecs[index];
        header.msg_iovlen = 1;
        if segment < share {
            header.msg_control = (&raw mut control).cast();
            header.msg_controllen = size_of::<SegmentControl>() as _;
        }
    }
    // SAFETY: the headers point to addresses, iovecs, bytes and the control message, all of which outlive the
    // call; the kernel writes only `msg_len` in the headers.
    let sent = unsafe {
        libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), addresses.len() as libc::c_uint, 0)
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

/// Addresses as the system calls take them.
pub(crate) fn raw_addresses(addresses: &[SocketAddr]) -> Vec<SockAddr> {
    addresses.iter().map(|address| SockAddr::from(*address)).collect()
}
