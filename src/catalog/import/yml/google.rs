//! Google's product feeds, in RSS and Atom: maps their elements onto those of an offer.

use std::io::{self, BufRead};

use jiff::Timestamp;
use quick_xml::events::Event;

use super::super::category_path::CategoryPaths;
use super::super::reading::ReadRules;
use super::super::record::{NAMELESS_ITEM, ProblemKind, ReadRecord, Record, RecordProblem};
use super::offer::{Field, Offer, OfferProblem};
use super::{FeedReader, MAX_OFFER_BYTES, record_name, text, too_long};
use crate::catalog::CatalogId;

/// Elements whose text is that of a field.
const FIELDS: [(&str, Field); 11] = [
    ("title", Field::Name),
    ("description", Field::Description),
    ("summary", Field::Description),
    ("image_link", Field::Picture),
    ("additional_image_link", Field::Picture),
    ("brand", Field::Vendor),
    ("gtin", Field::Barcode),
    ("mpn", Field::VendorCode),
    ("quantity", Field::Count),
    ("inventory", Field::Count),
    ("sell_on_google_quantity", Field::Count),
];

/// Elements that become parameters.
const PARAMS: [(&str, &str); 7] = [
    ("color", "Цвет"),
    ("size", "Размер"),
    ("material", "Материал"),
    ("pattern", "Рисунок"),
    ("gender", "Пол"),
    ("age_group", "Возраст"),
    ("product_weight", "Вес"),
];

/// The children of an item, without their namespace; `product_detail` as its name and value.
#[derive(Default)]
struct GoogleItem {
    texts: Vec<(String, String)>,
    details: Vec<(String, String)>,
}

impl GoogleItem {
    fn first(&self, name: &str) -> Option<&str> {
        self.texts.iter().filter(|(of, _)| of == name).map(|(_, text)| text.trim()).find(|text| !text.is_empty())
    }

    /// Converts the item; the second value is the path of its category.
    fn into_offer(self, now: Timestamp, remarks: &mut Vec<OfferProblem>) -> (Offer, Option<String>) {
        let mut offer = Offer::default();
        let category = self.first("product_type").or_else(|| self.first("google_product_category")).map(str::to_owned);
        self.set_price(&mut offer, now, remarks);
        // What can be ordered before it is there is not in stock.
        let availability = self.first("availability").map(|word| word.replace([' ', '-'], "_").to_lowercase());
        offer.available = availability.map(|word| match word.as_str() {
            "preorder" | "pre_order" | "backorder" | "back_order" => "false".to_owned(),
            _ => word,
        });
        for (name, text) in self.texts {
            if let Some((_, key)) = PARAMS.iter().find(|(of, _)| *of == name) {
                offer.add_param(key, "", &text);
            } else if let Some((_, field)) = FIELDS.iter().find(|(of, _)| *of == name) {
                offer.add(*field, text);
            }
        }
        self.details.iter().for_each(|(name, value)| offer.add_param(name, "", value));
        (offer, category)
    }

    fn set_price(&self, offer: &mut Offer, now: Timestamp, remarks: &mut Vec<OfferProblem>) {
        let Some((price, currency)) = self.first("price").map(split_currency) else { return };
        offer.add(Field::Price, price.to_owned());
        if let Some(currency) = currency {
            offer.add(Field::Currency, currency.to_owned());
        }
        let Some((sale_price, sale_currency)) = self.first("sale_price").map(split_currency) else { return };
        let period = self.first("sale_price_effective_date");
        if sale_currency.is_some() && sale_currency != currency {
            remarks.push((ProblemKind::Incomplete, "sale_price is in another currency than the price: left out"));
            return;
        }
        match period.map(|period| is_within(period, now)) {
            Some(None) => {
                remarks.push((
                    ProblemKind::Incomplete,
                    "sale_price_effective_date is not understood: sale_price is left out",
                ));
            }
            Some(Some(false)) => remarks.push((ProblemKind::Corrected, "sale_price is not in force now: left out")),
            None | Some(Some(true)) => offer.reduce_price(sale_price.to_owned()),
        }
    }
}

