use super::*;

fn check(given: &'static str, expected: Option<Duration>) {
    let headers = HeaderMap::from_iter([(HeaderName::from_static(TIMEOUT), HeaderValue::from_static(given))]);
    assert_eq!(patience(&headers), expected, "{given}");
}

#[test]
fn a_timeout_is_read_as_the_protocol_writes_it() {
    check("2H", Some(Duration::from_hours(2)));
    check("3M", Some(Duration::from_mins(3)));
    check("4S", Some(Duration::from_secs(4)));
    check("99999999m", Some(Duration::from_millis(99_999_999)));
    check("5u", Some(Duration::from_micros(5)));
    check("6n", Some(Duration::from_nanos(6)));
    for malformed in ["", "S", "5", "5s", "-5S", "123456789S", "5 S"] {
        check(malformed, None);
    }
    assert_eq!(patience(&HeaderMap::new()), None);
}

/// A body of one frame.
struct Cut {
    frame: Option<Result<Frame<Bytes>, Status>>,
    is_whole: bool,
}

impl HttpBody for Cut {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Poll::Ready(self.frame.take())
    }

    fn is_end_stream(&self) -> bool {
        self.is_whole
    }
}

/// Scenario: a client that goes away in the middle of its rows, as tonic and hyper tell it.
#[tokio::test]
async fn a_call_that_is_cut_off_does_not_look_like_one_that_ends() {
    let frames = async |frame, is_whole| {
        let mut body = Received(Cut { frame, is_whole });
        let mut frames = Vec::new();
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            let is_over = frame.is_err();
            frames.push(frame.map(drop).map_err(|status| status.code()));
            if is_over {
                break;
            }
        }
        frames
    };
    let data = || Some(Ok(Frame::data(Bytes::from_static(b"rows"))));
    assert_eq!(frames(data(), true).await, [Ok(())]);
    assert_eq!(frames(data(), false).await, [Ok(()), Err(tonic::Code::Unavailable)]);
    let cancelled = Some(Err(Status::cancelled("the stream was reset")));
    assert_eq!(frames(cancelled, false).await, [Err(tonic::Code::Unavailable)]);
}
