//! Tests of whole feeds: structure, limits and malformed XML. The fields of offers are tested in `offer/tests.rs`.

use std::io::{BufReader, Cursor};

use super::super::feed;
use super::super::record::{CategoryRecord, ItemRecord, Parent, number_of};
use super::*;

#[derive(Default)]
pub(super) struct FeedRecords {
    pub categories: Vec<CategoryRecord>,
    pub items: Vec<ItemRecord>,
    /// `record: reason`.
    pub rejected: Vec<String>,
    pub time: Option<FileTime>,
    /// One letter per record in the order of the feed: `c` category, `i` item, `-` problem.
    pub order: String,
}

const RULES: ReadRules = ReadRules { now: jiff::Timestamp::UNIX_EPOCH, max_unpacked_bytes: 0 };

fn read_from(reader: impl BufRead) -> (FeedRecords, io::Result<()>) {
    let mut outcome = FeedRecords::default();
    let result = read(reader, &RULES, &mut |record| {
        let kind = match record {
            Ok(Record::Category(category)) => {
                outcome.categories.push(category);
                'c'
            }
            Ok(Record::Item(item)) => {
                outcome.items.push(*item);
                'i'
            }
            Ok(Record::Region(_)) => panic!("a feed has no regions"),
            Ok(Record::FileTime(time)) => {
                outcome.time = Some(time);
                return Ok(());
            }
            Err(problem) => {
                outcome.rejected.push(format!("{}: {}", problem.record, problem.reason));
                '-'
            }
        };
        outcome.order.push(kind);
        Ok(())
    });
    (outcome, result)
}

/// Reads a feed at once and, if it is short, again in chunks of three bytes.
fn feed_of(xml: &str) -> FeedRecords {
    let (outcome, result) = read_from(xml.as_bytes());
    result.expect("the feed is well-formed");
    if xml.len() > 100_000 {
        return outcome;
    }
    let (chunked, result) = read_from(BufReader::with_capacity(3, xml.as_bytes()));
    result.expect("the feed is well-formed");
    assert_eq!(outcome.items, chunked.items);
    assert_eq!(outcome.categories, chunked.categories);
    assert_eq!(outcome.rejected, chunked.rejected);
    outcome
}

pub(super) fn offers(xml: &str) -> FeedRecords {
    feed_of(&format!("<yml_catalog date='2024-01-01'><shop><offers>{xml}</offers></shop></yml_catalog>"))
}

fn categories(xml: &str) -> FeedRecords {
    feed_of(&format!("<yml_catalog><shop><categories>{xml}</categories></shop></yml_catalog>"))
}

fn error_of(xml: &str) -> String {
    let (_, result) = read_from(xml.as_bytes());
    let error = result.expect_err("the feed is malformed");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    error.to_string()
}

fn of(number: i64) -> Option<Parent> {
    Some(Parent::Of(CatalogId::Number(number)))
}

#[test]
fn parents_may_follow_their_children() {
    let got = categories(
        "<category id='12' parentId=' 3 '>Ножи</category><category id='3' parentId='0'>Кухня</category>
         <category id='4' parentId=''>Сад</category><category id='5'>Дом</category><category id='дача'>Дача</category>
         <category id='0' parentId='дача'>Нуль</category>",
    );
    let seen: Vec<_> =
        got.categories.iter().map(|c| (c.number.unwrap(), c.id.as_deref().unwrap(), c.parent.clone())).collect();
    let (zero, dacha) = (number_of("category", "0"), number_of("category", "дача"));
    assert_eq!(
        seen,
        [
            (12, "sub_12", of(3)),
            (3, "cat_3", Some(Parent::Top)),
            (4, "cat_4", Some(Parent::Top)),
            (5, "cat_5", Some(Parent::Top)),
            (dacha, "cat_дача", Some(Parent::Top)),
            (zero, "sub_0", of(dacha)),
        ]
    );
    assert!(got.rejected.is_empty());
}

#[test]
fn categories_without_a_name_are_reported() {
    let got = categories(
        "<category id='14'> /  / </category><category id='15'/><category id='16'> А \n\u{a0} &amp;quot;Б&amp;quot; </category>",
    );
    let names: Vec<_> = got.categories.iter().map(|c| (c.name.as_deref(), c.fallback_name.as_deref())).collect();
    let fallback = |name| (None, Some(name));
    assert_eq!(names, [fallback("Категория 14"), fallback("Категория 15"), (Some("А \"Б\""), Some("Категория 16"))]);
    assert_eq!(
        got.rejected,
        [
            "category 14: has no name: its id is used as its name",
            "category 15: has no name: its id is used as its name"
        ]
    );
    assert_eq!(got.order, "c-c-c");
}

