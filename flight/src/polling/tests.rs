use super::*;
use crate::queries::Queries;
use crate::settings::Settings;

fn polled(queries: &Arc<Queries>) -> Arc<Polled> {
    let mut statement = SignedStatement::unbound("SELECT 1".to_owned(), Settings::default());
    let running = queries.begin(&Principal::unauthenticated(), &mut statement, None).unwrap();
    Arc::new(Polled {
        query: Arc::clone(running.query()),
        descriptor: FlightDescriptor::default(),
        statement,
        phase: watch::channel(Phase::Planning).1,
        result: OnceLock::new(),
        is_told: AtomicBool::new(false),
        started: SystemTime::now(),
    })
}

#[test]
fn only_results_that_the_client_knows_of_give_way_to_others_the_oldest_first() {
    let (queries, list) = (Arc::new(Queries::new()), List::default());
    let kept: Vec<_> = (0..MAX_POLLED).map(|_| polled(&queries)).collect();
    for polled in &kept {
        list.insert(polled).unwrap();
    }
    let another = polled(&queries);
    assert!(matches!(list.insert(&another), Err(Error::TooManyPolled { .. })));
    kept[7].tell();
    kept[3].tell();
    list.insert(&another).unwrap();
    let is_there = |polled: &Polled| list.lock().contains_key(&polled.query.id);
    assert!(!is_there(&kept[3]) && is_there(&kept[7]) && is_there(&another));
    assert!(list.make_room(&another.query.tenant) && !is_there(&kept[7]));
    assert!(!list.make_room(&another.query.tenant));
}
