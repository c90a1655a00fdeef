//! Texts that two people edited: what each changed against the version both had seen, word by word.
//!
//! The same as transforming one's changes over the other's, in words instead of letters: where both changed the same words,
//! letters of both would make a third word that nobody wrote. There the later version's words stand, and the caller hears
//! of it. Insertions at one place are both kept. Not here: which version is the later one.

use similar::{Algorithm, DiffOp, capture_diff_slices};
use std::collections::HashMap;
use std::ops::Range;

/// More words than this (after what both ends have in common) are compared line by line.
const MOST_WORDS: usize = 3_000;
/// More lines than this are not compared: the later text stands.
const MOST_LINES: usize = 3_000;

/// More words or lines than this, taken out and put in, are not looked for between two texts: what that costs grows with the square of it,
/// and a server merges under a lock. Counted, not timed: every machine comes to the same end.
const MOST_CHANGED: usize = 1_000;

/// What became of two texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::core::merge) struct Merged {
    pub(in crate::core::merge) text: String,
    /// Something that only the earlier version says is not in it.
    pub(in crate::core::merge) lost: bool,
    /// Bytes of the texts that were compared.
    pub(in crate::core::merge) compared: usize,
}

/// Merges two versions of `base`.
pub(in crate::core::merge) fn merge(base: &str, later: &str, earlier: &str) -> Merged {
    let plain = |text: &str| Merged { text: text.to_owned(), lost: false, compared: 0 };
    if later == earlier || earlier == base {
        return plain(later);
    }
    if later == base {
        return plain(earlier);
    }
    let compared = base.len() + later.len() + earlier.len();
    for (split, most) in [(words as fn(&str) -> Vec<&str>, MOST_WORDS), (lines, MOST_LINES)] {
        let (old, late, early) = (split(base), split(later), split(earlier));
        if let (Some(mine), Some(theirs)) = (changes(&old, &late, most), changes(&old, &early, most)) {
            return Merged { compared, ..weave(&old, &mine, &theirs) };
        }
    }
    Merged { lost: true, compared, ..plain(later) }
}

/// Runs of letters and digits, runs of white space, everything else one by one; what only marks a character stays with it.
fn words(text: &str) -> Vec<&str> {
    let kind = |c: char| {
        if c.is_alphanumeric() {
            0
        } else if c.is_whitespace() {
            1
        } else {
            2
        }
    };
    let mut out = Vec::new();
    let mut from = 0;
    let (mut before, mut last, mut half) = (None, ' ', false);
    for (at, c) in text.char_indices() {
        // Two regional indicators are one flag.
        half = is_regional(c) && is_regional(last) && !half;
        let attached = half || !c.is_whitespace() && (is_mark(c) || last == JOINER);
        let now = before.filter(|_| attached).unwrap_or_else(|| kind(c));
        if !attached && before.is_some_and(|before| before != now || now == 2) {
            out.extend(text.get(from..at));
            from = at;
        }
        (before, last) = (Some(now), c);
    }
    out.extend(text.get(from..).filter(|last| !last.is_empty()));
    out
}

/// Makes one of what stands before and behind it: families, professions.
const JOINER: char = '\u{200d}';

fn is_regional(c: char) -> bool {
    matches!(c, '\u{1f1e6}'..='\u{1f1ff}')
}

/// Accents, viramas, vowel signs, joiners, skin tones: nothing without the character before. The standard library knows them by
/// escaping what does not print alone, so no table comes with the module for it.
fn is_mark(c: char) -> bool {
    let tone = matches!(c, '\u{1f3fb}'..='\u{1f3ff}');
    tone || !c.is_ascii() && !c.is_alphanumeric() && c.escape_debug().len() > 1
}

fn lines(text: &str) -> Vec<&str> {
    text.split_inclusive('\n').collect()
}

/// One side's replacement of a run of the base.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change<'t> {
    old: Range<usize>,
    new: Vec<&'t str>,
}

