//! Transactions on user tables, with the power cut at every operation and with every operation failing once.
//!
//! Each transaction must be there as a whole or not at all; one that was acknowledged must be there.

use arrow::datatypes::{DataType, Field, Schema};
use tokio::runtime::{Builder, Runtime};

use super::machine::{Machine, Running};
use crate::disk::sim::{Fault, TearMode};
use crate::user_tables::testing::{all_contents, append, create, expected, files_on_disk, rows};
use crate::{CreateMode, Result, UserTransaction};

type State = Vec<(String, Vec<String>)>;

fn tables(tables: &[(&str, &[i64])]) -> State {
    tables.iter().map(|(name, numbers)| ((*name).to_owned(), expected(numbers.iter().copied()))).collect()
}

/// A transaction, and all tables as they are after it.
struct Step {
    run: fn(&mut UserTransaction) -> Result<()>,
    is_committed: bool,
    after: State,
}

fn steps() -> Vec<Step> {
    let step = |run, after: &[(&str, &[i64])]| Step { run, is_committed: true, after: tables(after) };
    let first = step(
        |t| {
            create(t, "hosts")?;
            append(t, "hosts", &rows(&[1, 2, 3]))?;
            create(t, "none")
        },
        &[("hosts", &[1, 2, 3]), ("none", &[])],
    );
    let merges = step(
        |t| {
            for number in 4..8 {
                append(t, "hosts", &rows(&[number]))?;
            }
            t.drop_table("none")?;
            create(t, "teams")?;
            append(t, "teams", &rows(&[1])).map(drop)
        },
        &[("hosts", &[1, 2, 3, 4, 5, 6, 7]), ("teams", &[1])],
    );
    let given_up = Step {
        run: |t| append(t, "teams", &rows(&[99])).map(drop),
        is_committed: false,
        after: merges.after.clone(),
    };
    let replaces = step(
        |t| {
            t.drop_table("hosts")?;
            create(t, "hosts")?;
            append(t, "hosts", &rows(&[8]))?;
            append(t, "teams", &rows(&[2])).map(drop)
        },
        &[("hosts", &[8]), ("teams", &[1, 2])],
    );
    let drops = step(|t| t.drop_table("teams"), &[("hosts", &[8])]);
    vec![first, merges, given_up, replaces, drops]
}

/// Which states may be there, as far as the client was told.
struct Told {
    possible: Vec<State>,
}

/// Carries the steps out until one fails, or all of them.
fn run(running: &Running, runtime: &Runtime) -> Told {
    let tenant = "a".parse().unwrap();
    let mut told = Told { possible: vec![State::new()] };
    for step in steps() {
        let mut transaction = running.storage.begin_user_transaction(&tenant);
        let ran = (step.run)(&mut transaction);
        let committed = match ran {
            Ok(()) if step.is_committed => runtime.block_on(transaction.commit()),
            Ok(()) => {
                drop(transaction);
                Ok(())
            }
            Err(error) => Err(error),
        };
        running.storage.store().remove_user_garbage();
        match committed {
            Ok(()) => told.possible = vec![step.after],
            Err(_) => {
                told.possible.push(step.after);
                // What comes after it would be about other tables.
                break;
            }
        }
    }
    told
}

fn found(running: &Running) -> State {
    let tables = running.storage.user_tables(&"a".parse().unwrap());
    all_contents(running.storage.store(), &tables).unwrap()
}

fn check(running: &Running, told: &Told, when: &str) -> State {
    let state = found(running);
    assert!(told.possible.contains(&state), "{when}: {state:?} is none of {:?}", told.possible);
    let live = running.storage.store().catalog.live_user_files().unwrap();
    let mut names: Vec<_> = live.iter().map(|file| format!("{}.parquet", file.id)).collect();
    names.sort();
    assert_eq!(files_on_disk(running.storage.store()), names, "{when}: files that are in no table");
    state
}

/// Guarantees: durability and atomicity of a COMMIT, and that nothing stays behind of a transaction that did not come to it.
#[test]
fn a_power_cut_at_any_operation_leaves_whole_transactions() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut num_cut = 0;
    for at in 0.. {
        let mode = TearMode::ALL[at % TearMode::ALL.len()];
        let running = Machine::new(7).start().map_err(|(_, error)| error).unwrap();
        let disk = running.disk().clone();
        disk.cut_power_at(disk.num_operations() + at);
        let told = run(&running, &runtime);
        let was_cut = disk.is_off();
        let when =
            format!("cut at {at}, {mode:?}, {:?}", disk.log().iter().rev().take(6).collect::<Vec<_>>());
        let machine = running.power_cut(mode, at as u64);
        let running = machine.start().map_err(|(_, error)| format!("{when}: {error}")).unwrap();
        let state = check(&running, &told, &when);
        assert_eq!(running.num_losses(), 0, "{when}");
        // And on, and once more.
        let mut transaction = running.storage.begin_user_transaction(&"a".parse().unwrap());
        create(&mut transaction, "later").unwrap();
        runtime.block_on(transaction.commit()).unwrap();
        let running = running.power_cut(TearMode::LoseAll, 1).start().map_err(|(_, error)| error).unwrap();
        let again: State = found(&running).into_iter().filter(|(name, _)| name != "later").collect();
        assert_eq!(again, state, "{when}");
        if !was_cut {
            break;
        }
        num_cut += 1;
    }
    assert!(num_cut > 60, "{num_cut} operations: the steps write, sync and rename files");
}

/// Guarantees: a transaction that was refused is not there later, and what is shown is what a restart finds.
#[test]
fn any_operation_of_a_transaction_may_fail_once() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let mut num_failed = 0;
    for after in 0.. {
        let running = Machine::new(8).start().map_err(|(_, error)| error).unwrap();
        let disk = running.disk().clone();
        disk.fail(Fault::once(None, after));
        let told = run(&running, &runtime);
        let has_failed = disk.num_failed() > 0;
        disk.mend();
        let store = running.storage.store();
        store.settle_user_tables();
        store.remove_user_garbage();
        let when =
            format!("operation {after} failed, {:?}", disk.log().iter().rev().take(6).collect::<Vec<_>>());
        let state = check(&running, &told, &when);
        let running = running.power_cut(TearMode::LoseAll, 1).start().map_err(|(_, error)| error).unwrap();
        assert_eq!(found(&running), state, "{when}: after a restart");
        if !has_failed {
            break;
        }
        num_failed += 1;
    }
    assert!(num_failed > 60, "{num_failed}");
}

#[test]
fn a_table_of_other_columns_takes_the_place_of_one_that_was_dropped() {
    let runtime = Builder::new_current_thread().build().unwrap();
    let running = Machine::new(9).start().map_err(|(_, error)| error).unwrap();
    let tenant = "a".parse().unwrap();
    let mut transaction = running.storage.begin_user_transaction(&tenant);
    create(&mut transaction, "hosts").unwrap();
    runtime.block_on(transaction.commit()).unwrap();
    let mut transaction = running.storage.begin_user_transaction(&tenant);
    let other = Schema::new(vec![Field::new("other", DataType::Boolean, true)]);
    assert!(!transaction.create_table("hosts", &other, CreateMode::IfNotExists).unwrap());
    assert!(transaction.create_table("hosts", &other, CreateMode::New).is_err());
    assert!(transaction.create_table("hosts", &other, CreateMode::Replace).unwrap());
    runtime.block_on(transaction.commit()).unwrap();
    let running = running.power_cut(TearMode::LoseAll, 1).start().map_err(|(_, error)| error).unwrap();
    assert_eq!(**running.storage.user_tables(&tenant).get("hosts").unwrap().schema(), other);
}
