use alula_auth::Principal;

use super::*;
use crate::tests::fixture::{config, engine};

const AS_OF: SequenceNumber = SequenceNumber(7);

fn no_tables() -> UserTables {
    let directory = tempfile::tempdir().unwrap();
    let engine = engine(&config(directory.path()));
    UserTables::clone(&engine.storage().user_tables(Principal::unauthenticated().tenant()))
}

fn transactions() -> Transactions<()> {
    Transactions::new(&[7; 32])
}

#[test]
fn an_id_says_what_the_transaction_sees_on_every_server_with_the_key() {
    let (principal, here, elsewhere) = (Principal::unauthenticated(), transactions(), transactions());
    let id = here.begin(&principal, AS_OF, &no_tables());
    assert_eq!(elsewhere.find(&principal, &id).unwrap().as_of, 7);
    assert!(Transactions::<()>::new(&[8; 32]).find(&principal, &id).is_err());
    for bit in 0..id.len() * 8 {
        let mut altered = id.to_vec();
        altered[bit / 8] ^= 1 << (bit % 8);
        assert!(matches!(here.find(&principal, &altered), Err(Error::UnknownTransaction)), "bit {bit}");
    }
}

#[test]
fn an_id_that_expired_or_is_another_callers_is_unknown() {
    let (principal, transactions) = (Principal::unauthenticated(), transactions());
    let good = transactions.find(&principal, &transactions.begin(&principal, AS_OF, &no_tables())).unwrap();
    let owner = Owner::new(&principal, LIFETIME);
    let sealed = |owner: &Owner, transaction: &Transaction| {
        let (owner, transaction) = (owner.clone(), transaction.clone());
        transactions.seal.seal(&TransactionBody { owner, transaction })
    };
    let old = Transaction { expires: unix_seconds(SystemTime::now()), ..good.clone() };
    let id = sealed(&owner, &old);
    assert!(matches!(transactions.find(&principal, &id), Err(Error::UnknownTransaction)));
    assert!(matches!(transactions.end(&principal, &id, Ending::Commit), Err(Error::LostWrites)));
    transactions.end(&principal, &id, Ending::Rollback).unwrap();
    let id = sealed(&Owner::default(), &good);
    for ending in [Ending::Commit, Ending::Rollback] {
        assert!(matches!(transactions.end(&principal, &id, ending), Err(Error::UnknownTransaction)));
    }
}

#[test]
fn one_that_another_process_began_can_be_read_in_and_rolled_back_and_nothing_else() {
    let (principal, here, elsewhere) = (Principal::unauthenticated(), transactions(), transactions());
    let id = elsewhere.begin(&principal, AS_OF, &no_tables());
    let transaction = here.find(&principal, &id).unwrap();
    assert!(matches!(here.write(principal.tenant(), &transaction, || Ok(())), Err(Error::LostWrites)));
    assert!(matches!(here.end(&principal, &id, Ending::Commit), Err(Error::LostWrites)));
    here.end(&principal, &id, Ending::Rollback).unwrap();
}

#[test]
fn a_savepoint_can_be_rolled_back_to_while_nothing_was_written_since() {
    let (principal, transactions) = (Principal::unauthenticated(), transactions());
    let id = transactions.begin(&principal, AS_OF, &no_tables());
    let transaction = transactions.find(&principal, &id).unwrap();
    let write = || transactions.write(principal.tenant(), &transaction, || Ok(())).map(|_| ());
    write().unwrap();
    let savepoint = transactions.begin_savepoint(&principal, &id, "s".to_owned()).unwrap();
    transactions.end_savepoint(&principal, &savepoint, Ending::Rollback).unwrap();
    write().unwrap();
    let refused = transactions.end_savepoint(&principal, &savepoint, Ending::Rollback).unwrap_err();
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    transactions.end_savepoint(&principal, &savepoint, Ending::Commit).unwrap();
    assert!(transactions.end_savepoint(&principal, &id, Ending::Commit).is_err(), "no savepoint");
    assert!(transactions.begin_savepoint(&principal, &savepoint, "t".to_owned()).is_err(), "no transaction");
    assert!(transactions.begin_savepoint(&principal, &id, "n".repeat(256)).is_err());
    transactions.end(&principal, &id, Ending::Commit).unwrap().unwrap();
    let refused = transactions.end_savepoint(&principal, &savepoint, Ending::Commit).unwrap_err();
    assert!(matches!(refused, Error::UnknownTransaction), "{refused}");
}
