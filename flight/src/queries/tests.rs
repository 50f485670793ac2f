use super::*;
use crate::settings::Settings;

fn queries() -> Arc<Queries> {
    Arc::new(Queries::new())
}

fn caller() -> Principal {
    Principal::unauthenticated()
}

fn begin(queries: &Arc<Queries>, sql: &str) -> Running {
    let mut statement = SignedStatement::unbound(sql.to_owned(), Settings::default());
    queries.begin(&caller(), &mut statement, None).unwrap()
}

fn listed(queries: &Queries) -> Vec<Record> {
    queries.visible(caller().tenant(), None)
}

#[test]
fn ids_differ_within_a_process_and_between_processes() {
    let (one, other) = (queries(), queries());
    let ids = HashSet::from([one.new_id(), one.new_id(), other.new_id(), other.new_id()]);
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| id.len() == 32));
}

#[test]
fn a_run_that_is_dropped_is_listed_as_cancelled_and_stopped() {
    let queries = queries();
    let running = begin(&queries, "SELECT 1");
    let stop = running.query().stop.clone();
    assert_eq!(listed(&queries)[0].state, State::Queued);
    drop(running);
    assert_eq!(listed(&queries)[0].state, State::Cancelled);
    assert!(matches!(stop.check(), Err(Error::Cancelled)));
}

#[test]
fn only_the_last_runs_of_a_tenant_are_kept_and_long_statements_are_cut() {
    let queries = queries();
    let sql = "é".repeat(MAX_ENDED);
    for _ in 0..MAX_ENDED_OF_TENANT + 5 {
        begin(&queries, &sql).finish();
    }
    let listed = listed(&queries);
    assert_eq!(listed.len(), MAX_ENDED_OF_TENANT);
    assert!(listed.iter().all(|record| record.state == State::Finished && record.sql.len() <= 1_000));
}

#[test]
fn only_so_many_cancelled_queries_of_a_tenant_are_remembered() {
    let queries = queries();
    let tenant = caller().tenant().clone();
    for number in 0..=MAX_CANCELLED {
        queries.cancel(&tenant, &number.to_string());
    }
    assert!(queries.refuse_cancelled(&tenant, "0").is_ok());
    assert!(queries.refuse_cancelled(&tenant, "1").is_err());
    assert!(queries.refuse_cancelled(&"other".parse().unwrap(), "1").is_ok());
}

#[test]
fn what_changes_something_runs_once() {
    let queries = queries();
    let first = begin(&queries, "INSERT");
    queries.run_once(first.query()).unwrap();
    let mut statement = SignedStatement::unbound("INSERT".to_owned(), Settings::default());
    statement.query_id.clone_from(&first.query().id);
    let again = queries.begin(&caller(), &mut statement, None).unwrap();
    assert!(matches!(queries.run_once(again.query()), Err(Error::AlreadyRun)));
    queries.run_once(begin(&queries, "INSERT").query()).unwrap();
    // After a restart nobody knows whether it was run.
    let restarted = self::queries();
    let again = restarted.begin(&caller(), &mut statement, None).unwrap();
    assert!(matches!(restarted.run_once(again.query()), Err(Error::AlreadyRun)));
}

#[test]
fn an_error_before_the_work_begins_is_how_the_run_ended() {
    let queries = queries();
    let mut running = begin(&queries, "SELECT 1");
    assert!(running.note::<()>(Err(Error::UnknownTransaction)).is_err());
    drop(running);
    let record = &listed(&queries)[0];
    assert_eq!((record.state, record.error.is_some()), (State::Failed, true));
}

#[test]
fn a_cancelled_query_cannot_begin_again() {
    let queries = queries();
    let running = begin(&queries, "SELECT 1");
    let id = running.query().id.clone();
    queries.cancel(caller().tenant(), &id);
    assert!(matches!(running.query().stop.check(), Err(Error::Cancelled)));
    let mut again = SignedStatement::unbound(String::new(), Settings::default());
    again.query_id = id;
    assert!(matches!(queries.begin(&caller(), &mut again, None), Err(Error::UnknownHandle)));
}
