use super::*;

#[test]
fn urls_of_the_four_kinds_of_store_are_taken() {
    for url in [
        "s3://bucket/some/path",
        "s3://bucket",
        "gs://bucket/path",
        "az://container/path",
        "abfss://container@account.dfs.core.windows.net/path",
        "https://account.blob.core.windows.net/container/path",
        "file:///mnt/archive",
    ] {
        assert_eq!(url.parse::<RemoteUrl>().map(|parsed| parsed.to_string()).unwrap(), url);
    }
}

#[test]
fn anything_else_is_refused_and_no_secret_is_repeated() {
    for url in [
        "",
        "bucket",
        "/mnt/archive",
        "file:///",
        "memory:///",
        "http://example.com/data",
        "https://example.com/data",
        "s3://hunter2@bucket/path",
        "s3://AKIA:hunter2@bucket/path",
        "s3://bucket/path?secret=hunter2",
        "s3://bucket/path#hunter2",
    ] {
        let refused = url.parse::<RemoteUrl>().expect_err(url).to_string();
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}
