//! Reads an `<offer>` and its children.

use std::io::{self, BufRead};

use quick_xml::events::Event;

use super::super::record::{NAMELESS_ITEM, ReadRecord, Record, RecordProblem};
use super::offer::{DeliveryOption, Field, Offer, is_translation};
use super::{FeedReader, MAX_OFFER_BYTES, attributes, record_name, text, too_long};
use crate::catalog::CatalogId;

impl<R: BufRead> FeedReader<R> {
    pub(super) fn read_offer(
        &mut self,
        [id, available, group_id]: [Option<String>; 3],
        sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
    ) -> io::Result<()> {
        self.offer_count += 1;
        let id = id.map(|id| text::line(&id)).filter(|id| !id.is_empty());
        self.last_record = match &id {
            Some(id) => record_name("offer", id),
            None => format!("offer no. {}", self.offer_count),
        };
        let reason = match &id {
            None => Some("has no id"),
            Some(id) => too_long(id),
        };
        if let Some(reason) = reason {
            self.skip_element()?;
            return sink(Err(RecordProblem::rejected(self.last_record.clone(), reason).with_item(Some(NAMELESS_ITEM))));
        }
        let id = id.unwrap_or_default();
        let item = Some(CatalogId::Id(format!("item_{id}")));
        let Some(mut offer) = self.read_offer_children()? else {
            return sink(Err(RecordProblem::rejected(self.last_record.clone(), "is larger than 4 MB").with_item(item)));
        };
        offer.group_id = group_id;
        offer.available = available.filter(|flag| !flag.trim().is_empty());
        let mut remarks = Vec::new();
        sink(Ok(Record::Item(Box::new(offer.into_record(&id, &mut remarks)))))?;
        remarks.into_iter().try_for_each(|(kind, reason)| {
            sink(Err(RecordProblem { kind, ..RecordProblem::corrected(self.last_record.clone(), reason) }))
        })
    }

    /// Reads the rest of an offer; `None` when it is too large (it is read to its end all the same).
    fn read_offer_children(&mut self) -> io::Result<Option<Offer>> {
        let outer_depth = self.open_elements.len() - 1;
        let start_position = self.position();
        let mut offer = Offer::of_shop(self.shop_url.clone());
        self.skipped_translation = false;
        loop {
            let start = match self.next()? {
                Event::Start(start) => start,
                // Every child is read to its end below, so this is the end of the offer itself.
                Event::End(_) => {
                    offer.is_translated |= self.skipped_translation;
                    return Ok((self.position() - start_position <= MAX_OFFER_BYTES as u64).then_some(offer));
                }
                _ => continue,
            };
            let field = Field::of(start.name().as_ref());
            offer.is_translated |= field.is_none() && is_translation(start.name().as_ref());
            let param = match field {
                Some(Field::Param) => attributes(&start, ["name", "unit"]).map_err(|error| self.malformed(&error))?,
                Some(Field::Price) => {
                    let [from] = attributes(&start, ["from"]).map_err(|error| self.malformed(&error))?;
                    offer.is_lowest_price |= from.is_some_and(|from| from.trim().eq_ignore_ascii_case("true"));
                    [None, None]
                }
                Some(Field::Condition) => {
                    let [kind] = attributes(&start, ["type"]).map_err(|error| self.malformed(&error))?;
                    kind.into_iter().for_each(|kind| offer.add(Field::ConditionType, kind));
                    [None, None]
                }
                Some(Field::Age) => {
                    let [unit] = attributes(&start, ["unit"]).map_err(|error| self.malformed(&error))?;
                    unit.into_iter().for_each(|unit| offer.add(Field::AgeUnit, unit));
                    [None, None]
                }
                _ => [None, None],
            };
            let size = usize::try_from(self.position() - start_position).unwrap_or(usize::MAX);
            let max_text_bytes = MAX_OFFER_BYTES.saturating_sub(size);
            let fits = match field {
                None => self.skip_element().map(|()| true)?,
                Some(Field::Outlets) => self.read_outlets(&mut offer).map(|()| true)?,
                Some(Field::Condition) => self.read_condition(&mut offer, max_text_bytes)?,
                Some(Field::DeliveryOptions) => self.read_options(&mut offer.delivery_options).map(|()| true)?,
                Some(Field::PickupOptions) => self.read_options(&mut offer.pickup_options).map(|()| true)?,
                Some(field) => {
                    let fits = self.read_text(field == Field::Description, max_text_bytes)?;
                    match param {
                        [Some(name), unit] => offer.add_param(&name, unit.as_deref().unwrap_or(""), &self.text),
                        _ if field != Field::Param => offer.add(field, std::mem::take(&mut self.text)),
                        _ => {}
                    }
                    fits
                }
            };
            if !fits || self.position() - start_position > MAX_OFFER_BYTES as u64 {
                while self.open_elements.len() > outer_depth {
                    self.next()?;
                }
                return Ok(None);
            }
        }
    }

    /// Returns false when a text of it is longer than `max_text_bytes`.
    fn read_condition(&mut self, offer: &mut Offer, max_text_bytes: usize) -> io::Result<bool> {
        let outer_depth = self.open_elements.len() - 1;
        let mut fits = true;
        while self.open_elements.len() > outer_depth {
            let Event::Start(start) = self.next()? else { continue };
            let field = match start.name().as_ref() {
                "quality" => Field::ConditionQuality,
                "reason" => Field::ConditionReason,
                _ => continue,
            };
            fits &= self.read_text(false, max_text_bytes)?;
            offer.add(field, std::mem::take(&mut self.text));
        }
        Ok(fits)
    }

    fn read_options(&mut self, options: &mut Vec<DeliveryOption>) -> io::Result<()> {
        let outer_depth = self.open_elements.len() - 1;
        while self.open_elements.len() > outer_depth {
            if let Event::Start(start) = self.next()?
                && start.name().as_ref() == "option"
            {
                let option = attributes(&start, ["cost", "days", "order-before"]);
                options.push(option.map_err(|error| self.malformed(&error))?);
            }
        }
        Ok(())
    }

    fn read_outlets(&mut self, offer: &mut Offer) -> io::Result<()> {
        let outer_depth = self.open_elements.len() - 1;
        while self.open_elements.len() > outer_depth {
            if let Event::Start(start) = self.next()?
                && start.name().as_ref() == "outlet"
            {
                let [instock] = attributes(&start, ["instock"]).map_err(|error| self.malformed(&error))?;
                instock.into_iter().for_each(|instock| offer.add_outlet(instock));
            }
        }
        Ok(())
    }
}
