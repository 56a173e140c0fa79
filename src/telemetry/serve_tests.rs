use std::sync::atomic::{AtomicBool, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

struct Well;

impl Probes for Well {
    fn live(&self) -> Result<(), String> {
        Ok(())
    }

    fn ready(&self) -> Result<(), String> {
        Err("not yet".to_owned())
    }

    fn metrics(&self) -> Result<String, String> {
        Ok("# EOF\n".to_owned())
    }
}

async fn started() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, routes(Arc::new(Well))));
    address
}

async fn asked(address: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
    drop(stream.write_all(request.as_bytes()).await);
    let mut answer = String::new();
    drop(stream.read_to_string(&mut answer).await);
    answer
}

/// Until the other side closes; says how long that took.
async fn closed(mut stream: TcpStream) -> Duration {
    let (begun, mut rest) = (Instant::now(), Vec::new());
    // A connection that is ended may be reset.
    drop(stream.read_to_end(&mut rest).await);
    begun.elapsed()
}

#[tokio::test]
async fn a_connection_answers_once() {
    let address = started().await;
    let answer = asked(address, "/livez").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert!(asked(address, "/readyz").await.contains("503"));
    assert!(asked(address, "/metrics").await.contains(OPEN_METRICS));
}

#[tokio::test]
async fn hundreds_of_idle_and_slow_connections_keep_nobody_from_being_answered() {
    let address = started().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut flood = JoinSet::new();
    for number in 0..300 {
        let over = Arc::clone(&over);
        flood.spawn(async move {
            while !over.load(Ordering::Relaxed) {
                let mut stream = TcpStream::connect(address).await.unwrap();
                if number % 2 == 0 {
                    drop(stream.write_all(b"GET /livez HTTP/1.1\r\nX: ").await);
                }
                closed(stream).await;
            }
        });
    }
    let mut answered = 0;
    for _ in 0..8 {
        // On a busy machine one may have to make room before its request has come.
        let answer = timeout(LIFE, asked(address, "/livez")).await.unwrap_or_default();
        answered += u32::from(answer.starts_with("HTTP/1.1 200"));
    }
    over.store(true, Ordering::Relaxed);
    assert!(answered >= 6, "{answered} of 8");
    flood.shutdown().await;
}

#[tokio::test]
async fn whoever_sends_no_request_is_shown_out() {
    let address = started().await;
    let idle = TcpStream::connect(address).await.unwrap();
    let mut slow = TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /livez HTTP/1.1\r\n").await.unwrap();
    for took in [closed(idle).await, closed(slow).await] {
        assert!(took < LIFE + Duration::from_secs(1), "{took:?}");
    }
}

#[tokio::test]
async fn the_oldest_connection_makes_room() {
    let address = started().await;
    let first = TcpStream::connect(address).await.unwrap();
    let mut others = Vec::new();
    for _ in 0..CONNECTIONS {
        others.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(closed(first).await < HEADERS, "it was not the first to go");
    assert!(asked(address, "/livez").await.starts_with("HTTP/1.1 200"));
}
