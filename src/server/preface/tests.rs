use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A connection whose server side wrote settings first, as HTTP/2 does.
async fn connect() -> (TcpStream, GrpcOnly) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let mut server = GrpcOnly::within(listener.accept().await.unwrap().0, PREFACE_TIMEOUT);
    server.write_all(b"settings").await.unwrap();
    server.flush().await.unwrap();
    (client, server)
}

async fn answer_to(bytes: &[u8]) -> Vec<u8> {
    let (mut client, mut server) = connect().await;
    client.write_all(bytes).await.unwrap();
    let error = server.read(&mut [0; 1024]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn who_speaks_something_else_is_told_what_is_spoken_here() {
    let http = String::from_utf8(answer_to(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await).unwrap();
    assert!(http.starts_with("HTTP/1.1 400 Bad Request\r\n") && http.ends_with(EXPLANATION), "{http}");
    assert_eq!(answer_to(b"\x16\x03\x01\x02\x00\x01\x00").await, TLS_ALERT);
    assert_eq!(answer_to(b"hello\n").await, EXPLANATION.as_bytes());
    assert_eq!(answer_to(b"PRI * HTTP/1.0").await, format_http());
}

fn format_http() -> Vec<u8> {
    let length = EXPLANATION.len();
    format!(
        "HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{EXPLANATION}"
    )
    .into_bytes()
}

#[tokio::test]
async fn the_preface_lets_everything_through_in_whatever_pieces_it_comes() {
    for split in 0..=PREFACE.len() {
        let (mut client, mut server) = connect().await;
        let mut received = vec![0; PREFACE.len() + 4];
        let sending = async {
            client.write_all(&PREFACE[..split]).await.unwrap();
            client.flush().await.unwrap();
            tokio::task::yield_now().await;
            client.write_all(&PREFACE[split..]).await.unwrap();
            client.write_all(b"more").await.unwrap();
        };
        tokio::join!(sending, async { server.read_exact(&mut received).await.unwrap() });
        assert_eq!(received, [PREFACE, b"more"].concat());
        server.write_all(b" and on").await.unwrap();
        server.flush().await.unwrap();
        let mut sent = vec![0; 15];
        client.read_exact(&mut sent).await.unwrap();
        assert_eq!(sent, b"settings and on", "held bytes come first, split at {split}");
    }
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_ended() {
    let (_client, server) = connect().await;
    let mut server = GrpcOnly::within(server.stream, Duration::ZERO);
    let error = server.read(&mut [0; 16]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}