/// `1990.00 RUB` and `RUB 1990.00` as number and currency.
fn split_currency(text: &str) -> (&str, Option<&str>) {
    let is_code = |word: &str| word.len() == 3 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let (start, end) = (text.char_indices().nth(3).map_or(0, |(at, _)| at), text.char_indices().rev().nth(2));
    let end = end.map_or(text.len(), |(at, _)| at);
    if is_code(&text[end..]) {
        (text[..end].trim_end(), Some(&text[end..]))
    } else if is_code(&text[..start]) {
        (text[start..].trim_start(), Some(&text[..start]))
    } else {
        (text, None)
    }
}

/// Whether a moment is in a period such as `2026-02-24T11:07+0300/2026-02-29T23:07+0300`; `None` when it is not understood.
fn is_within(period: &str, now: Timestamp) -> Option<bool> {
    let time = |text: &str| {
        let text = text.trim();
        let formats = ["%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M%z"];
        text.parse().ok().or_else(|| formats.iter().find_map(|format| Timestamp::strptime(format, text).ok()))
    };
    let (start, end) = period.split_once('/')?;
    let (start, end): (Timestamp, Timestamp) = (time(start)?, time(end)?);
    Some((start..=end).contains(&now))
}

impl<R: BufRead> FeedReader<R> {
    /// Reads the rest of `<rss>` or `<feed>`.
    pub(super) fn read_google(
        &mut self,
        rules: &ReadRules,
        sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut categories = CategoryPaths::default();
        loop {
            let name = match self.next()? {
                Event::Start(start) => Some(start.name().as_ref().to_owned()),
                Event::End(_) => None,
                _ => continue,
            };
            match name.as_deref() {
                None if self.open_elements.is_empty() => return Ok(()),
                None | Some("channel") => {}
                Some("item" | "entry") => self.read_google_item(rules, &mut categories, sink)?,
                _ => self.skip_element()?,
            }
        }
    }

    fn read_google_item(
        &mut self,
        rules: &ReadRules,
        categories: &mut CategoryPaths,
        sink: &mut dyn FnMut(ReadRecord) -> io::Result<()>,
    ) -> io::Result<()> {
        self.offer_count += 1;
        self.last_record = format!("item no. {}", self.offer_count);
        let Some(item) = self.read_google_children()? else {
            // Its id may be in the part that was not read.
            return sink(Err(RecordProblem::rejected(self.last_record.clone(), "is larger than 4 MB")));
        };
        let id = item.first("id").map(text::line).filter(|id| !id.is_empty());
        let reason = match &id {
            None => Some("has no id: expected g:id"),
            Some(id) => too_long(id),
        };
        if let Some(reason) = reason {
            return sink(Err(RecordProblem::rejected(self.last_record.clone(), reason).with_item(Some(NAMELESS_ITEM))));
        }
        let id = id.unwrap_or_default();
        self.last_record = record_name("item", &id);
        let mut remarks = Vec::new();
        let (offer, path) = item.into_offer(rules.now, &mut remarks);
        let mut record = offer.into_record(&id, &mut remarks);
        let category: Option<CatalogId> = match path {
            Some(path) => categories.resolve(&path, sink)?,
            None => None,
        };
        record.categories = category.into_iter().collect();
        sink(Ok(Record::Item(Box::new(record))))?;
        remarks.into_iter().try_for_each(|(kind, reason)| {
            sink(Err(RecordProblem { kind, ..RecordProblem::corrected(self.last_record.clone(), reason) }))
        })
    }

