//! What a feed says of an item beside its price: where it is shown, found and exported.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::import::exported;

const FEED: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<yml_catalog date="2026-11-30 10:00"><shop><name>t</name><url>https://shop.example/</url>
<categories><category id="71">Обувь</category></categories><offers>
<offer id="101" available="true" group_id="G77"><name>Кроссовки</name><categoryId>71</categoryId><price>1000</price>
<url>/p/77?sku=1</url><picture>//cdn.example/1.jpg</picture><picture>upload/2.jpg</picture><picture>ftp://x/3.jpg</picture>
<video>https://shop.example/v.mp4</video><purchase_price>500.50</purchase_price><keywords>марафонки</keywords>
<name_ua>Кросівки</name_ua><age unit="month">6</age><adult>true</adult><vat>NO_VAT</vat>
<param name="Материал"><value lang="ru">кожа</value><value lang="uk">шкіра</value></param></offer>
</offers></shop></yml_catalog>"#;

#[tokio::test]
async fn fields_of_a_feed_are_shown_found_and_exported() {
    let site = Site::new(&["dexar", "novo"]);
    let output = site.import_text("dexar", "feed.xml", FEED, &[]).success();
    for reason in ["has elements in another language", "a picture or video has no usable address"] {
        assert!(output.contains(reason) && output.contains("(offer 101)"), "{reason} is not in {output}");
    }
    let gateway = site.start();
    let client = gateway.client("dexar");
    let item = client.json("/item/101").await;
    let pictures = ["https://cdn.example/1.jpg", "https://shop.example/upload/2.jpg"];
    assert_eq!(item["imgs"], json!(pictures));
    let video = "https://shop.example/v.mp4";
    let photos = json!([{"url": pictures[0]}, {"url": pictures[1]}, {"url": video, "video": video, "type": "video"}]);
    assert_eq!(item["photos"], photos);
    let attributes = json!({"url": "https://shop.example/p/77?sku=1", "groupId": "G77", "keywords": "марафонки",
                            "age": {"value": "6", "unit": "month"}, "adult": true});
    let fields = json!([{"key": "Возраст", "value": "от 6 мес."}, {"key": "Материал", "value": "кожа"}]);
    assert_eq!(item["descriptionFields"], fields);
    // Waits until the index is built.
    client.json("/category/71/facets").await;
    let found =
        client.json("/searchitems?exact=true&search=%D0%BC%D0%B0%D1%80%D0%B0%D1%84%D0%BE%D0%BD%D0%BA%D0%B8").await;
    assert_eq!(found["items"][0]["itemID"], 101, "by its keyword");
    for path in
        ["/item/101", "/category/71", "/searchitems?search=%D0%BA%D1%80%D0%BE%D1%81%D1%81%D0%BE%D0%B2%D0%BA%D0%B8"]
    {
        let text = client.json(path).await.to_string();
        assert!(
            !text.contains("500.5") && !text.contains("urchase") && !text.contains("attributes"),
            "{path} shows what the shop pays: {text}"
        );
    }
    let shop = exported(&site, "dexar");
    let exported_item = &shop["items"][0];
    assert_eq!((&exported_item["purchasePrice"], &exported_item["vat"]), (&json!(500.5), &json!("none")));
    assert_eq!(exported_item["attributes"], attributes);
    site.import_text("novo", "export.json", shop.to_string(), &[]).success();
    assert_eq!(exported(&site, "novo")["items"], shop["items"]);
}

#[test]
fn a_complete_feed_clears_what_it_leaves_out_and_a_delta_does_not() {
    let site = Site::new(&["dexar"]);
    site.import_text("dexar", "feed.xml", FEED, &[]).success();
    let delta =
        FEED.replace("<keywords>марафонки</keywords>", "").replace("<adult>true</adult>", "<adult>false</adult>");
    site.import_text("dexar", "delta.xml", &delta, &[]).success();
    let attributes = |shop: &Value| shop["items"][0]["attributes"].clone();
    let kept = attributes(&exported(&site, "dexar"));
    assert_eq!((&kept["keywords"], &kept["adult"]), (&json!("марафонки"), &json!(false)));
    site.import_text("dexar", "delta.xml", &delta, &["--replace"]).success();
    let cleared = attributes(&exported(&site, "dexar"));
    assert_eq!((cleared.get("keywords"), &cleared["groupId"]), (None, &json!("G77")));
}

#[test]
fn numbers_of_vat_mean_what_the_brand_says() {
    let feed = |number: u8| FEED.replace("<vat>NO_VAT</vat>", &format!("<vat>{number}</vat>"));
    let mut site = Site::new(&["dexar"]);
    let output = site.import_text("dexar", "feed.xml", feed(5), &[]).success();
    assert!(
        output.contains("vat 5 is ambiguous: ignored; say in [import] vat_numbers what it means (item_101)"),
        "{output}"
    );
    let vat = |site: &Site| exported(site, "dexar")["items"][0].get("vat").cloned();
    assert_eq!(vat(&site), None);
    for (meaning, number, rate) in [("percent", 5, "vat5"), ("percent", 10, "vat10"), ("yandex", 7, "vat20")] {
        site.change_brand("dexar", |file| file.more = format!("[import]\nvat_numbers = \"{meaning}\"\n"));
        site.import_text("dexar", "feed.xml", feed(number), &[]).success();
        assert_eq!(vat(&site), Some(json!(rate)), "{meaning} {number}");
    }
}
