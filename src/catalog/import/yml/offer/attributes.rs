//! What programs read of an offer: the JSON object of its attributes.

use serde_json::{Map, Value, json};

use super::super::{html, text};
use super::{Field, MAX_FIELDS, Offer, flag};

const MAX_TEXT_CHARS: usize = 2_000;
const MAX_OPTIONS: usize = 20;

/// A way of delivery, or of collection, as `<option>` says it: cost, days, and before which hour it is ordered.
pub(in super::super) type DeliveryOption = [Option<String>; 3];

impl Offer {
    /// A member for each element that the offer has, of a JSON object.
    pub(super) fn attributes(&self) -> Option<String> {
        let line = |field| self.first(field, MAX_TEXT_CHARS);
        let mut members = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                members.insert(name.to_owned(), value);
            }
        };
        add("url", self.url().map(Value::from));
        add(
            "groupId",
            self.group_id
                .as_deref()
                .map(text::line)
                .filter(|id| !id.is_empty())
                .or_else(|| line(Field::GroupId))
                .map(Value::from),
        );
        for (name, field) in [
            ("vendor", Field::Vendor),
            ("vendorCode", Field::VendorCode),
            ("model", Field::Model),
            ("typePrefix", Field::TypePrefix),
            ("dimensions", Field::Dimensions),
            ("weight", Field::Weight),
            ("keywords", Field::Keywords),
            ("salesNotes", Field::SalesNotes),
        ] {
            add(name, line(field).map(Value::from));
        }
        let barcodes: Vec<String> =
            self.all(Field::Barcode).map(text::line).filter(|code| !code.is_empty()).take(MAX_FIELDS).collect();
        add("barcodes", (!barcodes.is_empty()).then(|| barcodes.into()));
        for (name, field) in [
            ("manufacturerWarranty", Field::Warranty),
            ("adult", Field::Adult),
            ("delivery", Field::Delivery),
            ("pickup", Field::Pickup),
            ("store", Field::Store),
        ] {
            add(name, line(field).map(|text| flag(&text).map_or(Value::from(text), Value::from)));
        }
        let condition =
            [("type", Field::ConditionType), ("quality", Field::ConditionQuality), ("reason", Field::ConditionReason)];
        add("condition", object(condition.map(|(name, field)| (name, line(field)))));
        add(
            "age",
            object([("value", line(Field::Age)), ("unit", line(Field::AgeUnit))])
                .filter(|age| age.get("value").is_some()),
        );
        add("deliveryOptions", options(&self.delivery_options));
        add("pickupOptions", options(&self.pickup_options));
        (!members.is_empty()).then(|| Value::Object(members).to_string())
    }
}

/// An object of the members that are present.
fn object<const N: usize>(members: [(&str, Option<String>); N]) -> Option<Value> {
    let present = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), Value::from(value?))));
    let present: Map<String, Value> = present.collect();
    (!present.is_empty()).then(|| present.into())
}

fn options(options: &[DeliveryOption]) -> Option<Value> {
    let line = |text: &Option<String>| text::non_empty_line(&html::decode_again(text.as_deref()?), 100);
    let list = options.iter().take(MAX_OPTIONS).filter_map(|[cost, days, order_before]| {
        object([("cost", line(cost)), ("days", line(days)), ("orderBefore", line(order_before))])
    });
    let list: Vec<Value> = list.collect();
    (!list.is_empty()).then(|| json!(list))
}
