//! The shop's own synonyms: lines beside the shipped list, and shipped lines that are switched off.

use std::collections::HashSet;

use super::store::RuleLock;
use super::{StoredSynonym, store};
use crate::foundation::error::Result;
pub use crate::search::query::synonyms::SynonymLine;
use crate::search::query::synonyms::shipped;
use crate::tenant::brand::Brand;

/// A shop has at most as many lines of its own.
pub const MAX_OWN_LINES: usize = 5_000;

/// A line of the list that a brand's searches use, or would use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSynonym {
    pub line: String,
    /// Whether it is one of the lines that every brand begins with.
    pub is_shipped: bool,
    /// Whether it is used: a shipped line may be switched off, and an own one was perhaps written for another version of the program.
    pub is_active: bool,
}

/// What a command did to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SynonymChange {
    /// The line is new.
    Added,
    /// A shipped line that was switched off is used again.
    SwitchedOn,
    /// The line is in the list already.
    Unchanged,
    Removed,
    /// A shipped line is no longer used.
    SwitchedOff,
    /// There is no such line.
    NotFound,
    /// The shop has [`MAX_OWN_LINES`].
    TooMany,
}

/// What an import did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SynonymImport {
    pub added: usize,
    pub unchanged: usize,
    /// Own lines that the file does not have.
    pub removed: u64,
}

/// The lines that are used: the shop's own, then the shipped ones that are not switched off.
pub(super) fn effective(stored: &[StoredSynonym]) -> Vec<SynonymLine> {
    let own = stored.iter().filter(|own| own.is_active).filter_map(|own| own.line.clone());
    let known: HashSet<&str> = stored.iter().map(|own| own.key.as_str()).collect();
    let others = shipped().iter().filter(|line| !known.contains(line.key().as_str()));
    own.chain(others.cloned()).collect()
}

/// The shop's own lines in the order in which they were added, then the shipped ones.
///
/// # Errors
/// An unavailable database.
pub async fn list(brand: &Brand) -> Result<Vec<ListedSynonym>> {
    let stored = store::own_synonyms(&brand.postgres().await?).await?;
    let own = stored.iter().filter(|own| own.is_active);
    let own = own.map(|own| ListedSynonym { line: own.text.clone(), is_shipped: false, is_active: own.line.is_some() });
    let own_keys: HashSet<&str> = stored.iter().filter(|own| own.is_active).map(|own| own.key.as_str()).collect();
    let off: HashSet<&str> = stored.iter().filter(|own| !own.is_active).map(|own| own.key.as_str()).collect();
    let others = shipped().iter().map(|line| (line, line.key())).filter(|(_, key)| !own_keys.contains(key.as_str()));
    let others = others.map(|(line, key)| ListedSynonym {
        line: line.text().to_owned(),
        is_shipped: true,
        is_active: !off.contains(key.as_str()),
    });
    Ok(own.chain(others).collect())
}

fn is_shipped(key: &str) -> bool {
    shipped().iter().any(|line| line.key() == key)
}

/// Adds a line, or switches on the shipped one that says the same.
///
/// # Errors
/// An unavailable database.
pub async fn add(brand: &Brand, line: &SynonymLine) -> Result<SynonymChange> {
    let key = line.key();
    let transaction = brand.transaction().await?;
    store::lock(&transaction, brand.name(), RuleLock::Synonyms).await?;
    let change = match (is_shipped(&key), store::own_synonyms(&transaction).await?) {
        (true, stored) => match stored.iter().find(|own| own.key == key) {
            Some(own) if !own.is_active => {
                store::delete_synonym(&transaction, &key).await?;
                SynonymChange::SwitchedOn
            }
            _ => SynonymChange::Unchanged,
        },
        (false, stored) if stored.iter().any(|own| own.key == key && own.is_active) => SynonymChange::Unchanged,
        (false, stored) if stored.len() >= MAX_OWN_LINES => SynonymChange::TooMany,
        (false, _) => {
            store::put_synonyms(&transaction, &[line], true).await?;
            SynonymChange::Added
        }
    };
    transaction.commit().await?;
    Ok(change)
}

