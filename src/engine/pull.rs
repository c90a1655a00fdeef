//! Pages: the next one is on its way while this one becomes durable.
//!
//! An answer counts only where the fold stands at the cursor it was asked from (rule *cas*), so asking early can cost a
//! page, never a row. Not here: what an answer means (`sync`), when to pull (`cycle`).

use super::cycle::{Ask, Step};
use super::{Engine, Event, Progress, SyncReport};
use crate::core::protocol::{PullRequest, SyncResponse};
use crate::platform::Platform;
use crate::storage::Journal;
use crate::transport::Transport;
use futures_util::future::{Either, select};
use std::pin::pin;

impl<J: Journal + 'static, T: Transport, P: Platform> Engine<J, T, P> {
    /// Pulls page after page, until there are none, or something can be pushed; whether there is more to do at once.
    pub(super) async fn pull(&self, report: &mut SyncReport) -> Step<bool> {
        let mut request = self.inner.memory.borrow().pull_request(&self.inner.options, self.inner.platform.uuid());
        self.pulling(&request, report);
        let (mut answer, mut sent) = self.ask(Ask::Pull(&request), &request.request_id).await?;
        loop {
            let Some(next) = self.next_page(&answer) else {
                return Ok(self.apply(answer, request.cursor, sent, None, report).await?.more);
            };
            (answer, sent) = {
                // First in line: it is to leave before the work on this page begins.
                let ahead = pin!(self.ask(Ask::Pull(&next), &next.request_id));
                let (taken, ahead) = match select(ahead, pin!(self.apply(answer, request.cursor, sent, None, report))).await {
                    Either::Left((ahead, applying)) => (applying.await?, Either::Left(ahead)),
                    Either::Right((taken, ahead)) => (taken?, Either::Right(ahead)),
                };
                self.check_say()?;
                // Another tab was faster, or there was no room: what is on its way continues something else.
                if !taken.more || self.read(|r| r.standing().cursor != next.cursor) {
                    return Ok(taken.more);
                }
                self.pulling(&next, report);
                match ahead {
                    Either::Left(answer) => answer?,
                    Either::Right(ahead) => ahead.await?,
                }
            };
            request = next;
        }
    }

    /// The request for what follows `answer`, unless there is nothing, or what waits to be sent goes first.
    fn next_page(&self, answer: &SyncResponse) -> Option<PullRequest> {
        if !answer.has_more || self.can_push() {
            return None;
        }
        let request = self.inner.memory.borrow().pull_request(&self.inner.options, self.inner.platform.uuid());
        Some(PullRequest { cursor: Some(answer.cursor.clone()), ..request })
    }

    fn pulling(&self, request: &PullRequest, report: &mut SyncReport) {
        report.request_id.clone_from(&request.request_id);
        self.step(Event::Pull);
        {
            let mut memory = self.inner.memory.borrow_mut();
            memory.progress = Some(Progress { phase: "pull", done: report.pulled, total: None });
            memory.report.status = true;
        }
        self.inner.platform.notify();
    }
}