/// What turns `old` into `new`; nothing where there is too much to compare.
fn changes<'t>(old: &[&'t str], new: &[&'t str], most: usize) -> Option<Vec<Change<'t>>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(head..)?, new.get(head..)?);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(|(a, b)| a == b).count();
    let (old, new) = (old.get(..old.len() - tail)?, new.get(..new.len() - tail)?);
    if old.len().max(new.len()) > most {
        return None;
    }
    // Compared by number: a word is read once.
    let mut names: HashMap<&str, u32> = HashMap::new();
    let mut name = |word: &&'t str| {
        let next = names.len() as u32;
        *names.entry(*word).or_insert(next)
    };
    let (before, after): (Vec<u32>, Vec<u32>) = (old.iter().map(&mut name).collect(), new.iter().map(&mut name).collect());
    if !is_near(&before, &after) {
        return None;
    }
    let mut out: Vec<Change<'t>> = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, &before, &after) {
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        let (range, words) = (op.old_range(), new.get(op.new_range())?.to_vec());
        let range = range.start + head..range.end + head;
        match out.last_mut().filter(|last| last.old.end == range.start) {
            Some(last) => {
                last.old.end = range.end;
                last.new.extend(words);
            }
            None => out.push(Change { old: range, new: words }),
        }
    }
    Some(out)
}

/// Whether one becomes the other by no more than [`MOST_CHANGED`] words taken out and put in: Myers' search from the front, which keeps how far it
/// gets on each diagonal and not the way.
fn is_near(old: &[u32], new: &[u32]) -> bool {
    if old.len() + new.len() <= MOST_CHANGED {
        return true;
    }
    let middle = MOST_CHANGED + 1;
    let mut furthest = vec![0_usize; 2 * middle + 1];
    for changed in 0..=MOST_CHANGED {
        for diagonal in (middle - changed..=middle + changed).step_by(2) {
            let (below, above) = (furthest.get(diagonal - 1).copied().unwrap_or(0), furthest.get(diagonal + 1).copied().unwrap_or(0));
            let down = diagonal == middle - changed || diagonal != middle + changed && below < above;
            let from = if down { above } else { below + 1 };
            // A place that is not in the texts leads nowhere.
            let Some(beside) = (from + middle).checked_sub(diagonal) else { continue };
            let same = old.iter().skip(from).zip(new.iter().skip(beside)).take_while(|(a, b)| a == b).count();
            if from + same >= old.len() && beside + same >= new.len() {
                return true;
            }
            if let Some(reached) = furthest.get_mut(diagonal) {
                *reached = from + same;
            }
        }
    }
    false
}

/// Whether two changes touch the same words. Two insertions at one place do not: both can stand there.
fn meet(a: &Range<usize>, b: &Range<usize>) -> bool {
    if a.is_empty() || b.is_empty() {
        // Inside of what the other one replaces; at its edge there is room.
        return a.start > b.start && a.start < b.end || b.start > a.start && b.start < a.end;
    }
    a.start < b.end && b.start < a.end
}

fn weave(old: &[&str], later: &[Change<'_>], earlier: &[Change<'_>]) -> Merged {
    let mut out = String::new();
    let mut lost = false;
    let (mut at, mut mine, mut theirs) = (0, later.iter().peekable(), earlier.iter().peekable());
    loop {
        let (m, t) = (mine.peek().copied(), theirs.peek().copied());
        let first = match (m, t) {
            (None, None) => break,
            (Some(m), Some(t)) if meet(&m.old, &t.old) => {
                // All that hangs together by touching; the later version's side of it stands.
                let mut run = m.old.start.min(t.old.start)..m.old.end.max(t.old.end);
                let (mut ours, mut others) = (Vec::new(), Vec::new());
                loop {
                    let touches = |c: &&&Change<'_>| meet(&c.old, &run) || c.old.start >= run.start && c.old.end <= run.end;
                    if let Some(c) = mine.next_if(|c| touches(&c)) {
                        run.end = run.end.max(c.old.end);
                        ours.push(c);
                    } else if let Some(c) = theirs.next_if(|c| touches(&c)) {
                        run.end = run.end.max(c.old.end);
                        others.push(c);
                    } else {
                        break;
                    }
                }
                push(&mut out, old.get(at..run.start).unwrap_or_default());
                let (kept, dropped) = (side(old, &run, &ours), side(old, &run, &others));
                lost |= kept != dropped;
                out.push_str(&kept);
                at = run.end;
                continue;
            }
            (Some(m), Some(t)) if m.old == t.old => {
                // At one place: the same once, otherwise in an order that does not depend on who merges.
                let (a, b) = (m.new.concat(), t.new.concat());
                push(&mut out, old.get(at..m.old.start).unwrap_or_default());
                out.push_str(if a == b { &a } else { "" });
                if a != b {
                    let (one, two) = if a < b { (&a, &b) } else { (&b, &a) };
                    out.push_str(one);
                    out.push_str(two);
                }
                at = m.old.end;
                mine.next();
                theirs.next();
                continue;
            }
            (Some(m), Some(t)) if (m.old.start, m.old.end) < (t.old.start, t.old.end) => mine.next(),
            (Some(_), None) => mine.next(),
            _ => theirs.next(),
        };
        if let Some(change) = first {
            push(&mut out, old.get(at..change.old.start).unwrap_or_default());
            push(&mut out, &change.new);
            at = change.old.end;
        }
    }
    push(&mut out, old.get(at..).unwrap_or_default());
    Merged { text: out, lost, compared: 0 }
}

