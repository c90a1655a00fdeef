//! The bytes of a row in the parts they lie in: thousands of records are written where they were built, and whoever stores them copies
//! them once. Not here: what the bytes are (`row`), where they go (`storage`).

use crate::core::text::Text;

/// From so many bytes on lines are shared instead of copied.
const SHARED: usize = 64 << 10;
/// What a storage writes behind them.
const BEHIND: usize = 16;

/// Bytes, cheap to clone where most of them are shared texts.
///
/// ```
/// use homing::core::journal::Parts;
/// let mut parts = Parts::from(b"a row".to_vec());
/// parts.push(b" of two");
/// assert_eq!(parts.len(), 12);
/// assert_eq!(parts.into_vec(), b"a row of two");
/// ```
#[derive(Clone, Debug, Default)]
pub struct Parts(Vec<Part>);

#[derive(Clone, Debug)]
enum Part {
    Own(Vec<u8>),
    /// From the beginning of one line to the end of one that follows it.
    Lines(Text, Text),
}

impl Parts {
    /// A head and, each behind a line end, these lines.
    pub(super) fn new(head: Vec<u8>, lines: &[Text]) -> Self {
        let runs: Vec<(&Text, &Text)> = runs(lines).collect();
        let lengths = runs.iter().map(|(first, last)| first.through(last).len());
        let mut own = head;
        own.reserve(lengths.filter(|length| *length < SHARED).sum::<usize>() + runs.len() + BEHIND);
        let mut parts = Vec::new();
        for (first, last) in runs {
            own.push(b'\n');
            let run = first.through(last);
            if run.len() < SHARED {
                own.extend_from_slice(run.as_bytes());
            } else {
                parts.push(Part::Own(std::mem::take(&mut own)));
                parts.push(Part::Lines(first.clone(), last.clone()));
            }
        }
        parts.push(Part::Own(own));
        Self(parts)
    }

    /// How many bytes all have together.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().map(<[u8]>::len).sum()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().all(<[u8]>::is_empty)
    }

    /// Each part, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|part| match part {
            Part::Own(bytes) => bytes.as_slice(),
            Part::Lines(first, last) => first.through(last).as_bytes(),
        })
    }

    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.0.last_mut() {
            Some(Part::Own(own)) => own.extend_from_slice(bytes),
            _ => self.0.push(Part::Own(bytes.to_vec())),
        }
    }

    /// All in one piece.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        match (self.0.len(), self.0.pop()) {
            (1, Some(Part::Own(bytes))) => bytes,
            (_, last) => {
                self.0.extend(last);
                let mut whole = Vec::with_capacity(self.len());
                self.iter().for_each(|part| whole.extend_from_slice(part));
                whole
            }
        }
    }
}

/// First and last of the lines that lie behind each other in one text: thousands of new records are one piece already.
fn runs(lines: &[Text]) -> impl Iterator<Item = (&Text, &Text)> {
    let mut rest = lines.iter().peekable();
    std::iter::from_fn(move || {
        let first = rest.next()?;
        let mut last = first;
        while let Some(next) = rest.next_if(|next| next.follows(last)) {
            last = next;
        }
        Some((first, last))
    })
}

impl From<Vec<u8>> for Parts {
    fn from(bytes: Vec<u8>) -> Self {
        Self(vec![Part::Own(bytes)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn large_runs_are_shared_and_everything_comes_in_its_order() {
        let line = "x".repeat(SHARED / 8);
        let whole = Arc::new(vec![line.as_str(); 16].join("\n"));
        let at = |n: usize| Text::part(&whole, n * (line.len() + 1), n * (line.len() + 1) + line.len()).unwrap();
        let (alone, run) = (Text::from("ä alone"), (0..16).map(at));
        let lines: Vec<Text> = std::iter::once(alone.clone()).chain(run).chain([alone, at(3)]).collect();
        let mut parts = Parts::new(b"head".to_vec(), &lines);
        let texts: Vec<&str> = lines.iter().map(|line| &**line).collect();
        let expected = format!("head\n{}!", texts.join("\n"));
        parts.push(b"!");
        assert_eq!(
            parts.iter().map(<[u8]>::len).collect::<Vec<_>>(),
            ["head\nä alone\n".len(), whole.len(), "\nä alone\n!".len() + line.len()]
        );
        assert_eq!((parts.len(), parts.is_empty()), (expected.len(), false));
        assert!(parts.iter().nth(1).unwrap().as_ptr() == whole.as_ptr(), "not copied");
        assert_eq!(parts.into_vec(), expected.into_bytes());
        assert!(Parts::default().is_empty() && Parts::from(Vec::new()).is_empty());
    }
}
