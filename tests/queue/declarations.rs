//! Client and server that declare a collection differently: what is written there waits, the rest flows, and the app is told.

use crate::harness::{Farm, schema};
use homing::core::error::{Code, Error};
use homing::core::metrics::Health;
use homing::core::schema::Schema;
use homing::engine::{Drained, Notice};
use serde_json::json;

fn errors(drained: &Drained) -> Vec<Error> {
    drained.notices.iter().filter_map(|n| if let Notice::Error(error) = n { Some(error.clone()) } else { None }).collect()
}

#[test]
fn a_collection_declared_otherwise_is_told_once_and_stands_until_the_server_has_judged_it() {
    let mut farm = Farm::new(1, 1);
    let other = Schema::parse(r#"{"collections":{"flocks":{"merge":"manual","title":"Flock"},"settings":{"singleton":true}}}"#).unwrap();
    farm.reload_as(0, other.clone());
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.insert(0, "other", "o", &json!({"n": 1}));
    let told = errors(&farm.sync(0));
    let [error] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((error.code, error.path.as_deref()), (Code::SchemaMismatch, Some("/collections/flocks")));
    assert!(error.message.starts_with("The server declares flocks differently (merge)"), "{}", error.message);
    let trace = error.trace.clone().unwrap();
    assert!((trace.phase, trace.request_id.is_some()) == (Some("push"), true), "{trace:?}");
    let status = farm.tab(0).status();
    assert_eq!((status.health, status.error.as_ref(), status.pending), (Health::Degraded, Some(error), 1), "the rest flows");
    let why = farm.explain(0)["flocks/f"].clone();
    assert!(why.reason.starts_with("The server declares flocks differently (merge)") && why.until.is_some(), "{why:?}");
    // Asked again and again, it is told no more.
    for n in 2..4 {
        farm.pass(120_000);
        farm.insert(0, "flocks", &format!("f{n}"), &json!({"n": n}));
        assert_eq!(errors(&farm.sync(0)), []);
        assert_eq!(farm.tab(0).status().health, Health::Degraded);
    }
    // Judged, it stands no more; broken again, it is told again.
    for (n, declared, told) in [(4, schema(), 0), (5, other, 1), (6, schema(), 0)] {
        farm.reload_as(0, declared);
        farm.pass(120_000);
        farm.insert(0, "flocks", &format!("f{n}"), &json!({"n": n}));
        assert_eq!(errors(&farm.sync(0)).len(), told, "{n}");
        let status = farm.tab(0).status();
        assert_eq!((status.error.is_some(), status.pending), (told == 1, told), "{n}");
    }
    assert_eq!(farm.server().keys().filter(|key| key.starts_with("flocks/")).count(), 6);
}

#[test]
fn a_server_that_is_mended_ends_it_and_another_time_is_told_again() {
    let mut farm = Farm::new(2, 1);
    let other = Schema::parse(r#"{"collections":{"flocks":{"merge":"manual"}}}"#).unwrap();
    farm.reload_as(0, other.clone());
    farm.insert(0, "flocks", "f", &json!({"n": 1}));
    farm.sync(0);
    assert!(farm.tab(0).status().error.is_some());
    farm.network.server.borrow_mut().declare(other);
    farm.pass(120_000);
    assert_eq!(errors(&farm.sync(0)), []);
    let status = farm.tab(0).status();
    assert_eq!((status.error, status.health, status.pending), (None, Health::Ok, 0));
    // Where it is declared otherwise again, that is another time.
    farm.network.server.borrow_mut().declare(schema());
    farm.insert(0, "flocks", "g", &json!({"n": 1}));
    assert_eq!(errors(&farm.sync(0)).len(), 1);
    assert_eq!(farm.tab(0).status().health, Health::Degraded);
}
