//! A proxy between brokers and their database that makes the way to it long, or endless.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result};
use testbed::layout::APISERVER;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, watch},
    task::{AbortHandle, JoinSet},
    time::Instant,
};

/// What happens to what clients send.
#[derive(Clone, Copy, Debug, Default)]
struct Way {
    delay: Duration,
    stalled: bool,
}

/// A running proxy; it ends when it is dropped.
pub struct Proxy {
    /// Where clients connect to, in the control plane's network.
    pub address: SocketAddr,
    way: watch::Sender<Way>,
    task: AbortHandle,
}

impl Proxy {
    /// Starts a proxy in front of a server. This process must be in the control plane's network.
    ///
    /// # Errors
    /// When there is no port for it.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let host: IpAddr = APISERVER.parse()?;
        let listener = TcpListener::bind((host, 0)).await.context("a port for the proxy")?;
        let address = listener.local_addr()?;
        let (way, _) = watch::channel(Way::default());
        let task = tokio::spawn(serve(listener, target, way.clone())).abort_handle();
        Ok(Self { address, way, task })
    }

    /// From now on everything that clients send arrives this much later.
    pub fn delay(&self, delay: Duration) {
        self.way.send_modify(|way| way.delay = delay);
    }

    /// From now on nothing that clients send arrives, or everything does again.
    pub fn stall(&self, stalled: bool) {
        self.way.send_modify(|way| way.stalled = stalled);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, target: SocketAddr, way: watch::Sender<Way>) {
    // Its connections end with the task that owns the set.
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connect(client, target, way.subscribe()));
        while connections.try_join_next().is_some() {}
    }
}

async fn connect(client: TcpStream, target: SocketAddr, way: watch::Receiver<Way>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, mut to_client) = client.into_split();
    let (mut from_server, to_server) = server.into_split();
    let (sender, receiver) = mpsc::unbounded_channel();
    // Whoever ends first ends the connection: databases do not close one direction alone.
    tokio::select! {
        () = collect(from_client, sender, way.clone()) => {}
        () = deliver(receiver, to_server, way) => {}
        _ = tokio::io::copy(&mut from_server, &mut to_client) => {}
    }
}

/// What a client sent, and when it is to arrive.
type Parcel = (Instant, Vec<u8>);

async fn collect(
    mut client: OwnedReadHalf,
    parcels: mpsc::UnboundedSender<Parcel>,
    way: watch::Receiver<Way>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length) = client.read(&mut buffer).await {
        let due = Instant::now() + way.borrow().delay;
        let sent = buffer.get(..length).unwrap_or_default().to_vec();
        if length == 0 || parcels.send((due, sent)).is_err() {
            return;
        }
    }
}

async fn deliver(
    mut parcels: mpsc::UnboundedReceiver<Parcel>,
    mut server: OwnedWriteHalf,
    mut way: watch::Receiver<Way>,
) {
    while let Some((due, sent)) = parcels.recv().await {
        tokio::time::sleep_until(due).await;
        let open = way.wait_for(|way| !way.stalled).await.is_ok();
        if !open || server.write_all(&sent).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut reader, mut writer) = stream.split();
            tokio::io::copy(&mut reader, &mut writer).await
        });
        address
    }

    async fn through(way: &watch::Sender<Way>) -> TcpStream {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(serve(listener, echo().await, way.clone()));
        TcpStream::connect(address).await.unwrap()
    }

    #[tokio::test]
    async fn what_is_sent_arrives_late_and_in_order() {
        let (way, _) = watch::channel(Way { delay: Duration::from_millis(200), stalled: false });
        let mut stream = through(&way).await;
        let begun = Instant::now();
        stream.write_all(b"SELECT ").await.unwrap();
        stream.write_all(b"1").await.unwrap();
        let mut answer = [0; 8];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"SELECT 1");
        assert!(begun.elapsed() >= Duration::from_millis(200));
    }

    #[tokio::test]
    async fn nothing_arrives_while_it_stalls() {
        let (way, _) = watch::channel(Way { delay: Duration::ZERO, stalled: true });
        let mut stream = through(&way).await;
        stream.write_all(b"x").await.unwrap();
        let mut answer = [0; 1];
        let early =
            tokio::time::timeout(Duration::from_millis(200), stream.read_exact(&mut answer));
        assert!(early.await.is_err());
        way.send_modify(|way| way.stalled = false);
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"x");
    }
}
