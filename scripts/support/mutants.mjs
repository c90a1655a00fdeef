// Lines of the product whose loss a simulated history must notice, broken one at a time in a copy of the tree: nothing of this
// is in shipped code. `find` stands exactly once in its file; where it does not, the mutant is out of date and the run fails.

/** @typedef {{ name: string, file: string, find: string, replace: string }} Mutant */

/** What the queue and the protocol rest on. @type {readonly Mutant[]} */
export const NAMED = [
  { name: 'receipt', file: 'src/core/authority/judge.rs', find: 'if let Some(receipt) = stage.receipt(id) {', replace: 'if let Some(receipt) = stage.receipt(id).filter(|_| false) {' },
  { name: 'freeze', file: 'src/core/replica/fold.rs', find: 'm.attempted = true;', replace: 'm.attempted = false;' },
  { name: 'head check', file: 'src/storage/memory.rs', find: 'let stale = expected_head != self.head();', replace: 'let stale = false && expected_head != self.head();' },
  { name: 'order', file: 'src/core/replica/ready.rs', find: 'let next = passed.insert(&m.key) && !pick.keys.contains(&m.key);', replace: 'let next = passed.insert(&m.key) || true;' },
  { name: 'session drop', file: 'src/engine/mod.rs', find: 'match self.inner.memory.borrow().closed {', replace: 'match false && self.inner.memory.borrow().closed {' },
  { name: 'cursor with its rows', file: 'src/core/replica/response.rs', find: 'if response.asked != self.standing.cursor {\n', replace: 'if response.asked != self.standing.cursor {\n            self.standing.cursor = Some(response.cursor.clone());\n' },
  { name: 'coalesce after send', file: 'src/core/plan/enqueue.rs', find: '!last.attempted && !last.imported', replace: '!last.imported' },
  { name: 'archive', file: 'src/core/authority/policy.rs', find: 'let over = (!self.current).then(|| self.entry(Winner::Mine, Status::Automatic));', replace: 'let over = None;' },
]

