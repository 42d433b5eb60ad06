//! The categories of a YML feed.

use std::io::{self, BufRead};

use super::super::record::{CategoryRecord, Parent, ReadRecord, Record, RecordProblem, number_of};
use super::{FeedReader, MAX_NAME_CHARS, MAX_OFFER_BYTES, NO_ITEM, html, record_name, text, too_long};
use crate::catalog::CatalogId;

impl<R: BufRead> FeedReader<R> {
    pub(super) fn read_category(
        &mut self,
        [id, parent]: [Option<String>; 2],
        sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
    ) -> io::Result<()> {
        self.category_count += 1;
        self.read_text(false, MAX_OFFER_BYTES)?;
        let name = text::non_empty_line(&html::decode_again(&self.text), MAX_NAME_CHARS);
        let Some(id) = id.map(|id| text::line(&id)).filter(|id| !id.is_empty()) else {
            let name = name.map(|name| format!(" ({name})")).unwrap_or_default();
            let record = format!("category no. {}{name}", self.category_count);
            return sink(Err(RecordProblem::rejected(record, "has no id").with_item(NO_ITEM)));
        };
        self.last_record = record_name("category", &id);
        let repeated = || {
            Some("the id occurs twice in the feed: the first one is used").filter(|_| self.category_ids.contains(&id))
        };
        if let Some(reason) = too_long(&id).or_else(repeated) {
            return sink(Err(RecordProblem::rejected(self.last_record.clone(), reason).with_item(NO_ITEM)));
        }
        self.category_ids.insert(id.clone());
        let parent = parent.map(|parent| text::line(&parent)).filter(|parent| !parent.is_empty() && parent != "0");
        let name = name.filter(|name| name.contains(char::is_alphanumeric));
        let is_nameless = name.is_none();
        sink(Ok(Record::Category(CategoryRecord {
            number: Some(number_of("category", &id)),
            id: Some(format!("{}_{id}", if parent.is_some() { "sub" } else { "cat" })),
            parent: Some(match parent {
                Some(parent) => Parent::Of(CatalogId::Number(number_of("category", &parent))),
                None => Parent::Top,
            }),
            name,
            fallback_name: Some(format!("Категория {id}")),
            ..CategoryRecord::default()
        })))?;
        if is_nameless {
            sink(Err(RecordProblem::corrected(self.last_record.clone(), "has no name: its id is used as its name")))?;
        }
        Ok(())
    }
}
