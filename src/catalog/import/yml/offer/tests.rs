//! Tests of the conversion of offers to item records.

use rust_decimal::Decimal;

use super::super::super::record::{ItemRecord, Stock, number_of};
use super::super::tests::offers;
use crate::catalog::CatalogId;

fn item_with(attributes: &str, inside: &str) -> ItemRecord {
    let mut got = offers(&format!("<offer id='1' {attributes}>{inside}</offer>"));
    assert_eq!(got.rejected, [""; 0]);
    got.items.remove(0)
}

fn item(inside: &str) -> ItemRecord {
    item_with("", inside)
}

/// The defect of an offer that is available; it has no price and is out of stock.
fn defect(inside: &str) -> String {
    let got = item_with("available='true'", inside);
    assert_eq!((got.price, got.discount, got.currency, got.stock), (None, None, None, Some(Stock::Level("out"))));
    got.defect.expect("a defect")
}

fn name(inside: &str) -> Option<String> {
    item(inside).name
}

/// Price, discount and corrections, of an offer without a sale price.
fn price(inside: &str) -> (Option<Decimal>, Option<Decimal>, Vec<String>) {
    let got = offers(&format!("<offer id='1'>{inside}</offer>"));
    assert_eq!(got.items[0].sale_price, None, "{inside}");
    (got.items[0].price, got.items[0].discount, got.rejected)
}

fn number(value: i64) -> Option<Decimal> {
    Some(Decimal::from(value))
}

#[test]
fn absent_elements_stay_none() {
    let got = item("<price>900</price><oldprice>1000</oldprice><outlets><outlet instock='7'/></outlets>");
    let expected = ItemRecord {
        number: Some(1),
        id: Some("item_1".to_owned()),
        price: number(1000),
        discount: number(10),
        stock: Some(Stock::Count(7)),
        ..ItemRecord::default()
    };
    assert_eq!(got, expected);
}

#[test]
fn a_missing_name_is_composed_of_prefix_vendor_and_model() {
    assert_eq!(name("<title>Т</title><model>М</model><name> Имя \n своё </name>").as_deref(), Some("Имя своё"));
    let parts = "<vendor>Ромашка</vendor><typePrefix> Чайник </typePrefix><model>X-5</model><name> </name>";
    assert_eq!(name(parts).as_deref(), Some("Чайник Ромашка X-5"));
    for parts in [
        "<typePrefix>Чайник</typePrefix><vendor>РОМАШКА</vendor><model>Ромашка X-5</model>",
        "<typePrefix>Чайник</typePrefix><vendor>Ромашка</vendor><model>«Ромашка» X-5</model>",
    ] {
        assert_eq!(name(parts).unwrap().to_lowercase().matches("ромашка").count(), 1);
    }
    let inside_another = "<typePrefix>Чай</typePrefix><vendor>Лис</vendor><model>Мелисса</model>";
    assert_eq!(name(inside_another).as_deref(), Some("Чай Лис Мелисса"));
    assert_eq!(name("<vendor>Ромашка</vendor><title>Чайник</title>").as_deref(), Some("Чайник"));
    assert_eq!(name("<vendor>Ромашка</vendor>"), None);
    assert_eq!(name(&format!("<name>{}</name>", "щ".repeat(600))).unwrap().chars().count(), 500);
}

#[test]
fn texts_are_decoded_and_cleaned() {
    let text = "<name><![CDATA[A &amp; <b>]]> Tom & Jerry&#32;&nbsp;&xxe; &#0;&#1;\u{1}<i>и</i> &amp;lt;</name>";
    assert_eq!(name(text).as_deref(), Some("A & <b> Tom & Jerry &xxe; и <"));
}

#[test]
fn every_category_is_kept_in_order() {
    let got = item("<categoryId>5</categoryId><categoryId> 0 </categoryId><categoryId/><categoryId>5</categoryId>");
    let zero = CatalogId::Number(number_of("category", "0"));
    assert_eq!(got.categories, [CatalogId::Number(5), zero]);
}

#[test]
fn an_old_price_becomes_a_discount() {
    assert_eq!(price("<price>4528</price><oldprice>5660,00</oldprice>"), (number(5660), number(20), vec![]));
    assert_eq!(price("<price>1 490.50</price>"), ("1490.5".parse().ok(), number(0), vec![]));
    assert_eq!(price("<price>5</price><oldprice/>"), (number(5), number(0), vec![]));
    assert_eq!(price("<name>x</name>"), (None, None, vec![]));
}