/** Rules by their names in the design, and what the simulation found to be wrong before. @type {readonly Mutant[]} */
export const RULES = [
  { name: 'oneflight: the waiting edit takes the acknowledged rev', file: 'src/core/replica/response.rs', find: 'waiting.base_rev = row.and_then(Record::rev);', replace: '' },
  { name: 'oneflight: only an edit made on that content takes it', file: 'src/core/replica/response.rs', find: '.filter(|w| w.on.as_ref() == Some(settled))', replace: '' },
  { name: 'oldbase: the base of an edit on pending content', file: 'src/core/plan/enqueue.rs', find: '(m.base_rev, m.base, m.on) = (last.base_rev, last.base.clone(), Some(last.id.clone())),', replace: '(m.base_rev, m.base, m.on) = (replica.confirmed(key).and_then(Record::rev), replica.confirmed(key).cloned(), Some(last.id.clone())),' },
  { name: 'delserver: the server decides delete against edit', file: 'src/core/authority/policy.rs', find: 'if rec.is_deleted() != row.is_deleted() && !current {', replace: 'if false {' },
  { name: 'missing: a refused cursor is not evaluated', file: 'src/core/authority/mod.rs', find: 'if let Some((reset, new_head)) = page::refuse(request.cursor.as_deref(), claimed, &snapshot.head, now) {', replace: 'if let Some((reset, new_head)) = page::refuse(request.cursor.as_deref(), claimed, &snapshot.head, now).filter(|_| false) {' },
  { name: 'missing: an update of no row is a conflict', file: 'src/core/authority/policy.rs', find: 'Op::Create => Verdict::put(Outcome::Applied, rec.clone(), None),', replace: 'Op::Create | Op::Update => Verdict::put(Outcome::Applied, rec.clone(), None),' },
  { name: 'reset: what a new epoch takes away is archived', file: 'src/core/replica/response.rs', find: 'if sweep.epoch && !old.is_deleted() {', replace: 'if false {' },
  { name: 'reset: an open conflict stays', file: 'src/core/replica/response.rs', find: '.ok().filter(|_| now.is_none())', replace: '.ok().filter(|_| false)' },
  { name: 'reset: what the snapshot lacks goes', file: 'src/core/replica/response.rs', find: 'gone.sort();', replace: 'gone.clear();' },
  { name: 'through: a row in a result stands in', file: 'src/core/replica/response.rs', find: 'self.set_provisional(key, Some(row));', replace: 'let _ = row;' },
  { name: 'ontop: a new record over one that arrived', file: 'src/core/merge/fields.rs', find: '(op != Op::Create).then_some(changed)', replace: 'Some(changed)' },
  { name: 'credel: only while nothing is confirmed', file: 'src/core/plan/enqueue.rs', find: 'replica.confirmed(&last.key).is_some() || ', replace: '' },
  { name: 'put: based on what its caller saw', file: 'src/core/plan/enqueue.rs', find: '(m.base_rev, m.base, m.on) = (seen.rev, None, None);', replace: '' },
  { name: 'put: fields with the same stamp', file: 'src/core/plan.rs', find: 's| merged || s != view.updated_at()', replace: 's| s != view.updated_at()' },
  { name: 'cas: only from where the fold stands', file: 'src/core/replica/response.rs', find: 'if response.asked != self.standing.cursor {', replace: 'if false {' },
  { name: 'dlorder: what waits behind a refused create goes with it', file: 'src/core/replica/response.rs', find: 'm.record = later.record;', replace: 'let _ = later;' },
  { name: 'clone: expired on the first send', file: 'src/engine/cycle.rs', find: '(result.status, reused) = (Outcome::Retry, true);', replace: 'reused = false;' },
  { name: 'clone: reuse takes new ids', file: 'src/engine/sync.rs', find: 'if reused {', replace: 'if reused && false {' },
  { name: 'clampfloor: never below the row', file: 'src/core/authority/judge.rs', find: 'let floor = Stamp::next(now, row.map(|r| r.record.updated_at()));', replace: 'let floor = now;' },
  { name: 'R2: a group has an effect together', file: 'src/core/authority/group.rs', find: '*stage = before;', replace: '' },
  { name: 'R5: the mark', file: 'src/core/authority/judge.rs', find: 'if id.seq <= stage.mark(&id.client) {', replace: 'if false {' },
  { name: 'R6: changes before results', file: 'src/core/replica/response.rs', find: 'let delivered = adopted && !response.has_more;', replace: 'let delivered = !response.has_more;' },
  { name: 'R7: revs above all that were issued', file: 'src/core/authority/mod.rs', find: 'micros(now).max(self.rev.saturating_add(1)).max(claimed.saturating_add(1))', replace: 'self.rev' },
  { name: 'R8: a decision made elsewhere lets go', file: 'src/core/replica/response.rs', find: '            self.conflict_arrived(row);\n', replace: '' },
  { name: 'R9: create on a live row', file: 'src/core/authority/policy.rs', find: ' || m.op == Op::Create && !current && policy != Policy::Fields {', replace: ' {' },
  { name: 'R15: a retry by the next edit keeps what was refused', file: 'src/core/plan/enqueue.rs', find: '        add_pointers(&mut changed, &dead.changed);\n', replace: '        let _ = dead;\n' },
  { name: 'R15: and its base', file: 'src/core/plan/enqueue.rs', find: '        if last.is_none() {\n', replace: '        if false {\n' },
  { name: 'a local conflict closes', file: 'src/core/replica/response.rs', find: 'self.close_local(conflict, at);', replace: 'let _ = conflict;' },
  { name: 'a clamped conflict is known by its name', file: 'src/core/replica/response.rs', find: 'if told || conflict', replace: 'if conflict' },
  { name: 'import over a tombstone', file: 'src/core/plan/import.rs', find: 'Some(view) if record.with', replace: 'Some(view) if view.is_deleted() || record.with' },
]