/// Removes a line of the shop's own, or switches a shipped one off.
///
/// # Errors
/// An unavailable database.
pub async fn remove(brand: &Brand, line: &SynonymLine) -> Result<SynonymChange> {
    let key = line.key();
    let transaction = brand.transaction().await?;
    store::lock(&transaction, brand.name(), RuleLock::Synonyms).await?;
    let stored = store::own_synonyms(&transaction).await?;
    let is_off = stored.iter().any(|own| own.key == key && !own.is_active);
    let change = match is_shipped(&key) {
        true if is_off => SynonymChange::Unchanged,
        true => {
            store::put_synonyms(&transaction, &[line], false).await?;
            SynonymChange::SwitchedOff
        }
        // A line that an earlier version shipped may have been switched off.
        false if store::delete_synonym(&transaction, &key).await? => SynonymChange::Removed,
        false => SynonymChange::NotFound,
    };
    transaction.commit().await?;
    Ok(change)
}

/// Adds lines, all or none; with `replace`, own lines that are not among them are removed. A shipped line among them is switched on.
/// `None`: the shop would have more than [`MAX_OWN_LINES`].
///
/// # Errors
/// An unavailable database.
pub async fn import(brand: &Brand, lines: &[SynonymLine], replace: bool) -> Result<Option<SynonymImport>> {
    let shipped_keys: HashSet<String> = shipped().iter().map(SynonymLine::key).collect();
    let transaction = brand.transaction().await?;
    store::lock(&transaction, brand.name(), RuleLock::Synonyms).await?;
    let mut stored = store::own_synonyms(&transaction).await?;
    let mut wanted = HashSet::new();
    let distinct: Vec<&SynonymLine> = lines.iter().filter(|line| wanted.insert(line.key())).collect();
    let mut imported = SynonymImport::default();
    if replace {
        let surplus = stored.iter().filter(|own| own.is_active && !wanted.contains(&own.key));
        let surplus: Vec<&str> = surplus.map(|own| own.key.as_str()).collect();
        imported.removed = store::delete_synonyms(&transaction, &surplus).await?;
        stored.retain(|own| !own.is_active || wanted.contains(&own.key));
    }
    let state = |key: &str| stored.iter().find(|own| own.key == key).map(|own| own.is_active);
    let mut added = Vec::new();
    let mut switched_on = Vec::new();
    for line in distinct {
        let key = line.key();
        match (shipped_keys.contains(&key), state(&key)) {
            (true, Some(false)) => switched_on.push(key),
            (false, None | Some(false)) => added.push(line),
            _ => imported.unchanged += 1,
        }
    }
    if stored.len() + added.len() > MAX_OWN_LINES {
        transaction.rollback().await?;
        return Ok(None);
    }
    imported.added = added.len() + switched_on.len();
    store::put_synonyms(&transaction, &added, true).await?;
    store::delete_synonyms(&transaction, &switched_on.iter().map(String::as_str).collect::<Vec<_>>()).await?;
    transaction.commit().await?;
    Ok(Some(imported))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(line: &str, is_active: bool) -> StoredSynonym {
        let line = SynonymLine::parse(line).expect("valid");
        StoredSynonym { key: line.key(), text: line.text().to_owned(), line: Some(line), is_active }
    }

    #[test]
    fn own_lines_come_first_and_lines_that_are_switched_off_are_left_out() {
        let (first, second) = (shipped()[0].clone(), shipped()[1].clone());
        let lines =
            effective(&[stored("самокат, скутер", true), stored(first.text(), false), stored("было, прошло", false)]);
        assert_eq!(lines[0].text(), "самокат, скутер");
        assert_eq!(lines[1], second);
        assert_eq!(lines.len(), shipped().len());
        assert!(!lines.contains(&first));
        let of_another_version = StoredSynonym { line: None, ..stored("самокат, скутер", true) };
        assert_eq!(effective(&[of_another_version]).len(), shipped().len());
    }
}
