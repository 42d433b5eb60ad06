//! What people read of an offer beside its description: the fields of its description.

use serde_json::json;

use super::super::{html, text};
use super::{Field, MAX_FIELDS, Offer};

const MAX_KEY_CHARS: usize = 200;
const MAX_VALUE_CHARS: usize = 2_000;

/// Elements whose text is a value as it is, and the field's key.
const NAMED: [(Field, &str); 7] = [
    (Field::Vendor, "Производитель"),
    (Field::VendorCode, "Артикул"),
    (Field::Barcode, "Штрихкод"),
    (Field::Country, "Страна"),
    (Field::Weight, "Вес, кг"),
    (Field::SalesNotes, "Условия продажи"),
    (Field::Certificate, "Сертификат"),
];

impl Offer {
    /// The fields as a JSON array of `{"key", "value"}`, in a fixed order and then the parameters.
    pub(super) fn description_fields(&self) -> Option<String> {
        let mut fields: Vec<(String, Vec<String>)> = Vec::new();
        let mut add = |key: &str, value: &str| {
            let (Some(key), Some(value)) =
                (text::non_empty_line(key, MAX_KEY_CHARS), text::non_empty_line(value, MAX_VALUE_CHARS))
            else {
                return;
            };
            match fields.iter_mut().find(|(of, _)| *of == key) {
                Some((_, values)) if values.contains(&value) => {}
                Some((_, values)) => values.push(value),
                None => fields.push((key, vec![value])),
            }
        };
        for (field, key) in NAMED {
            self.all(field).take(MAX_FIELDS).for_each(|value| add(key, &html::decode_again(value)));
        }
        for (key, value) in self.described() {
            add(key, &value);
        }
        self.params.iter().for_each(|(key, value)| add(key, value));
        fields.truncate(MAX_FIELDS);
        let fields: Vec<_> = fields
            .into_iter()
            .map(|(key, values)| {
                let mut value = values.join(", ");
                text::truncate(&mut value, MAX_VALUE_CHARS);
                json!({"key": key, "value": value})
            })
            .collect();
        (!fields.is_empty()).then(|| serde_json::Value::from(fields).to_string())
    }

    /// Fields whose value is said in other words than the element's.
    fn described(&self) -> Vec<(&'static str, String)> {
        let line = |field| self.first(field, MAX_VALUE_CHARS);
        // They are the name of an offer that has no other.
        let is_named = line(Field::Name).is_some();
        let mut described = Vec::new();
        let mut add = |key, value: Option<String>| described.extend(value.map(|value| (key, value)));
        add("Модель", line(Field::Model).filter(|_| is_named));
        add("Тип", line(Field::TypePrefix).filter(|_| is_named));
        add("Состояние", self.condition());
        add("Габариты, см", line(Field::Dimensions).map(|sizes| sizes.replace('/', " × ")));
        add("Возраст", self.age());
        add("Гарантия производителя", line(Field::Warranty).map(|text| yes_or(&text)));
        add("Гарантийный срок", line(Field::WarrantyDays).map(|text| period(&text)));
        add("Срок службы", line(Field::ServiceLife).map(|text| period(&text)));
        add("Срок годности", line(Field::Validity).map(|text| period(&text)));
        described
    }

    /// The condition of a used item, its quality and the reason.
    fn condition(&self) -> Option<String> {
        let word = |field, words: &[(&str, &str)]| {
            let text = self.first(field, 100)?;
            let known = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(&text));
            Some(known.map_or(text.clone(), |(_, russian)| (*russian).to_owned()))
        };
        let kind = word(
            Field::ConditionType,
            &[
                ("likenew", "как новый"),
                ("used", "подержанный"),
                ("preowned", "бывший в употреблении"),
                ("showcasesample", "витринный образец"),
                ("refurbished", "восстановленный"),
                ("reduction", "уценённый"),
                ("new", "новый"),
            ],
        );
        let quality = word(
            Field::ConditionQuality,
            &[("perfect", "идеальное качество"), ("excellent", "отличное качество"), ("good", "хорошее качество")],
        );
        let parts: Vec<String> =
            [kind, quality, self.first(Field::ConditionReason, 1_000)].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(", "))
    }

    fn age(&self) -> Option<String> {
        let age = self.first(Field::Age, 20)?;
        let unit = match self.first(Field::AgeUnit, 20).as_deref() {
            Some("month") => "мес.",
            _ => "лет",
        };
        Some(match age.bytes().all(|digit| digit.is_ascii_digit()) {
            true => format!("от {age} {unit}"),
            false => age,
        })
    }
}

/// `true` and `false` as words.
fn yes_or(text: &str) -> String {
    match super::flag(text) {
        Some(true) => "есть".to_owned(),
        Some(false) => "нет".to_owned(),
        None => period(text),
    }
}

/// A period of ISO 8601 (`P1Y2M10D`) in words; another text stays as it is.
fn period(text: &str) -> String {
    let words = || {
        let mut rest = text.strip_prefix('P').filter(|rest| !rest.is_empty())?;
        let mut parts = Vec::new();
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|digits| *digits > 0)?;
            let (number, unit) = rest.split_at(digits);
            let (letter, word) = [("Y", "г."), ("M", "мес."), ("W", "нед."), ("D", "дн.")]
                .into_iter()
                .find(|(of, _)| unit.starts_with(of))?;
            parts.push(format!("{number} {word}"));
            rest = &unit[letter.len()..];
        }
        Some(parts.join(" "))
    };
    words().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_said_in_words_where_they_are_understood() {
        for (text, words) in [
            ("P1Y", "1 г."),
            ("P1Y2M10D", "1 г. 2 мес. 10 дн."),
            ("P2W", "2 нед."),
            ("P", "P"),
            ("PT5M", "PT5M"),
            ("P5", "P5"),
            ("P1я", "P1я"),
            ("2 года", "2 года"),
        ] {
            assert_eq!(period(text), words);
        }
    }
}