#[test]
fn an_unusable_old_price_is_ignored_and_reported() {
    for old in ["5", "4", "0"] {
        let got = price(&format!("<price>5</price><oldprice>{old}</oldprice>"));
        let correction = "offer 1: oldprice is not above the price: ignored".to_owned();
        assert_eq!(got, (number(5), number(0), vec![correction]), "{old}");
    }
    let correction = "offer 1: oldprice is not a usable number: ignored".to_owned();
    assert_eq!(price("<price>5</price><oldprice>дорого</oldprice>"), (number(5), number(0), vec![correction]));
    let correction = "offer 1: oldprice without a price: ignored".to_owned();
    assert_eq!(price("<oldprice>5</oldprice>"), (None, None, vec![correction]));
}

#[test]
fn the_list_price_is_kept_beside_a_sale_price() {
    for (price, old, percent) in [(1, 1000, 99), (15188, 20504, 25), (999, 1000, 0)] {
        let got = item(&format!("<price>{price}</price><oldprice>{old}</oldprice>"));
        assert_eq!((got.price, got.discount, got.sale_price), (number(old), number(percent), number(price)));
    }
}

#[test]
fn quantities_that_are_sold_at_once_are_read_or_the_item_is_out() {
    let lots = |inside: &str| {
        let got = item(inside);
        (got.min_quantity, got.step_quantity, got.stock)
    };
    let units = Some(Stock::Count(50));
    let count = "<count>50</count>";
    for (elements, min, step) in [
        ("<min-quantity>4</min-quantity><step-quantity>2.0</step-quantity>", Some(4), Some(2)),
        ("<minimum_order_quantity> 10 </minimum_order_quantity>", Some(10), None),
        ("<min-quantity/><step-quantity>1</step-quantity>", None, Some(1)),
        ("", None, None),
    ] {
        assert_eq!(lots(&format!("{elements}{count}")), (min, step, units), "{elements}");
    }
    for elements in
        ["<min-quantity>0</min-quantity>", "<min-quantity>1000</min-quantity>", "<step-quantity>2,5</step-quantity>"]
    {
        let got = offers(&format!("<offer id='1'>{elements}{count}</offer>"));
        let item = &got.items[0];
        assert_eq!((item.min_quantity, item.step_quantity, item.stock), (None, None, Some(Stock::Level("out"))));
        let reason = "min-quantity or step-quantity is not a whole number from 1 to 999: out of stock";
        assert_eq!(got.rejected, [format!("offer 1: {reason}")], "{elements}");
    }
}

#[test]
fn an_offer_without_a_usable_price_is_out_of_stock() {
    for (price, reason) in [
        ("<price>0</price>", "price is zero"),
        ("<price>-5</price>", "price is negative"),
        ("<price>по запросу</price>", "price is not a number"),
        ("<price>1000000000000</price>", "price is too large"),
        ("<price></price>", "price is empty"),
        ("<price>5</price><currencyId>RUBL</currencyId>", "currency is not three letters"),
    ] {
        assert_eq!(defect(price), reason);
        let got = offers(&format!("<offer id='1' available='false'><name>Чай</name>{price}</offer>"));
        let item = &got.items[0];
        assert_eq!((item.price, &item.defect, item.stock), (None, &None, Some(Stock::Level("out"))), "{price}");
        assert_eq!(item.name.as_deref(), Some("Чай"));
        assert_eq!(got.rejected, ["offer 1: is sold out and has no usable price: the price is unchanged"]);
    }
    assert_eq!(defect("<count>7</count><price/>"), "price is empty", "units are not sold at an unknown price");
    let counted = offers("<offer id='1'><price/><count>0</count></offer>");
    assert_eq!((counted.items[0].stock, &counted.items[0].defect), (Some(Stock::Count(0)), &None));
}

#[test]
fn the_lowest_of_several_prices_is_not_a_price_to_sell_at() {
    let got = offers("<offer id='1' available='true'><price from='true'>90</price><count>5</count></offer>");
    assert_eq!((got.items[0].price, got.items[0].stock), (number(90), Some(Stock::Level("out"))));
    assert_eq!(got.rejected, ["offer 1: price is only the lowest one (from=\"true\"): out of stock"]);
    assert_eq!(item("<price from='false'>90</price><count>5</count>").stock, Some(Stock::Count(5)));
}

