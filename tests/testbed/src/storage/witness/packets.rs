//! Packets as they pass the network namespace that the process is in (packet(7)).

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockProtocol, SockType, recvmsg,
    setsockopt, socket,
};
use nix::sys::time::TimeSpec;

/// For bursts while other programs have the processors.
const KERNEL_BUFFER: usize = 64 << 20;
/// The kernel hands packets around that are longer than what a cable takes.
const LONGEST: usize = 1 << 17;

/// A socket that is given all packets, both ways, from their IP header on.
pub(super) fn open() -> Result<OwnedFd> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )
    .context("opening a packet socket")?;
    setsockopt(&socket, RcvBufForce, &KERNEL_BUFFER).context("asking for a large buffer")?;
    setsockopt(&socket, ReceiveTimestampns, &true).context("asking for times")?;
    Ok(socket)
}

/// A buffer for one packet.
pub(super) fn buffer() -> Vec<u8> {
    vec![0; LONGEST]
}

/// Waits for the next packet: when the kernel had it, in microseconds since 1970, and the packet.
pub(super) fn next<'a>(socket: &OwnedFd, buffer: &'a mut [u8]) -> Result<(i64, &'a [u8])> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let (length, micros) = {
        let mut parts = [IoSliceMut::new(buffer)];
        let fd = socket.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut parts, Some(&mut control), MsgFlags::empty())
            .context("waiting for packets")?;
        let time =
            message.cmsgs().context("reading a packet's time")?.find_map(|part| match part {
                ControlMessageOwned::ScmTimestampns(time) => Some(time),
                _ => None,
            });
        let time = time.context("a packet without a time")?;
        (message.bytes, time.tv_sec() * 1_000_000 + time.tv_nsec() / 1000)
    };
    Ok((micros, buffer.get(..length).unwrap_or_default()))
}
