//! Random histories: what was asked to be loaded is enough, repeats change nothing, and no value is lost.

use super::*;
use crate::core::conflict::Status;
use crate::core::protocol::WireChanges;
use proptest::prelude::*;
use proptest::test_runner::Config;

#[derive(Clone)]
struct Push {
    client: u8,
    collection: &'static str,
    record: u8,
    op: Op,
    /// Base on: nothing, the row of now, the row as this client last saw it.
    base: u8,
    stamp: i64,
    imported: bool,
    group: bool,
    depends: bool,
    resolves: bool,
    rows: bool,
    settle: bool,
}

impl std::fmt::Debug for Push {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Push { client, collection, record, op, base, stamp, .. } = self;
        write!(f, "c{client} {op:?} {collection}/{record} base {base} at {stamp}")?;
        let flags = [("imported", self.imported), ("group", self.group), ("depends", self.depends), ("resolves", self.resolves)];
        let flags = flags.into_iter().chain([("rows", self.rows), ("settle", self.settle)]).filter(|(_, on)| *on);
        flags.into_iter().try_for_each(|(name, _)| write!(f, " {name}"))
    }
}

fn pushes() -> impl Strategy<Value = Vec<Vec<Push>>> {
    let collections = prop::sample::select(&["flocks", "settings", "facts", "first", "theirs", "manual", "orders", "mine"][..]);
    let op = prop_oneof![2 => Just(Op::Create), 6 => Just(Op::Update), 2 => Just(Op::Delete), 1 => Just(Op::Undelete)];
    let flags = prop::array::uniform6(prop::bool::weighted(0.12));
    let one =
        (0..3u8, collections, 0..2u8, op, 0..3u8, 0..40i64, flags).prop_map(|(client, collection, record, op, base, stamp, f)| Push {
            client,
            collection,
            record,
            op,
            base,
            stamp: if f[5] { 9_000_000 + stamp } else { stamp },
            imported: f[0] && op == Op::Create,
            group: f[1],
            depends: f[2],
            resolves: f[3] || f[4],
            rows: f[4],
            settle: f[2],
        });
    prop::collection::vec(prop::collection::vec(one, 1..4), 4..14)
}

/// The history so far: the farm, what each client saw, which values may go.
struct History {
    farm: Farm,
    seen: HashMap<(u8, Key), Record>,
    values: Vec<(Key, i64)>,
    replaced: std::collections::HashSet<i64>,
    count: i64,
    seq: [u64; 3],
}

/// Every value a version of a record holds: `a`, `b`, anywhere.
fn values(record: &Record) -> Vec<i64> {
    body(record).as_object().unwrap().values().filter_map(Value::as_i64).collect()
}

impl History {
    fn key(&self, p: &Push) -> Key {
        let id = if p.collection == "orders" { format!("optimistic_{}", p.record) } else { format!("r{}", p.record) };
        Key::new(p.collection, id)
    }

    /// Where the server keeps that record.
    fn stored(&self, key: &Key) -> Option<Record> {
        let all = self.farm.server.everything(SCOPE)?;
        let id = all.ids.get(&key.id).cloned().unwrap_or_else(|| key.id.clone());
        all.rows.get(&Key::new(key.collection.clone(), id)).map(|r| r.record.clone())
    }

    fn mutation(&mut self, p: &Push) -> WireMutation {
        let key = self.key(p);
        let now = self.stored(&key);
        let base = match p.base {
            0 => None,
            1 => now.clone(),
            _ => self.seen.get(&(p.client, key.clone())).cloned(),
        };
        if let Some(now) = now {
            self.seen.insert((p.client, key.clone()), now);
        }
        self.count += 1;
        let client = usize::from(p.client);
        self.seq[client] += 1;
        let field = if self.count % 2 == 0 { "a" } else { "b" };
        let mut content = base.as_ref().map_or(json!({}), body);
        let was = content.get(field).cloned();
        content[field] = self.count.into();
        if p.collection == "flocks" {
            content["order"] = "optimistic_0".into();
        }
        let id = format!("c{}:{}", p.client, self.seq[client]);
        let open = self.farm.archive().into_iter().find(|c| c.status == Status::Unresolved && c.about() == key);
        let changed = p.collection == "settings" && p.op == Op::Update;
        let wire = mutation(&id, p.op, (&key.collection, &key.id), p.stamp, &content);
        WireMutation {
            base_rev: base.as_ref().and_then(Record::rev),
            changed: changed.then(|| vec![format!("/{field}")]),
            was: changed.then(|| was.map(|v| (format!("/{field}"), v)).into_iter().collect()),
            imported: p.imported,
            group: p.group.then(|| "g".into()),
            depends_on: if p.depends {
                vec![format!("c{}:{}", (p.client + 1) % 3, self.seq[usize::from((p.client + 1) % 3)].max(1))]
            } else {
                vec![]
            },
            resolves: open.filter(|_| p.resolves).map(|c| c.id),
            ..wire
        }
    }