#[test]
fn categories_without_an_id_and_duplicates_are_rejected() {
    let got = categories(
        "<category>Ножи</category><category id=' '/><category id='1'>Раз</category><category id=' 1'>Два</category>",
    );
    assert_eq!(got.categories.len(), 1);
    assert_eq!(got.categories[0].name.as_deref(), Some("Раз"));
    assert_eq!(
        got.rejected,
        [
            "category no. 1 (Ножи): has no id",
            "category no. 2: has no id",
            "category 1: the id occurs twice in the feed: the first one is used"
        ]
    );
}

#[test]
fn an_offer_without_an_id_is_rejected() {
    let got = offers(
        "<offer id=' a1 '><name>Раз</name></offer><offer><name>Три</name></offer>
         <offer id='a2'><price>x</price></offer><offer id='7'><name>Четыре</name></offer>",
    );
    let ids: Vec<_> = got.items.iter().map(|item| (item.number, item.id.as_deref().unwrap())).collect();
    assert_eq!(ids, [(None, "item_a1"), (None, "item_a2"), (Some(7), "item_7")]);
    assert_eq!(got.rejected, ["offer no. 2: has no id"]);
    assert_eq!(got.items[1].defect.as_deref(), Some("price is not a number"));
}

#[test]
fn an_id_that_is_too_long_is_rejected() {
    let id = "я".repeat(101);
    let got = offers(&format!("<offer id='{id}'><name>Раз</name></offer>"));
    assert_eq!(got.rejected, [format!("offer {}: the id is longer than 200 bytes", "я".repeat(100))]);
}

#[test]
fn promotions_unknown_elements_and_misplaced_offers_are_ignored() {
    let got = feed_of(
        "<yml_catalog><offer id='0'/><shop><name>Лавка</name><offer id='00'/>
         <promos><promo><categories><category id='9'>Нет</category></categories><purchase><product offer-id='1'/></purchase>
         <offers><offer id='2'/></offers><discount unit='percent'>25</discount><url>http://promo</url></promo></promos>
         <offers><offer id='1'><name>Раз</name><Артикул>7</Артикул>
           <condition type='used'><name>Не имя</name><price>5</price><picture>http://x/y</picture></condition>
           <gifts><offer id='3'><name>Подарок</name></offer></gifts><price>10</price></offer></offers>
         <offer id='000'/></shop><shop><offers><offer id='4'/></offers></shop></yml_catalog>",
    );
    assert!(got.categories.is_empty() && got.rejected.is_empty());
    assert_eq!(got.items.len(), 2);
    let first = &got.items[0];
    assert_eq!((first.name.as_deref(), first.price, &first.photos), (Some("Раз"), Some(10.into()), &None));
    assert_eq!(first.description_fields, None);
    assert_eq!(got.items[1].number, Some(4));
}

#[test]
fn windows_1251_inside_php_with_a_hostile_doctype_is_read() {
    let text = "<?if (1) $a = \"x\";?><? echo \"<\".\"?xml version=\\\"1.0\\\" encoding=\\\"windows-1251\\\"?\".\">\"?>
        <!DOCTYPE yml_catalog SYSTEM \"http://127.0.0.1:9/shops.dtd\" [ <!ENTITY a \"ha\"> <!ENTITY b \"&a;&a;&a;&a;\">
        <!ENTITY xxe SYSTEM \"file:///etc/passwd\"> ]>
        <yml_catalog><shop><offers><offer id=\"1\"><url>http://x/?<?=$a; ?>&amp;b</url><name>Чайник &b; &xxe; &quot;Ё&quot;</name>
        </offer></offers></shop></yml_catalog> <? exit; ?> <not closed";
    let bytes = encoding_rs::WINDOWS_1251.encode(text).0.into_owned();
    let (got, result) = read_from(feed::open(Cursor::new(bytes)).unwrap().expect("a root"));
    result.unwrap();
    assert_eq!(got.items[0].name.as_deref(), Some("Чайник &b; &xxe; \"Ё\""));
}

#[test]
fn a_feed_that_is_truncated_anywhere_is_rejected() {
    let whole = "<yml_catalog><shop><offers><offer id=\"1\"><name>Ча&amp;й</name><description><![CDATA[<p>]]></description>\
                 <!-- x --></offer></offers></shop></yml_catalog>";
    assert_eq!(feed_of(whole).items.len(), 1);
    for end in (0..whole.len()).filter(|end| whole.is_char_boundary(*end)) {
        error_of(&whole[..end]);
    }
    let error = error_of("<yml_catalog><shop><offers><offer id='77'><name>Чай");
    assert!(
        error.contains("</name> was expected") && error.contains("offer 77") && error.contains("byte 54"),
        "{error}"
    );
}

