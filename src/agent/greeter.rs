//! Asks the broker's greeting listener, as often as the loop wants.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::errno::Errno;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::agent::event::{Event, Events};
use crate::broker::classic::greeting::{GREETING_LENGTH, is_greeting};
use crate::broker::report::GreetingView;

/// How often to ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cadence {
    /// For which broker process.
    pub generation: u32,
    /// From the start of one attempt to the next; `None`: not at all.
    pub period: Option<Duration>,
    /// How long one attempt may take.
    pub deadline: Duration,
}

/// Asks for ever, and tells each answer.
pub async fn run(port: u16, mut cadence: watch::Receiver<Cadence>, events: Events) {
    loop {
        let now = *cadence.borrow_and_update();
        let Some(period) = now.period else {
            if cadence.changed().await.is_err() {
                return;
            }
            continue;
        };
        let started = Instant::now();
        let view = greet(port, now.deadline).await;
        if events.send(Event::Greeting { generation: now.generation, view }).await.is_err() {
            return;
        }
        tokio::select! {
            () = sleep_until(started + period) => {}
            _ = cadence.changed() => {}
        }
    }
}

/// One attempt. The handshake alone proves nothing: the kernel completes it for a frozen JVM.
pub async fn greet(port: u16, deadline: Duration) -> GreetingView {
    match timeout(deadline, attempt(port)).await {
        Ok(Ok(view)) => view,
        Ok(Err(error)) => failed(&error),
        Err(_) => GreetingView::Silent,
    }
}

/// What an attempt that failed says of the broker. Nothing, if this process or its node lacks descriptors,
/// memory or ports: the broker was not asked, and must not be killed for that.
fn failed(error: &io::Error) -> GreetingView {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => GreetingView::Refused,
        Some(
            Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOBUFS
            | Errno::ENOMEM
            | Errno::EADDRNOTAVAIL
            | Errno::EAGAIN,
        ) => GreetingView::Unknown,
        // Whoever closes before the greeting is as silent as whoever says nothing.
        _ => GreetingView::Silent,
    }
}

async fn attempt(port: u16) -> io::Result<GreetingView> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let mut first = [0; GREETING_LENGTH];
    stream.read_exact(&mut first).await?;
    Ok(if is_greeting(&first) { GreetingView::Ok } else { GreetingView::Silent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    const DEADLINE: Duration = Duration::from_millis(200);

    async fn listener() -> (TcpListener, u16) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    }

    #[tokio::test]
    async fn a_broker_that_sends_its_wire_format_greets() {
        let (listener, port) = listener().await;
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(b"\0\0\x01\x52\x01ActiveMQ and more").await.unwrap();
            stream
        });
        assert_eq!(greet(port, DEADLINE).await, GreetingView::Ok);
        server.await.unwrap();
    }

    #[tokio::test]
    async fn a_frozen_broker_completes_the_handshake_and_is_silent() {
        let (_listener, port) = listener().await;
        assert_eq!(greet(port, DEADLINE).await, GreetingView::Silent);
    }

    #[tokio::test]
    async fn a_broker_that_closes_at_once_is_silent() {
        let (listener, port) = listener().await;
        let server = tokio::spawn(async move { drop(listener.accept().await.unwrap()) });
        assert_eq!(greet(port, DEADLINE).await, GreetingView::Silent);
        server.await.unwrap();
    }

    #[test]
    fn a_shortage_of_this_process_says_nothing_of_the_broker() {
        let told = |errno: Errno| failed(&io::Error::from(errno));
        for errno in [Errno::EMFILE, Errno::ENFILE, Errno::ENOBUFS, Errno::ENOMEM] {
            assert_eq!(told(errno), GreetingView::Unknown, "{errno}");
        }
        assert_eq!(told(Errno::ECONNREFUSED), GreetingView::Refused);
        assert_eq!(told(Errno::ECONNRESET), GreetingView::Silent);
        assert_eq!(failed(&io::ErrorKind::UnexpectedEof.into()), GreetingView::Silent);
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_refuses() {
        let (listener, port) = listener().await;
        drop(listener);
        assert_eq!(greet(port, DEADLINE).await, GreetingView::Refused);
    }
}