    fn step(&mut self, pushes: &[Push]) -> Result<(), TestCaseError> {
        self.farm.now += 7;
        let rows = pushes.iter().any(|p| p.rows);
        let wires: Vec<WireMutation> = pushes.iter().map(|p| self.mutation(p)).collect();
        let mut push = request(wires.clone());
        push.client_id = format!("c{}", pushes[0].client);
        if pushes[0].settle {
            push.settled_through = self.seq[usize::from(pushes[0].client)].saturating_sub(4);
        }
        if rows {
            let records =
                |w: &WireMutation| WireChanges { collection: w.collection.clone(), records: w.record.clone().into_iter().collect() };
            push.changes = push.mutations.drain(..).map(|w| records(&w)).collect();
        }
        let before = self.farm.server.everything(SCOPE).unwrap_or_else(|| Snapshot::new(Head::first(Stamp(self.farm.now))));
        let schema = Schema::parse(SCHEMA).unwrap();
        let whole = evaluate(&schema, &push, &before, Stamp(self.farm.now));
        let answer = self.farm.answer(&push);
        // Enough was loaded: the same verdicts, the same effects as with everything at hand.
        let text = |r: &[WireResult]| serde_json::to_string(r).unwrap();
        prop_assert_eq!(text(&whole.results), text(&answer.results));
        let after = self.farm.server.everything(SCOPE).unwrap();
        prop_assert_eq!(&whole.effects.head, &after.head);
        prop_assert!(whole.effects.rows.is_sorted_by_key(|w| w.row.record.rev()));
        for write in &whole.effects.rows {
            prop_assert_eq!(after.rows.get(&write.key), Some(&write.row));
        }
        self.account(&wires, &before, &after, &answer);
        self.lost_nothing(&after)?;
        // The same request again, whatever happened to its answer.
        let settled = PushRequest { mutations: push.mutations.clone(), ..push.clone() };
        let again = self.farm.answer(&settled);
        for (first, second) in answer.results.iter().zip(&again.results) {
            if first.status.is_final() && first.status != Outcome::Expired && first.code.as_deref() != Some("mutation-reuse") {
                prop_assert_eq!((first.status, first.rev, second.replayed), (second.status, second.rev, true));
            }
        }
        let unchanged = answer.results.iter().all(|r| r.status.is_final());
        let repeated = self.farm.server.everything(SCOPE).unwrap();
        prop_assert!(!unchanged || repeated == after, "a repeat changed something");
        // What was blocked by a later one of the same request goes now.
        self.account(&wires, &after, &repeated, &again);
        self.lost_nothing(&repeated)?;
        let waiting: Vec<Key> = self.farm.archive().iter().filter(|c| c.status == Status::Unresolved).map(Conflict::about).collect();
        prop_assert_eq!(
            waiting.len(),
            waiting.iter().collect::<std::collections::HashSet<_>>().len(),
            "one unresolved conflict per record"
        );
        Ok(())
    }

    /// Notes the new values, and those that somebody replaced who had seen them.
    fn account(&mut self, wires: &[WireMutation], before: &Snapshot, after: &Snapshot, answer: &SyncResponse) {
        for wire in wires {
            let status = answer.results.iter().find(|r| r.id == wire.id).map(|r| (r.status, r.replayed));
            // Only what the server took in; rows pushed without mutations all count.
            if matches!(status, Some((Outcome::Rejected | Outcome::Blocked | Outcome::Retry | Outcome::Expired, _)))
                || status.is_some_and(|s| s.1)
            {
                continue;
            }
            let at = |s: &Snapshot| {
                let id = s.ids.get(wire.record_id.as_str()).cloned().unwrap_or_else(|| wire.record_id.as_str().into());
                s.rows.get(&Key::new(wire.collection.as_str(), id)).map(|r| r.record.clone())
            };
            let carried = Record::parse(wire.record.as_ref().unwrap().get()).unwrap();
            let id = after.ids.get(wire.record_id.as_str()).cloned().unwrap_or_else(|| wire.record_id.as_str().into());
            // A delete on nothing, and of two deletions the same body, carry nothing anybody could miss.
            let deleted = wire.op == Op::Delete && at(before).is_none_or(|r| r.is_deleted());
            let accepted = wire.resolves.is_some() && status.is_some_and(|s| s.0 == Outcome::Applied);
            if !deleted && status.is_some() && !accepted {
                self.values.extend(values(&carried).into_iter().map(|v| (Key::new(wire.collection.as_str(), id.clone()), v)));
            }
            // What it says that its author saw where he changed it, he replaced knowingly, whatever else came in between.
            self.replaced.extend(wire.was.iter().flat_map(serde_json::Map::values).filter_map(Value::as_i64));
            // Made on exactly this row: its author saw what is gone now. A decision was made looking at both.
            if let Some(row) = at(before)
                && (wire.base_rev == row.rev() || wire.resolves.is_some())
            {
                self.replaced.extend(values(&row));
            }
        }
    }

    fn lost_nothing(&self, after: &Snapshot) -> Result<(), TestCaseError> {
        let archive = self.farm.archive();
        for (key, value) in &self.values {
            let row = after.rows.get(key).is_some_and(|r| values(&r.record).contains(value));
            let kept = archive.iter().flat_map(|c| [&c.mine, &c.theirs]).flatten().any(|r| values(r).contains(value));
            let seen = self.replaced.contains(value);
            prop_assert!(row || kept || seen, "{key} {value} is nowhere");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(Config { cases: 10_000, failure_persistence: None, ..Config::default() })]
    #[test]
    fn histories_keep_their_promises(history in pushes()) {
        let mut run = History { farm: Farm::new(), seen: HashMap::new(), values: Vec::new(), replaced: Default::default(), count: 0, seq: [0; 3] };
        for pushes in &history {
            run.step(pushes)?;
        }
    }
}
