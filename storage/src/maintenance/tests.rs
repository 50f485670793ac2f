//! A task that fails does not take the others with it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;

use tempfile::tempdir;

use super::*;
use crate::Health;
use crate::testing::{config, open};

/// Counts its steps, and panics in each of them if it is told to.
#[derive(Debug)]
struct Counted {
    steps: Arc<AtomicUsize>,
    panics: bool,
}

impl Task for Counted {
    fn name(&self) -> &'static str {
        "count"
    }

    fn step(&mut self, _: &Store, _: &mut Pace) -> Result<Step> {
        self.steps.fetch_add(1, Ordering::Relaxed);
        assert!(!self.panics, "for the test");
        Ok(Step::Idle)
    }
}

#[tokio::test]
async fn a_task_that_panics_rests_while_the_others_go_on_and_health_says_so() {
    let dir = tempdir().unwrap();
    let storage = open(config(dir.path())).unwrap();
    let (_stop, requests) = sync_channel(1);
    let mut thread = MaintenanceThread::new(Arc::clone(storage.store()), &config(dir.path()), requests);
    let (of_faulty, of_sound) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let turn = |steps: &Arc<AtomicUsize>, panics| {
        let task = Counted { steps: Arc::clone(steps), panics };
        Turn { task: Box::new(task), rests_until: None }
    };
    thread.tasks = vec![turn(&of_faulty, true), turn(&of_sound, false)];
    thread.round();
    thread.round();
    assert_eq!(of_faulty.load(Ordering::Relaxed), 1, "it rests");
    assert_eq!(of_sound.load(Ordering::Relaxed), 2);
    assert!(
        matches!(&*storage.watch_health().borrow(), Health::Degraded { reason } if reason.contains("background"))
    );
    thread.tasks.remove(0);
    thread.round();
    assert_eq!(*storage.watch_health().borrow(), Health::Sound);
}
