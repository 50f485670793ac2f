use alula_catalog::Signal; use alula_ingest::fuzzing::*;
use alula_fuzz as _; use libfuzzer_sys as _; use prost::Message;
use opentelemetry_proto::tonic::{collector::trace::v1::*, trace::v1::*, common::v1::{*, any_value::Value}};
#[unsafe(no_mangle)] pub extern "C" fn rust_fuzzer_test_input(_: &[u8]) -> i32 { 0 }
fn main() {
    let a = |k: &str| KeyValue { key: k.into(), value: Some(AnyValue { value: Some(Value::StringValue("some value".into())) }), key_strindex: 0 };
    let span = Span { trace_id: vec![1; 16], span_id: vec![1; 8], name: "GET /cart".into(), start_time_unix_nano: 1, end_time_unix_nano: 2, attributes: ["http.route","http.method","net.peer","k8s.pod","zone"].map(a).to_vec(), ..Default::default() };
    let p = ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { scope_spans: vec![ScopeSpans { spans: vec![span; 20000], ..Default::default() }], ..Default::default() }] }.encode_to_vec();
    for _ in 0..5 {
        let t = std::time::Instant::now(); let f = footprint(Signal::Traces, &p); let tf = t.elapsed();
        let t = std::time::Instant::now(); let d = ExportTraceServiceRequest::decode(p.as_slice()).unwrap(); let td = t.elapsed();
        let t = std::time::Instant::now(); let r = take(Signal::Traces, &p, i64::MAX).unwrap(); let tt = t.elapsed();
        println!("{} bytes footprint {f} {tf:?} decode {td:?} take {tt:?} {} {}", p.len(), d.resource_spans.len(), r.batch.num_rows());
    }
}