    /// Reads the rest of an item; `None` when it is too large (it is read to its end all the same).
    fn read_google_children(&mut self) -> io::Result<Option<GoogleItem>> {
        let outer_depth = self.open_elements.len() - 1;
        let start_position = self.position();
        let mut item = GoogleItem::default();
        let mut fits = true;
        while self.open_elements.len() > outer_depth {
            let Event::Start(start) = self.next()? else { continue };
            let name = without_prefix(start.name().as_ref()).to_owned();
            fits &= self.position() - start_position <= MAX_OFFER_BYTES as u64;
            if !fits {
                self.skip_element()?;
            } else if name == "product_detail" {
                let detail = self.read_google_detail()?;
                item.details.extend(detail);
            } else if is_read(&name) {
                fits &= self.read_text(name == "description", MAX_OFFER_BYTES)?;
                item.texts.push((name, std::mem::take(&mut self.text)));
            } else {
                self.skip_element()?;
            }
        }
        Ok(Some(item).filter(|_| fits))
    }

    /// Reads the rest of `<product_detail>`.
    fn read_google_detail(&mut self) -> io::Result<Option<(String, String)>> {
        let outer_depth = self.open_elements.len() - 1;
        let (mut name, mut value) = (String::new(), String::new());
        while self.open_elements.len() > outer_depth {
            let Event::Start(start) = self.next()? else { continue };
            match without_prefix(start.name().as_ref()) {
                "attribute_name" => {
                    self.read_text(false, MAX_OFFER_BYTES)?;
                    name = std::mem::take(&mut self.text);
                }
                "attribute_value" => {
                    self.read_text(false, MAX_OFFER_BYTES)?;
                    value = std::mem::take(&mut self.text);
                }
                _ => self.skip_element()?,
            }
        }
        Ok(Some((name, value)).filter(|(name, value)| !name.is_empty() && !value.is_empty()))
    }
}

fn without_prefix(name: &str) -> &str {
    name.split_once(':').map_or(name, |(_, name)| name)
}

/// Whether the text of an element is read.
fn is_read(name: &str) -> bool {
    const OTHERS: [&str; 7] = [
        "id",
        "price",
        "sale_price",
        "sale_price_effective_date",
        "availability",
        "product_type",
        "google_product_category",
    ];
    OTHERS.contains(&name) || FIELDS.iter().any(|(of, _)| *of == name) || PARAMS.iter().any(|(of, _)| *of == name)
}

#[cfg(test)]
mod tests {
    use super::super::super::record::{ItemRecord, Stock};
    use super::super::read;
    use super::*;

    fn read_feed(items: &str) -> Vec<ReadRecord> {
        let feed = format!(
            "<rss xmlns:g='http://base.google.com/ns/1.0' version='2.0'><channel><title>Shop</title><link>x</link>{items}</channel></rss>"
        );
        let now = "2026-03-01T12:00:00Z".parse().unwrap();
        let rules = ReadRules { now, max_unpacked_bytes: 0 };
        let mut records = Vec::new();
        let result = read(feed.as_bytes(), &rules, &mut |record| {
            records.push(record);
            Ok(())
        });
        result.expect("a feed");
        records
    }

    fn item(children: &str) -> (ItemRecord, Vec<String>) {
        let records = read_feed(&format!("<item><g:id>7</g:id>{children}</item>"));
        let mut items =
            records.iter().filter_map(|r| if let Ok(Record::Item(item)) = r { Some(&**item) } else { None });
        let problems = records.iter().filter_map(|record| Some(record.as_ref().err()?.reason.clone())).collect();
        (items.next().expect("an item").clone(), problems)
    }

