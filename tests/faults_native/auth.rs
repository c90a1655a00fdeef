//! F8: tokens that expire, are refreshed, or cannot be; accounts and protocols that are refused.

use crate::wire::*;
use homing::core::error::Code;
use homing::engine::{Notice, Options};

fn logged_in(farm: &Farm, options: Options) -> Device {
    let d = farm.device(options);
    d.wire.valid.set(1);
    farm.pass(1_000);
    d.sync(farm).unwrap();
    d.wire.take();
    d
}

#[test]
fn f8_a_401_in_the_middle_of_a_push_with_twenty_calls_at_once_refreshes_once() {
    let farm = Farm::new(8);
    let d = logged_in(&farm, manual());
    d.insert(names(1200));
    farm.world.run(Box::pin(d.engine.durable()));
    // The token expires after the first batch; a fresh one takes three seconds.
    d.wire.fresh.set(Some((2, 3_000)));
    let valid = d.wire.valid.clone();
    let mut pushes = 0;
    d.wire.does(move |s| {
        pushes += u32::from(s.push);
        if pushes == 1 {
            valid.set(2);
        }
        Act::Pass
    });
    let calls: Vec<_> = (0..20).map(|_| d.start()).collect();
    farm.pass(20_000);
    let reports: Vec<_> = calls.iter().map(|c| c.borrow().clone().unwrap().unwrap().request_id).collect();
    assert!(reports.iter().all(|id| *id == reports[0]), "one cycle for all");
    assert_eq!((d.wire.refreshes.get(), d.pending(), farm.server_rows()), (1, 0, 1200));
    let seen = d.wire.take();
    let at = seen.iter().position(|s| s.token == 2).unwrap();
    // Refused and sent again: the same mutations from the same cursor.
    assert_eq!((&seen[at - 1].records, &seen[at - 1].cursor), (&seen[at].records, &seen[at].cursor));
    assert_eq!(d.engine.figures().failures, 1);
    farm.check_once();
}

#[test]
fn f8_without_a_fresh_token_syncing_is_held_and_resumes_when_there_is_one() {
    let farm = Farm::new(81);
    let d = logged_in(&farm, Options::default());
    let _ = d.engine.drain();
    d.wire.valid.set(2);
    d.insert(names(5));
    farm.pass(1_000);
    assert_eq!((d.state(), d.wire.refreshes.get(), d.wire.take().len()), ("auth-required", 1, 1));
    let told: Vec<_> =
        d.engine.drain().notices.into_iter().filter(|n| matches!(n, Notice::Auth(e) if e.code == Code::AuthRequired)).collect();
    assert_eq!(told.len(), 1);
    // Nothing leaves with a token that was refused, whatever happens; what is written is kept.
    d.engine.online(true);
    d.engine.visible(true);
    d.insert((0..5).map(|n| format!("g{n}")));
    farm.pass(10 * 60_000);
    let refused = d.sync(&farm).unwrap_err();
    assert_eq!((refused.code, d.wire.requests(), d.pending(), d.state()), (Code::AuthRequired, 0, 10, "auth-required"));
    assert_eq!(d.wire.refreshes.get(), 2, "the app is asked for a fresh one again only when it asks for a sync");
    // The user logs in: no call is needed.
    d.wire.token.set(2);
    farm.pass(61_000);
    assert_eq!((d.pending(), farm.server_rows(), d.state()), (0, 10, "idle"));
    assert!(d.engine.drain().notices.iter().all(|n| !matches!(n, Notice::Auth(_))));
    farm.check_once();
}

#[test]
fn f8_a_refresh_that_hangs_is_not_waited_for_for_ever() {
    let farm = Farm::new(82);
    let d = logged_in(&farm, manual());
    d.wire.valid.set(2);
    d.wire.fresh.set(Some((2, 3_600_000)));
    let before = farm.world.now();
    let error = d.sync(&farm).unwrap_err();
    assert_eq!((error.code, d.state()), (Code::AuthRequired, "auth-required"));
    assert!((30_000..31_000).contains(&(farm.world.now() - before)));
}

#[test]
fn a_fresh_token_that_is_refused_too_is_not_refreshed_again() {
    let farm = Farm::new(83);
    let d = logged_in(&farm, manual());
    d.wire.valid.set(9);
    d.wire.fresh.set(Some((2, 10)));
    assert_eq!(d.sync(&farm).unwrap_err().code, Code::AuthRequired);
    assert_eq!((d.wire.refreshes.get(), d.wire.take().len(), d.state()), (1, 2, "auth-required"));
}

#[test]
fn a_403_holds_with_the_queue_kept_and_is_looked_at_again() {
    for (status, state, code) in [
        (403, "forbidden", Code::Forbidden),
        (404, "incompatible", Code::ProtocolUnsupported),
        (426, "incompatible", Code::ProtocolUnsupported),
    ] {
        let farm = Farm::new(84);
        let d = logged_in(&farm, Options::default());
        let _ = d.engine.drain();
        d.wire.does(move |_| http(status));
        d.insert(names(5));
        farm.pass(1_000);
        assert_eq!((d.state(), d.wire.take().len(), d.pending()), (state, 1, 5));
        assert!(d.engine.drain().notices.iter().any(|n| matches!(n, Notice::Error(e) if e.code == code)));
        let refused = d.sync(&farm).unwrap_err();
        assert_eq!((refused.code, refused.trace.unwrap().retry_at.is_some(), d.wire.requests()), (code, true, 0));
        farm.pass(3_600_000);
        assert!((10..=30).contains(&d.wire.take().len()), "slowly");
        d.wire.does(|_| Act::Pass);
        d.engine.resume();
        farm.pass(1_000);
        assert_eq!((d.state(), d.pending(), farm.server_rows()), ("idle", 0, 5), "{status}");
    }
}