#[test]
fn malformed_xml_is_rejected_with_what_was_expected() {
    for (xml, what) in [
        ("<yml_catalog><shop></yml_catalog>", "expected `</shop>`"),
        ("<yml_catalog><shop><offers><offer id='1'><name>a</nam></offer>", "expected `</name>`"),
        ("<yml_catalog><shop><offers><offer id=1></offer></offers></shop></yml_catalog>", "<offer>"),
        ("<yml_catalog><shop><offers><offer id='1' id='2'/></offers></shop></yml_catalog>", "<offer>"),
        ("<yml_catalog><!DOCTYPE a [<!ENTITY b 'c'>]></yml_catalog>", "<! declaration"),
        ("<html/>", "not <yml_catalog>"),
        ("", "before its root element"),
    ] {
        let error = error_of(xml);
        assert!(error.contains(what), "{error}");
    }
    assert!(error_of(&"<yml_catalog>".repeat(1_000_000)).contains("too deeply"));
}

#[test]
fn errors_of_the_sink_and_of_the_reader_are_returned() {
    let xml = "<yml_catalog><shop><offers><offer id='1'/></offers></shop></yml_catalog>";
    let full = read(xml.as_bytes(), &RULES, &mut |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
    assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);

    struct FailingReader;
    impl io::Read for FailingReader {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::TimedOut))
        }
    }
    let failing = BufReader::new(io::Read::chain(&xml.as_bytes()[..40], FailingReader));
    assert_eq!(read_from(failing).1.unwrap_err().kind(), io::ErrorKind::TimedOut);
}

#[test]
fn only_the_offer_that_is_too_large_is_rejected() {
    let small = |id: u32| format!("<offer id='{id}'><name>Мал</name></offer>");
    let long = "щ".repeat(MAX_OFFER_BYTES);
    let many = "<param name='a'>b</param>".repeat(MAX_OFFER_BYTES / 20);
    for inside in [
        format!("<description>{long}</description>"),
        format!("<description><![CDATA[{long}]]></description>"),
        format!("<description>{}</description>", "щ&amp;".repeat(MAX_OFFER_BYTES / 5)),
        format!("<!-- {long} -->"),
        format!("<unknown>{long}</unknown>"),
        format!("<? {long} ?>"),
        many,
    ] {
        for large in [format!("{inside}<name>Велик</name>"), format!("<name/>{inside}<name/>"), inside] {
            let got = offers(&format!("{}<offer id='2'>{large}</offer>{}", small(1), small(3)));
            let numbers: Vec<_> = got.items.iter().map(|item| item.number.unwrap()).collect();
            assert_eq!(numbers, [1, 3]);
            assert_eq!(got.rejected, ["offer 2: is larger than 4 MB"]);
        }
    }
}

#[test]
fn an_offer_just_within_the_limit_passes() {
    let text = "щ".repeat((MAX_OFFER_BYTES - 200) / 2);
    let got = offers(&format!("<offer id='1'><description>{text}</description></offer>"));
    assert_eq!(got.items[0].description.as_ref().map(|text| text.chars().count()), Some(20_000));
}

#[test]
fn a_category_name_that_is_too_long_is_dropped() {
    let got = categories(&format!("<category id='1'>{}</category>", "щщщщщщщщ<!---->".repeat(MAX_OFFER_BYTES / 15)));
    assert_eq!(got.categories[0].name, None);
}

#[test]
fn a_tag_or_declaration_that_is_too_large_fails_the_import() {
    let long = "щ".repeat(MAX_OFFER_BYTES);
    let limit = "a tag does not end";
    for (inside, problem) in [
        (format!("<param name='{long}'>"), limit),
        (format!("<{long}/>"), limit),
        (format!("<!DOCTYPE {long}>"), limit),
        (format!("<!DOCTYPE a [<!ENTITY b '{long}'>]>"), limit),
        ("<!DOCTYPE a>".to_owned(), "<! declaration"),
    ] {
        let error = error_of(&format!(
            "<yml_catalog><shop><offers><offer id='1'>{inside}</offer></offers></shop></yml_catalog>"
        ));
        assert!(error.contains(problem), "{error}");
    }
}

#[test]
fn the_date_of_the_catalogue_is_the_time_of_the_file() {
    let feed = |date: &str| feed_of(&format!("<yml_catalog{date}><shop><offers></offers></shop></yml_catalog>"));
    assert_eq!(feed(" date='2026-02-28 12:00'").time, FileTime::parse("2026-02-28T12:00"));
    for absent in ["", " date=''"] {
        let read = feed(absent);
        assert_eq!((read.time, read.rejected.len()), (None, 0), "{absent}");
    }
    assert!(feed(" date='spring'").rejected[0].starts_with("yml_catalog: date: not understood"));
}
