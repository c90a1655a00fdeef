//! What a database must promise about claims: one per place and number, whoever writes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use crate::Home;
use crate::contract::{NOW, begin, everything, load, write};
use homing::core::authority::{Claim, Effects, Place, Taken};
use homing_server::store::{Store, StoreError, Transaction};

pub(crate) fn place(collection: &str, rule: &str, value: &str) -> Place {
    Place { collection: collection.into(), rule: rule.into(), value: value.into() }
}

fn claim(place: Place, number: u64, id: &str) -> Claim {
    Claim { place, number, id: id.into(), yields: false }
}

async fn tried(store: &impl Store, scope: &str, claims: Vec<Claim>) -> Result<(), StoreError> {
    let mut tx = begin(store, scope).await.unwrap();
    let effects = Effects { claims, ..Effects::none(tx.head().clone()) };
    tx.write(&effects).await?;
    tx.commit().await
}

pub(crate) async fn what_one_record_has_no_other_gets(home: impl Home) {
    let store = home.open().await;
    let (x, y, a) = (place("flocks", "code", "x"), place("flocks", "code", "y"), place("days", "n", "a"));
    let first = vec![claim(x.clone(), 0, "f1"), claim(a.clone(), 1, "d1"), claim(a.clone(), 2, "d2")];
    write(&store, "s", |e| e.claims = first).await;
    let taken = |number: u64, id: &str| Taken { number, id: id.into() };
    let held = [(x.clone(), taken(0, "f1")), (a.clone(), taken(2, "d2"))];
    assert_eq!(load(&store, "s", &everything()).await.taken, held.clone().into(), "of numbers the highest");
    assert!(load(&store, "other", &everything()).await.taken.is_empty());

    // Somebody else has it: nothing of the transaction is kept, and it can be tried again.
    for second in [claim(x.clone(), 0, "f2"), claim(a.clone(), 2, "d3"), claim(a.clone(), 1, "d3")] {
        let why = tried(&store, "s", vec![claim(y.clone(), 0, "f2"), second]).await.unwrap_err();
        assert!(matches!(why, StoreError::Taken) && why.passes(), "{why}");
    }
    let yields = Claim { yields: true, ..claim(x.clone(), 0, "f3") };
    tried(&store, "s", vec![yields]).await.unwrap();
    tried(&store, "other", vec![claim(x.clone(), 0, "f2")]).await.unwrap();
    assert_eq!(load(&store, "s", &everything()).await.taken, held.into());

    // Let go by who has it, not by another; taken in the same transaction.
    write(&store, "s", |e| {
        e.freed = vec![(x.clone(), "f1".into()), (a.clone(), "d2".into())];
        e.claims = vec![claim(x.clone(), 0, "f2")];
    })
    .await;
    write(&store, "s", |e| e.freed = vec![(x.clone(), "f1".into())]).await;
    assert_eq!(load(&store, "s", &everything()).await.taken, [(x, taken(0, "f2")), (a, taken(2, "d2"))].into(), "numbers stay");
    assert_eq!(load(&home.open().await, "s", &everything()).await.head.numbers_from, 0);
    write(&store, "s", |e| e.head = e.head.next_epoch(NOW)).await;
    let head = load(&store, "s", &everything()).await.head;
    assert!(head.numbers_from == head.rev && head.rev > 0);
}