/// One version's text of a run of the base.
fn side(old: &[&str], run: &Range<usize>, changes: &[&Change<'_>]) -> String {
    let (mut out, mut at) = (String::new(), run.start);
    for change in changes {
        push(&mut out, old.get(at..change.old.start).unwrap_or_default());
        push(&mut out, &change.new);
        at = change.old.end;
    }
    push(&mut out, old.get(at..run.end).unwrap_or_default());
    out
}

fn push(out: &mut String, words: &[&str]) {
    words.iter().for_each(|word| out.push_str(word));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn merged(base: &str, later: &str, earlier: &str) -> (String, bool) {
        let merged = merge(base, later, earlier);
        (merged.text, merged.lost)
    }

    #[test]
    fn edits_of_different_paragraphs_are_both_there() {
        let base = "Nest boxes emptied.\n\nFan runs hot.\n\nFeed low.";
        let a = "Nest boxes emptied twice.\n\nFan runs hot.\n\nFeed low.";
        let b = "Nest boxes emptied.\n\nFan runs hot.\n\nFeed is low, ordered more.";
        let both = "Nest boxes emptied twice.\n\nFan runs hot.\n\nFeed is low, ordered more.";
        assert_eq!(merged(base, a, b), (both.into(), false));
        assert_eq!(merged(base, b, a), (both.into(), false));
    }

    #[test]
    fn the_same_word_is_the_later_ones_and_that_is_told() {
        let (base, a, b) = ("the hens are calm today", "the hens are loud today", "the hens are ill today, vet called");
        assert_eq!(merged(base, a, b), ("the hens are loud today, vet called".into(), true));
        assert_eq!(merged(base, b, a), ("the hens are ill today, vet called".into(), true));
        assert_eq!(merged(base, a, a), (a.into(), false));
    }

    #[test]
    fn marks_stay_with_the_letters_they_belong_to() {
        for (base, a, b) in [
            ("हिन्दी भाषा", "सिन्दी भाषा", "हिन्दू भाषा"),
            ("cafe\u{301} noir", "cafe\u{301}s noir", "carafe\u{301} noir"),
            ("נָשִׁים", "נָשִׁ", "אֲנָשִׁים"),
            ("ที่นี่", "ที่นั่น", "ที่โน่นนี่"),
            ("👩\u{200d}🌾 up", "👩\u{200d}🚀 up", "👨\u{200d}🌾 up"),
            ("👍🏽", "👍🏿", "👎🏽"),
            ("❤\u{fe0f}", "❤\u{fe0e}", "🖤\u{fe0f}"),
            ("🇩🇪", "🇩🇰", "🇰🇪"),
        ] {
            assert_eq!(merged(base, a, b), (a.into(), true), "{base}");
            assert_eq!(merged(base, b, a), (b.into(), true), "{base}");
        }
        // Two flags are two, and what is no mark stands for itself.
        assert_eq!(merged("🇩🇪🇩🇰", "🇩🇪🇮🇹", "🇫🇷🇩🇰"), ("🇫🇷🇮🇹".into(), false));
        assert_eq!(merged("«a»", "«b»", "(a»"), ("(b»".into(), false));
        assert_eq!(words("a\u{a0}b—c…"), ["a", "\u{a0}", "b", "—", "c", "…"]);
    }

    #[test]
    fn insertions_at_one_place_are_both_kept_in_one_order() {
        let (base, a, b) = ("checked", "checked\nfan two", "checked\nwater low");
        assert_eq!(merged(base, a, b).0, merged(base, b, a).0);
        assert!(!merged(base, a, b).1);
        for part in ["fan two", "water low"] {
            assert!(merged(base, a, b).0.contains(part));
        }
    }

    #[test]
    fn a_deletion_over_an_edit_is_a_loss() {
        assert_eq!(merged("a b c d e", "a e", "a b X d e"), ("a e".into(), true));
        assert_eq!(merged("a b c d e", "a b X d e", "a e"), ("a b X d e".into(), true));
    }

    #[test]
    fn huge_texts_do_not_hang() {
        let long = |word: &str| (0..200_000).map(|n| format!("{word}{n} ")).collect::<String>();
        assert_eq!(merged(&long("a"), &long("b"), &long("c")), (long("b"), true));
    }

    #[test]
    fn texts_that_share_little_are_compared_by_lines_or_not_at_all() {
        let words = |n: usize, word: &str| (0..n).map(|i| format!("{word}{i} ")).collect::<String>();
        // A whole page written anew meets one word that was mended: by words.
        let page = words(400, "a");
        assert!(!merged(&page, &page.replace("a7 ", "b7 "), &page.replace("a390 ", "c390 ")).1);
        assert_eq!(merged(&page, &words(400, "b"), &page.replace("a7 ", "c7 ")), (words(400, "b"), true));
        // A long text with changes at both its ends is near; one that shares nothing is not.
        let long = words(1_400, "a");
        let (ends, middle) = (long.replace("a3 ", "x ").replace("a1390 ", "y "), long.replace("a700 ", "z "));
        assert_eq!(merged(&long, &ends, &middle), (ends.replace("a700 ", "z "), false));
        let lines = |word: &str| format!("title\n{}\nend", words(1_400, word));
        let (base, mine, theirs) = (lines("a"), lines("b"), lines("a").replace("title", "Title"));
        assert_eq!(merged(&base, &mine, &theirs), (mine.replace("title", "Title"), false), "by lines");
        // So many words taken out and put in are looked for, and no more, whatever else the two share.
        for (most, lost) in [(500, false), (501, true)] {
            let mine = (0..most).fold(long.clone(), |text, n| text.replacen(&format!("a{n} "), &format!("b{n} "), 1));
            let both = if lost { mine.clone() } else { mine.replace("a700 ", "z ") };
            assert_eq!(merged(&long, &mine, &middle), (both, lost), "{most}");
        }
    }

    fn note() -> impl Strategy<Value = String> {
        prop::collection::vec(prop::sample::select(&["hen", "egg", " ", "\n", "🐔", "ä", ",", "12"][..]), 0..12).prop_map(|w| w.concat())
    }

    proptest! {
        #[test]
        fn one_sided_edits_are_taken_and_words_of_nobody_do_not_appear(base in note(), a in note(), b in note()) {
            prop_assert_eq!(merged(&base, &a, &base), (a.clone(), false));
            prop_assert_eq!(merged(&base, &base, &a), (a.clone(), false));
            let both = merge(&base, &a, &b);
            let known: Vec<&str> = [&base, &a, &b].into_iter().flat_map(|text| words(text)).collect();
            for word in changes(&[], &words(&both.text), usize::MAX).unwrap().into_iter().flat_map(|c| c.new) {
                // Two words may come to stand together where what was between them went.
                prop_assert!(known.iter().any(|k| word.contains(k)), "{word:?}");
            }
            // What only one of them added is there, unless the result says that something was lost.
            prop_assert_eq!(&both, &merge(&base, &a, &b));
            if !both.lost {
                prop_assert_eq!(both.text, merge(&base, &b, &a).text);
            }
        }
    }
}
