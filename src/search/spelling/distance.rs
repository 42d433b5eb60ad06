//! Edit distance, and a filter that rules most words out at the cost of one comparison.

/// The letters of a word as a set of bits.
pub(crate) fn signature(word: &[char]) -> u64 {
    word.iter().fold(0, |bits, c| bits | 1 << (u32::from(*c) % 64))
}

/// Whether two words with these signatures may be within `distance` edits: an edit changes at most two letters of the set.
pub(crate) fn may_be_within(a: u64, b: u64, distance: u32) -> bool {
    (a & !b).count_ones() <= distance && (b & !a).count_ones() <= distance
}

/// The longest word that is compared.
pub(crate) const MAX_CHARS: usize = 40;

/// The number of insertions, deletions, replacements and swaps of neighbours between two words; `None` above `limit`.
pub(crate) fn within(a: &[char], b: &[char], limit: u32) -> Option<u32> {
    if a.len() > MAX_CHARS || b.len() > MAX_CHARS || a.len().abs_diff(b.len()) as u32 > limit {
        return None;
    }
    let mut before_last = [0_u32; MAX_CHARS + 1];
    let mut last = [0_u32; MAX_CHARS + 1];
    let mut row = [0_u32; MAX_CHARS + 1];
    for (j, cell) in last.iter_mut().enumerate() {
        *cell = j as u32;
    }
    for i in 1..=a.len() {
        row[0] = i as u32;
        let mut least = row[0];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + u32::from(a[i - 1] != b[j - 1]);
            let mut cost = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before_last[j - 2] + 1);
            }
            row[j] = cost;
            least = least.min(cost);
        }
        if least > limit {
            return None;
        }
        before_last = last;
        last = row;
    }
    (last[b.len()] <= limit).then_some(last[b.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_counted_and_swaps_are_one() {
        let chars = |word: &str| word.chars().collect::<Vec<_>>();
        for (a, b, distance) in [
            ("наушники", "наушники", Some(0)),
            ("наушнки", "наушники", Some(1)),
            ("iphnoe", "iphone", Some(1)),
            ("котлета", "кат", None),
            ("бутдыочкой", "бутылочкой", Some(2)),
        ] {
            assert_eq!(within(&chars(a), &chars(b), 2), distance, "{a} {b}");
            if let Some(distance) = distance {
                assert!(may_be_within(signature(&chars(a)), signature(&chars(b)), distance));
            }
        }
    }
}
