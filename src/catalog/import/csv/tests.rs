//! Tests of the CSV reader.

use super::super::record::{ItemRecord, ProblemKind, Stock};
use super::*;

/// The records of a price list.
fn read_bytes(bytes: &[u8]) -> io::Result<Vec<ReadRecord>> {
    let mut records = Vec::new();
    read(&feed::decode_head(bytes), bytes, &mut |record| {
        records.push(record);
        Ok(())
    })
    .map(|()| records)
}

fn items(records: &[ReadRecord]) -> Vec<&ItemRecord> {
    records.iter().filter_map(|record| if let Ok(Record::Item(item)) = record { Some(&**item) } else { None }).collect()
}

fn problems(records: &[ReadRecord]) -> Vec<String> {
    let problems = records.iter().filter_map(|record| record.as_ref().err());
    problems.map(|problem| format!("{}: {}", problem.record, problem.reason)).collect()
}

const LIST: &str = "Код;Наименование;Категория;Подкатегория;Цена, руб.;Старая цена;Остаток;Фото;Фото;Параметр: Цвет;Закупка\r\n\
    A-1;\"Чайник \"\"Ёж\"\"; 2 л\";Посуда;Чайники;1 290,50;1500;5;https://x/1.jpg, https://x/2.jpg;https://x/3.jpg;белый;700\r\n\
    ;;;;;;;;;;\r\n\
    2;Чашка;Посуда;;10;;нет;;;;\r\n";

#[test]
fn a_price_list_is_read_in_utf_8_and_windows_1251_and_utf_16() {
    let utf_16: Vec<u8> = format!("\u{feff}{LIST}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let cp1251 = encoding_rs::WINDOWS_1251.encode(LIST).0.into_owned();
    for bytes in [LIST.as_bytes().to_vec(), format!("\u{feff}{LIST}").into_bytes(), cp1251, utf_16] {
        let records = read_bytes(&bytes).expect("a price list");
        let [kettle, cup] = items(&records)[..] else { panic!("{records:?}") };
        assert_eq!((kettle.id.as_deref(), kettle.number), (Some("item_A-1"), None));
        assert_eq!(kettle.name.as_deref(), Some("Чайник \"Ёж\"; 2 л"));
        assert_eq!(kettle.stock, Some(Stock::Count(5)));
        assert!(kettle.price.is_some() && kettle.discount.is_some_and(|discount| !discount.is_zero()));
        assert_eq!(kettle.photos.as_deref().map(|photos| photos.matches("https://x/").count()), Some(3));
        assert!(kettle.description_fields.as_deref().is_some_and(|fields| fields.contains("белый")));
        assert_eq!((cup.number, cup.stock), (Some(2), Some(Stock::Level("out"))));
        assert_eq!((&cup.photos, &cup.currency, &cup.description), (&None, &None, &None), "blank cells are absent");
        let categories: Vec<_> = records
            .iter()
            .filter_map(|record| if let Ok(Record::Category(category)) = record { category.name.clone() } else { None })
            .collect();
        assert_eq!(categories, ["Посуда", "Чайники"]);
        assert_eq!(problems(&records), ["header: columns are not read: Закупка"]);
    }
}

#[test]
fn a_delta_mentions_only_its_columns() {
    let records = read_bytes(b"id,price,quantity\nitem_7,99,3\n").expect("a price list");
    let [item] = items(&records)[..] else { panic!("{records:?}") };
    assert_eq!(item.id.as_deref(), Some("item_7"), "the id of an export");
    assert_eq!((item.name.as_ref(), item.stock, item.categories.len()), (None, Some(Stock::Count(3)), 0));
}

#[test]
fn categories_are_paths_or_ids() {
    let text = "id;category\n1;5\n2;sub_x\n3;A > B\n";
    let records = read_bytes(text.as_bytes()).expect("a price list");
    let categories: Vec<_> = items(&records).into_iter().map(|item| item.categories[0].clone()).collect();
    assert_eq!(categories[..2], [CatalogId::Number(5), CatalogId::Id("sub_x".to_owned())]);
    assert!(matches!(categories[2], CatalogId::Number(number) if number > 1 << 52));
}

#[test]
fn rows_that_do_not_fit_the_header_are_rejected() {
    let records = read_bytes("id;name;price\n1;a;b;5\n2;c\n;d;5\n3;e;5;;\n4;f;x\n".as_bytes()).expect("a price list");
    assert_eq!(
        problems(&records),
        ["line 2: has 4 cells, the header has 3", "line 3: has 2 cells, the header has 3", "line 4: has no id",]
    );
    let rejected: Vec<_> = records.iter().filter_map(|record| record.as_ref().err()).map(|p| p.item.clone()).collect();
    let cut = CatalogId::Id("item_2".to_owned());
    assert_eq!(rejected, [None, Some(cut), Some(NAMELESS_ITEM)], "only where the id is certain");
    let [third, fourth] = items(&records)[..] else { panic!("{records:?}") };
    assert_eq!((third.number, fourth.number), (Some(3), Some(4)));
    assert_eq!((fourth.defect.as_deref(), fourth.stock), (Some("price is not a number"), Some(Stock::Level("out"))));
    assert!(records.iter().filter_map(|record| record.as_ref().err()).all(|p| p.kind == ProblemKind::Rejected));
}

#[test]
fn the_article_is_the_id_where_there_is_no_other() {
    let records = read_bytes("Артикул;Цена\nX/1;5\n".as_bytes()).expect("a price list");
    assert_eq!(items(&records)[0].id.as_deref(), Some("item_X/1"));
    let records = read_bytes("Артикул;Код;Цена\nX/1;77;5\n".as_bytes()).expect("a price list");
    let item = items(&records)[0];
    assert_eq!(item.id.as_deref(), Some("item_77"));
    assert!(item.description_fields.as_deref().is_some_and(|fields| fields.contains("X/1")));
}

#[test]
fn a_sale_price_is_what_is_paid() {
    let records = read_bytes(b"id;price;sale_price\n1;1000;900\n2;1000;\n").expect("a price list");
    let prices: Vec<_> = items(&records)
        .into_iter()
        .map(|item| (item.price.unwrap().to_string(), item.discount.unwrap().to_string()))
        .collect();
    assert_eq!(prices, [("1000".to_owned(), "10".to_owned()), ("1000".to_owned(), "0".to_owned())]);
}

#[test]
fn a_text_without_a_header_and_a_row_without_an_end_are_refused() {
    let message = read_bytes("Уважаемые клиенты,\nпрайс во вложении\n".as_bytes()).expect_err("no header").to_string();
    assert!(message.contains("without the header of a price list") && message.contains("Уважаемые"), "{message}");
    let open = format!("id;name\n1;\"{}", "слово ".repeat(1 << 20));
    let message = read_bytes(open.as_bytes()).expect_err("an open quote").to_string();
    assert!(message.contains("line 2") && message.contains("a quote is missing"), "{message}");
}