#[test]
fn currencies_are_three_letter_codes_and_names_of_the_rouble_are_rub() {
    for (text, code) in [
        ("RUR", "RUB"),
        (" rur ", "RUB"),
        ("руб", "RUB"),
        ("руб.", "RUB"),
        ("kzt", "KZT"),
        ("BYR", "BYR"),
        ("RUB", "RUB"),
    ] {
        assert_eq!(item(&format!("<currencyId>{text}</currencyId>")).currency.as_deref(), Some(code));
    }
    assert_eq!(item("<currencyId> </currencyId>").currency, None);
    for text in ["RU", "RUBL", "R1B"] {
        assert_eq!(defect(&format!("<currencyId>{text}</currencyId>")), "currency is not three letters");
    }
}

#[test]
fn photos_are_split_and_deduplicated_in_order() {
    let got = offers(
        "<offer id='1'><picture> http://a/1.jpg | HTTPS://б.рф/2.jpg?x=1&amp;y=2 | http://a/1.jpg |</picture><picture/>
         <picture>//a/3.jpg</picture><picture>ftp://a/4.jpg</picture><picture>javascript:alert(1)</picture>
         <picture>http://</picture><picture>http://a/my \"5\".jpg</picture><picture>http://a/1.jpg</picture>
         <video>https://a/6.mp4</video></offer>",
    );
    let expected = r#"[{"url":"http://a/1.jpg"},{"url":"HTTPS://б.рф/2.jpg?x=1&y=2"},{"url":"https://a/3.jpg"},"#
        .to_owned()
        + r#"{"url":"http://a/my%20\"5\".jpg"},{"type":"video","url":"https://a/6.mp4","video":"https://a/6.mp4"}]"#;
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
    assert_eq!(got.items[0].photos.as_deref().map(json), Some(json(&expected)));
    assert_eq!(got.rejected, ["offer 1: a picture or video has no usable address: left out"]);
    assert_eq!(item("<picture> | </picture>").photos, None);
    let many: String = (0..60).map(|n| format!("<picture>http://a/{n}</picture>")).collect();
    let photos = item(&many).photos.unwrap();
    assert!(photos.matches("url").count() == 50 && photos.ends_with(r#"{"url":"http://a/49"}]"#));
}

#[test]
fn html_descriptions_become_plain_text_however_they_are_escaped() {
    for description in [
        "<![CDATA[\n<p>Он <b>свистит</b> &amp; поёт.</p><ul><li>раз</li><li>два</li></ul>]]>",
        "&lt;p&gt;Он &lt;b&gt;свистит&lt;/b&gt; &amp;amp; поёт.&lt;/p&gt;&lt;li&gt;раз&lt;/li&gt;&lt;li&gt;два",
        "<p>Он <b>свистит</b> &amp; поёт.</p><ul><li>раз</li><li>два</li></ul>",
    ] {
        let got = item(&format!("<description>{description}</description>"));
        assert_eq!(got.description.as_deref(), Some("Он свистит & поёт.\n\n• раз\n• два"));
        assert_eq!(got.simple_description.as_deref(), Some("Он свистит & поёт."));
    }
    let empty = item("<description> <![CDATA[<p> </p>]]></description>");
    assert_eq!((empty.description, empty.simple_description), (None, None));
}

#[test]
fn long_descriptions_are_truncated_and_have_a_summary() {
    let got = item(&format!("<description>{}</description>", "слово ".repeat(9_000)));
    assert_eq!(got.description.unwrap().chars().count(), 20_000);
    let short = got.simple_description.unwrap();
    assert!(short.ends_with("слово…") && (190..=200).contains(&short.chars().count()), "{short}");
}

#[test]
fn elements_in_other_languages_are_left_out_and_reported() {
    for inside in [
        "<name_ua>Чайник ї</name_ua><description_ua>Опис</description_ua>",
        "<param name='a'><value lang='uk'>шкіра</value></param>",
    ] {
        let got = offers(&format!("<offer id='1'>{inside}</offer>"));
        let expected = ItemRecord { number: Some(1), id: Some("item_1".to_owned()), ..ItemRecord::default() };
        assert_eq!(got.items, [expected], "{inside}");
        assert_eq!(got.rejected, ["offer 1: has elements in another language (such as name_ua): left out"]);
    }
    let both = offers(
        "<offer id='1'><param name='a'><value lang='ru'>кожа</value><value lang='uk'>шкіра</value></param></offer>",
    );
    let fields = both.items[0].description_fields.as_deref();
    assert_eq!(fields, Some(r#"[{"key":"a","value":"кожа"}]"#));
    assert_eq!(item("<model_id>5</model_id><x_y>1</x_y>").name, None);
}

#[test]
fn what_people_and_programs_read_is_kept() {
    let got = item_with(
        "group_id='G77'",
        "<name>Кроссовки</name><url>https://t/p?a=1&amp;b=2</url><model>Air 90</model><typePrefix>Обувь</typePrefix>
         <sales_notes>Предоплата 100%</sales_notes><dimensions>30.5/20/12</dimensions><weight>0.8</weight>
         <condition type='likenew'><quality>good</quality><reason>царапина</reason></condition><age unit='year'>18</age>
         <manufacturer_warranty>true</manufacturer_warranty><warranty-days>P2Y</warranty-days><adult>false</adult>
         <keywords>бег, спорт</keywords><barcode>46</barcode><delivery>true</delivery><store>нет</store>
         <delivery-options><option cost='300' days='1-3' order-before='18'/><option/></delivery-options>
         <pickup-options><option cost='0' days='1'/></pickup-options>",
    );
    let attributes: serde_json::Value = serde_json::from_str(&got.attributes.expect("attributes")).expect("JSON");
    let expected = serde_json::json!({
        "url": "https://t/p?a=1&b=2", "groupId": "G77", "model": "Air 90", "typePrefix": "Обувь",
        "salesNotes": "Предоплата 100%", "dimensions": "30.5/20/12", "weight": "0.8", "keywords": "бег, спорт",
        "condition": {"type": "likenew", "quality": "good", "reason": "царапина"}, "age": {"value": "18", "unit": "year"},
        "manufacturerWarranty": true, "adult": false, "delivery": true, "store": false, "barcodes": ["46"],
        "deliveryOptions": [{"cost": "300", "days": "1-3", "orderBefore": "18"}],
        "pickupOptions": [{"cost": "0", "days": "1"}],
    });
    assert_eq!(attributes, expected);
    let fields: serde_json::Value = serde_json::from_str(&got.description_fields.expect("fields")).expect("JSON");
    let expected: Vec<_> = [
        ("Штрихкод", "46"),
        ("Вес, кг", "0.8"),
        ("Условия продажи", "Предоплата 100%"),
        ("Модель", "Air 90"),
        ("Тип", "Обувь"),
        ("Состояние", "как новый, хорошее качество, царапина"),
        ("Габариты, см", "30.5 × 20 × 12"),
        ("Возраст", "от 18 лет"),
        ("Гарантия производителя", "есть"),
        ("Гарантийный срок", "2 г."),
    ]
    .map(|(key, value)| serde_json::json!({"key": key, "value": value}))
    .into();
    assert_eq!(fields, serde_json::Value::from(expected));
}

#[test]
fn description_fields_are_in_order_with_units_and_without_empty_ones() {
    let got = item(
        "<param name='Цвет'>белый</param><param name='Объём' unit='л'> 1,5 </param><param name=' '>7</param>
         <param name='Пусто' unit='кг'> </param><param>без имени</param><param name='Цвет'>синий</param>
         <param name='Цвет'>белый</param><param name='A &amp; &quot;B&quot;'>да</param>
         <weight>0.2</weight><country_of_origin>Россия</country_of_origin><barcode>46</barcode><barcode>47</barcode>
         <vendorCode>В-1</vendorCode><vendor>Ромашка</vendor>",
    );
    let expected: Vec<_> = [
        ("Производитель", "Ромашка"),
        ("Артикул", "В-1"),
        ("Штрихкод", "46, 47"),
        ("Страна", "Россия"),
        ("Вес, кг", "0.2"),
        ("Цвет", "белый, синий"),
        ("Объём", "1,5 л"),
        ("A & \"B\"", "да"),
    ]
    .map(|(key, value)| serde_json::json!({"key": key, "value": value}))
    .into();
    let fields: serde_json::Value = serde_json::from_str(&got.description_fields.unwrap()).unwrap();
    assert_eq!(fields, serde_json::Value::from(expected));
    assert_eq!(item("<vendor/><param name='a'/>").description_fields, None);
}

#[test]
fn stock_is_a_count_or_a_level() {
    let outlets = "<outlets><outlet id='1' instock='10'/><outlet/><outlet instock=' 5.0 '/>
                   <outlet instock='-3'/></outlets><count>99</count>";
    let stock = |attributes: &str, inside: &str| item_with(attributes, inside).stock;
    assert_eq!(stock("", outlets), Some(Stock::Count(15)));
    assert_eq!(stock("available='true'", outlets), Some(Stock::Count(15)));
    assert_eq!(stock("available='false'", outlets), Some(Stock::Level("out")));
    assert_eq!(stock("", "<outlets><outlet instock=''/></outlets><count>4</count>"), Some(Stock::Count(4)));
    for element in ["count", "quantity_in_stock", "stock_quantity", "quantity"] {
        assert_eq!(stock("available='true'", &format!("<{element}> 0 </{element}>")), Some(Stock::Count(0)));
    }
    assert_eq!(stock("", "<quantity>1</quantity><count>много</count>"), Some(Stock::Count(1)), "numbers win");
    assert_eq!(stock("", "<count>много</count>"), Some(Stock::Level("high")));
    assert_eq!(stock("", "<count>&gt;10</count>"), Some(Stock::Count(10)));
    assert_eq!(stock("", "<count>1 200</count>"), Some(Stock::Count(1200)));
    assert_eq!(stock("available=' True '", ""), Some(Stock::Available));
    assert_eq!(stock("available='1'", ""), Some(Stock::Available));
    for available in ["false", "0", "нет", "Нет в наличии"] {
        assert_eq!(stock(&format!("available='{available}'"), "<count>5</count>"), Some(Stock::Level("out")));
    }
    for (attributes, inside) in [("available=''", ""), ("", "<count> </count>"), ("", "")] {
        assert_eq!(stock(attributes, inside), None);
    }
}

#[test]
fn the_stock_of_outlets_is_added_up() {
    let stock = |attributes: &str, inside: &str| item_with(attributes, inside).stock;
    let negative = "<outlets><outlet instock='-3'/></outlets><count>99</count>";
    assert_eq!(stock("", negative), Some(Stock::Count(0)));
    let vast = "<outlets><outlet instock='99999999999'/><outlet instock='2147483647'/></outlets>";
    assert_eq!(stock("", vast), Some(Stock::Count(i32::MAX)));
    let words = "<outlets><outlet instock='нет'/><outlet instock='есть'/></outlets>";
    assert_eq!(stock("", words), Some(Stock::Available));
}

#[test]
fn stock_that_is_not_understood_is_none() {
    for (attributes, inside) in [
        ("available='true'", "<count>скоро</count>"),
        ("", "<outlets><outlet instock='x'/></outlets>"),
        ("available='наверное'", ""),
    ] {
        let got = offers(&format!("<offer id='1' {attributes}>{inside}</offer>"));
        assert_eq!(got.items[0].stock, Some(Stock::Level("out")), "{attributes} {inside}");
        assert_eq!(got.rejected, ["offer 1: stock is not understood: out of stock until it is"]);
    }
    let partly = offers("<offer id='1'><outlets><outlet instock='x'/><outlet instock='4'/></outlets></offer>");
    assert_eq!(partly.items[0].stock, Some(Stock::Count(4)));
    assert_eq!(partly.rejected, ["offer 1: stock of an outlet is not understood: it is not counted"]);
}

#[test]
fn names_and_values_that_were_escaped_twice_are_text() {
    let twice = "&amp;quot;Ёж&amp;quot; &amp;amp; Ко";
    let got = item(&format!(
        "<name>{twice}</name><vendor>{twice}</vendor><param name='A &amp;amp; B'>{twice}</param>\
         <description>&amp;lt;p&amp;gt;дважды&amp;lt;/p&amp;gt; &amp;amp;nbsp;</description>"
    ));
    let once = "\"Ёж\" & Ко";
    assert_eq!(got.name.as_deref(), Some(once));
    assert_eq!(got.description.as_deref(), Some("дважды"));
    let fields: serde_json::Value = serde_json::from_str(&got.description_fields.unwrap()).unwrap();
    let expected = serde_json::json!([{ "key": "Производитель", "value": once }, { "key": "A & B", "value": once }]);
    assert_eq!(fields, expected);
}

#[test]
fn vat_rates_are_read_or_reported() {
    assert_eq!(item("<vat>VAT_10</vat>").vat, Some("vat10"));
    let number = item("<price>9</price><vat>7</vat>");
    assert_eq!((number.vat, number.vat_number), (None, Some(7)));
    let got = offers("<offer id='1'><price>9</price><vat>VAT_18</vat></offer>");
    assert_eq!((got.items[0].vat, got.items[0].vat_number), (None, None));
    assert_eq!(got.rejected, ["offer 1: vat is not understood: ignored"]);
}
