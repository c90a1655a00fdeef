//! Texts of records: one of its own, as it was built, or a part of a larger one that many share.
//!
//! Why: a journal row or segment may hold thousands of records. Cutting it up costs an allocation and a copy of each
//! while a database opens; sharing it costs that the whole stays in memory as long as one part is in use. Not here: what
//! the text means (`record`).

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// From how many records on a row is shared instead of cut up: of a small one the head would weigh too much.
pub(crate) const SHARED_FROM: usize = 32;

/// A text that is cheap to clone.
///
/// ```
/// use homing::core::text::Text;
/// use std::sync::Arc;
/// let whole = Arc::new("one two".to_owned());
/// assert_eq!(&*Text::part(&whole, 4, 7).unwrap(), "two");
/// assert!(Text::part(&whole, 4, 8).is_none());
///
/// let lines = Arc::new("one\ntwo".to_owned());
/// let (one, two) = (Text::part(&lines, 0, 3).unwrap(), Text::part(&lines, 4, 7).unwrap());
/// assert!(two.follows(&one) && !one.follows(&two) && !two.follows(&Text::from("one")));
/// assert_eq!((one.through(&one), one.through(&two)), ("one", "one\ntwo"));
/// ```
#[derive(Clone)]
pub struct Text(Kind);

#[derive(Clone)]
enum Kind {
    Own(Arc<str>),
    Part { whole: Arc<String>, from: u32, to: u32 },
}

impl Text {
    /// The bytes `from..to` of a text; `None` where they are not there or not whole characters.
    #[must_use]
    pub fn part(whole: &Arc<String>, from: usize, to: usize) -> Option<Self> {
        whole.get(from..to)?;
        Some(Self(Kind::Part { whole: whole.clone(), from: from.try_into().ok()?, to: to.try_into().ok()? }))
    }

    /// Whether it is the line behind that one, in the text that both share.
    #[must_use]
    pub fn follows(&self, line: &Self) -> bool {
        match (&line.0, &self.0) {
            (Kind::Part { whole, to, .. }, Kind::Part { whole: own, from, .. }) => {
                Arc::ptr_eq(whole, own) && to.checked_add(1) == Some(*from) && whole.as_bytes().get(*to as usize) == Some(&b'\n')
            }
            _ => false,
        }
    }

    /// From here to the end of `last`, which is this line or [follows](Self::follows) it, or one that does.
    #[must_use]
    pub fn through(&self, last: &Self) -> &str {
        match (&self.0, &last.0) {
            (Kind::Part { whole, from, .. }, Kind::Part { to, .. }) => whole.get(*from as usize..*to as usize).unwrap_or_default(),
            _ => self,
        }
    }
}

impl Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        match &self.0 {
            Kind::Own(text) => text,
            Kind::Part { whole, from, to } => whole.get(*from as usize..*to as usize).unwrap_or_default(),
        }
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Kind::Own(text.into()))
    }
}

impl From<String> for Text {
    /// Takes the text over as it is: thousands are built at a time, and a copy costs as much as building it.
    fn from(text: String) -> Self {
        match u32::try_from(text.len()) {
            Ok(to) => Self(Kind::Part { whole: Arc::new(text), from: 0, to }),
            Err(_) => Self(Kind::Own(text.into())),
        }
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Text {}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}