    #[test]
    fn an_item_is_read_like_an_offer() {
        let records = read_feed(
            "<item><g:id>SKU-1</g:id><title>Чайник &amp; крышка</title><description>&lt;p&gt;Медный&lt;/p&gt;</description>
            <link>https://x/1</link><g:image_link>https://x/1.jpg</g:image_link>
            <g:additional_image_link>https://x/2.jpg</g:additional_image_link>
            <g:price>1990.00 RUB</g:price><g:availability>in_stock</g:availability>
            <g:shipping><g:country>RU</g:country><g:price>300 RUB</g:price></g:shipping>
            <g:product_type>Посуда &gt; Чайники</g:product_type><g:brand>Ёж</g:brand><g:gtin>4600000000001</g:gtin>
            <g:color>медный</g:color><g:product_detail><g:section_name>Общее</g:section_name>
            <g:attribute_name>Объём</g:attribute_name><g:attribute_value>2 л</g:attribute_value></g:product_detail></item>",
        );
        let [Ok(Record::Category(top)), Ok(Record::Category(sub)), Ok(Record::Item(item))] = &records[..] else {
            panic!("{records:?}")
        };
        assert_eq!((top.name.as_deref(), sub.name.as_deref()), (Some("Посуда"), Some("Чайники")));
        assert_eq!(item.categories, [CatalogId::Number(sub.number.unwrap())]);
        assert_eq!((item.id.as_deref(), item.name.as_deref()), (Some("item_SKU-1"), Some("Чайник & крышка")));
        assert_eq!(item.description.as_deref(), Some("Медный"));
        assert_eq!((item.price, item.currency.as_deref()), (Some(1990.into()), Some("RUB")));
        assert_eq!(item.stock, Some(Stock::Available));
        assert_eq!(item.photos.as_deref().map(|photos| photos.matches("https://x/").count()), Some(2));
        let fields = item.description_fields.as_deref().unwrap();
        assert!(["Ёж", "4600000000001", "медный", "2 л"].iter().all(|value| fields.contains(value)), "{fields}");
    }

    #[test]
    fn a_sale_price_counts_in_its_period() {
        let sale = |more: &str| {
            let (item, problems) =
                item(&format!("<g:price>1000 RUB</g:price><g:sale_price>900 RUB</g:sale_price>{more}"));
            (item.price.unwrap().to_string(), item.discount.unwrap().to_string(), problems)
        };
        let period = |text: &str| sale(&format!("<g:sale_price_effective_date>{text}</g:sale_price_effective_date>"));
        let reduced = ("1000".to_owned(), "10".to_owned(), vec![]);
        assert_eq!(sale(""), reduced);
        assert_eq!(period("2026-02-24T11:07+0300/2026-03-29T23:07+0300"), reduced);
        assert_eq!(period("2026-02-24T11:07:00+03:00/2026-03-29T23:07:00Z"), reduced);
        let (price, discount, problems) = period("2026-01-24T11:07+0300/2026-02-28T23:07+0300");
        assert_eq!((price.as_str(), discount.as_str()), ("1000", "0"));
        assert!(problems[0].contains("not in force"), "{problems:?}");
        assert!(period("soon").2[0].contains("not understood"));
    }

    #[test]
    fn currencies_stand_on_either_side() {
        for (text, parts) in [
            ("1990.00 RUB", ("1990.00", Some("RUB"))),
            ("RUB 1990.00", ("1990.00", Some("RUB"))),
            ("1990,50USD", ("1990,50", Some("USD"))),
            ("1990 ₽", ("1990 ₽", None)),
            ("5", ("5", None)),
            ("", ("", None)),
        ] {
            assert_eq!(split_currency(text), parts);
        }
    }

    #[test]
    fn availability_is_understood() {
        for (word, stock) in [
            ("in stock", Stock::Available),
            ("out_of_stock", Stock::Level("out")),
            ("out of stock", Stock::Level("out")),
            ("preorder", Stock::Level("out")),
            ("backorder", Stock::Level("out")),
            ("someday", Stock::Level("out")),
        ] {
            let (item, problems) = item(&format!("<g:price>1 RUB</g:price><g:availability>{word}</g:availability>"));
            assert_eq!(item.stock, Some(stock), "{word}");
            assert_eq!(problems.len(), usize::from(word == "someday"), "{word}");
        }
    }

    #[test]
    fn items_of_other_rss_feeds_are_rejected() {
        let records = read_feed("<item><title>News</title><guid>1</guid></item>");
        let [Err(problem)] = &records[..] else { panic!("{records:?}") };
        assert_eq!((problem.record.as_str(), problem.reason.as_str()), ("item no. 1", "has no id: expected g:id"));
    }
}
