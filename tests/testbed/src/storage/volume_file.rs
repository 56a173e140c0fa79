//! The volume files of server and clients: which of GlusterFS's translators stand on each other.
//!
//! A client has none of the translators that cache (a volume made with `gluster volume create` has
//! write-behind, open-behind, quick-read and md-cache): what a program asks for reaches the server.

use crate::layout::ServerLayout;
use crate::storage::StorageOptions;

/// The port that servers listen on.
pub const PORT: u16 = 24007;
/// What the server calls the volume.
const VOLUME: &str = "store";

/// The server's volume file.
///
/// A client is given up by the kernel, whose `TCP_USER_TIMEOUT` also ends a connection whose
/// keepalive probes stay unanswered: a silent client is noticed even when nothing is sent to it.
/// `reserve` and `health-check-interval`: a full disk is the clients' business, not a reason for the
/// server to end.
pub(super) fn of_server(server: &ServerLayout, options: &StorageOptions) -> String {
    let brick = super::brick(server);
    let brick = brick.display();
    let address = server.address();
    let lock_timeout = options.lock_timeout;
    format!(
        "volume disk
  type storage/posix
  option directory {brick}
  option reserve 0
  option health-check-interval 0
end-volume
volume locks
  type features/locks
  subvolumes disk
end-volume
volume {VOLUME}
  type performance/io-threads
  subvolumes locks
end-volume
volume server
  type protocol/server
  option transport-type tcp
  option transport.address-family inet
  option transport.socket.bind-address {address}
  option transport.socket.listen-port {PORT}
  option transport.tcp-user-timeout {lock_timeout}
  option transport.socket.keepalive-time 2
  option transport.socket.keepalive-interval 1
  option transport.socket.keepalive-count 3
  option auth.addr.{VOLUME}.allow *
  subvolumes {VOLUME}
end-volume
"
    )
}

/// The clients' volume file.
pub(super) fn of_clients(server: &ServerLayout, options: &StorageOptions) -> String {
    let address = server.address();
    let ping_timeout = options.ping_timeout;
    let strict_locks = if options.strict_locks { "on" } else { "off" };
    format!(
        "volume client
  type protocol/client
  option transport-type tcp
  option transport.address-family inet
  option remote-host {address}
  option remote-port {PORT}
  option remote-subvolume {VOLUME}
  option ping-timeout {ping_timeout}
  option strict-locks {strict_locks}
end-volume
"
    )
}
