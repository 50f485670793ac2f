use std::future::pending;
use std::sync::Arc;

use futures::StreamExt;
use tokio::sync::oneshot;

use super::*;

fn stop(runtime: &QueryRuntime) -> Stop {
    Stop::after(runtime.timeout())
}

fn runtime() -> QueryRuntime {
    QueryRuntime::try_new(2, None).unwrap()
}

/// Completes when the value that holds it is dropped.
struct Canary(Option<oneshot::Sender<()>>);

impl Drop for Canary {
    fn drop(&mut self) {
        let _ = self.0.take().unwrap().send(());
    }
}

fn canary() -> (Canary, oneshot::Receiver<()>) {
    let (sender, dropped) = oneshot::channel();
    (Canary(Some(sender)), dropped)
}

#[tokio::test]
async fn a_stream_carries_everything_in_order_and_ends() {
    let runtime = runtime();
    let stream = runtime.produce(&stop(&runtime), |sender| async move {
        for i in 0..100 {
            sender.send(i).await;
        }
        Ok(())
    });
    let items: Vec<i32> = stream.map(Result::unwrap).collect().await;
    assert_eq!(items, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_producer_that_panics_ends_its_stream_with_an_error() {
    let runtime = runtime();
    let stream = runtime.produce(&stop(&runtime), |sender| async move {
        sender.send(1).await;
        sender.send(2).await;
        panic!("on purpose");
    });
    let items: Vec<Result<i32>> = stream.collect().await;
    assert_eq!(items.len(), 3);
    assert!(matches!(items[2], Err(Error::Panicked(_))));
}

#[tokio::test]
async fn a_producer_that_fails_ends_its_stream_with_its_error() {
    let runtime = runtime();
    let stream = runtime.produce(&stop(&runtime), |sender| async move {
        sender.send(1).await;
        Err(Error::UnknownHandle)
    });
    let items: Vec<Result<i32>> = stream.collect().await;
    assert!(matches!(items[..], [Ok(1), Err(Error::UnknownHandle)]));
}

#[tokio::test]
async fn shutdown_ends_a_running_stream_with_an_error() {
    let runtime = runtime();
    let mut stream = runtime.produce(&stop(&runtime), |sender| async move {
        sender.send(1).await;
        pending().await
    });
    assert!(matches!(stream.next().await, Some(Ok(1))));
    runtime.shutdown();
    assert!(matches!(stream.next().await, Some(Err(Error::ShuttingDown))));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn dropping_a_stream_drops_what_its_producer_holds() {
    let runtime = runtime();
    let (held, dropped) = canary();
    let mut stream = runtime.produce(&stop(&runtime), |sender| async move {
        let _held = held;
        sender.send(()).await;
        pending().await
    });
    assert!(stream.next().await.is_some());
    drop(stream);
    dropped.await.unwrap();
}

#[tokio::test]
async fn dropping_a_call_drops_what_its_work_holds() {
    let runtime = Arc::new(runtime());
    let (held, dropped) = canary();
    let (started, running) = oneshot::channel();
    let caller = Arc::clone(&runtime);
    let call = tokio::spawn(async move {
        let work = async move {
            let _held = held;
            let _ = started.send(());
            pending::<Result<()>>().await
        };
        caller.run(work).await
    });
    running.await.unwrap();
    call.abort();
    dropped.await.unwrap();
}

#[tokio::test]
async fn work_that_blocks_its_thread_still_times_out() {
    let runtime = QueryRuntime::try_new(2, Some(Duration::from_millis(20))).unwrap();
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let result = runtime.run(async move { Ok(blocked.recv().is_err()) }).await;
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    drop(release);
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends_its_producer_at_the_timeout() {
    let runtime = QueryRuntime::try_new(2, Some(Duration::from_millis(20))).unwrap();
    let (held, dropped) = canary();
    let stream = runtime.produce(&stop(&runtime), |sender| async move {
        let _held = held;
        while sender.send(()).await {}
        Ok(())
    });
    dropped.await.unwrap();
    let items: Vec<Result<()>> = stream.collect().await;
    assert!(matches!(items.last(), Some(Err(Error::Timeout { .. }))));
}

#[tokio::test]
async fn a_stream_that_never_runs_dry_times_out_too() {
    let runtime = QueryRuntime::try_new(2, Some(Duration::from_millis(20))).unwrap();
    let stream = runtime.produce(&stop(&runtime), |sender| async move {
        while sender.send(()).await {}
        Ok(())
    });
    let mut failures = stream.filter(|item| std::future::ready(item.is_err()));
    assert!(matches!(failures.next().await, Some(Err(Error::Timeout { .. }))));
}

#[tokio::test]
async fn a_panic_in_a_call_is_an_error_of_that_call_alone() {
    let runtime = runtime();
    let result: Result<()> = runtime.run(async { panic!("on purpose") }).await;
    assert!(matches!(result, Err(Error::Panicked(_))));
    assert!(matches!(runtime.run(async { Ok(7) }).await, Ok(7)));
}

#[tokio::test]
async fn query_threads_have_room_for_deep_recursion() {
    fn depth(n: u64) -> u64 {
        let frame = std::hint::black_box([n; 64]);
        if n == 0 { 0 } else { 1 + depth(n - 1) + frame[63] - n }
    }
    // About 512 bytes and more a frame: 2 MiB would hold fewer than 4,000.
    assert!(matches!(runtime().run(async { Ok(depth(20_000)) }).await, Ok(20_000)));
}
