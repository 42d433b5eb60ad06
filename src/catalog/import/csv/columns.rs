//! The header of a price list: finds it, with the delimiter, and maps the names of its columns.

use ::csv::StringRecord;

use super::builder;
use crate::catalog::import::yml::{Field, line};

/// The header stands among the first rows; price lists may have a title above it.
const MAX_ROW: usize = 30;

const DELIMITERS: [u8; 4] = [b';', b',', b'\t', b'|'];

/// What a column holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Column {
    Id,
    /// The vendor's code, which is the id where no column is.
    Article,
    Field(Field),
    Pictures,
    /// What is paid, where [`Field::Price`] is the price before a discount.
    SalePrice,
    Available,
    /// An id, or a path or a part of it.
    Category,
    Param(String),
    /// A name that is not known.
    Ignored(String),
}

/// Names in lower case, without what stands in brackets or after a comma, and without a number at the end.
const NAMES: [(&str, Column); 81] = [
    ("id", Column::Id),
    ("offer id", Column::Id),
    ("item id", Column::Id),
    ("product id", Column::Id),
    ("sku", Column::Id),
    ("ид", Column::Id),
    ("код", Column::Id),
    ("код товара", Column::Id),
    ("идентификатор", Column::Id),
    ("идентификатор товара", Column::Id),
    ("артикул", Column::Article),
    ("артикул товара", Column::Article),
    ("артикул производителя", Column::Article),
    ("vendorcode", Column::Article),
    ("vendor code", Column::Article),
    ("mpn", Column::Article),
    ("name", Column::Field(Field::Name)),
    ("title", Column::Field(Field::Name)),
    ("название", Column::Field(Field::Name)),
    ("название товара", Column::Field(Field::Name)),
    ("наименование", Column::Field(Field::Name)),
    ("наименование товара", Column::Field(Field::Name)),
    ("товар", Column::Field(Field::Name)),
    ("номенклатура", Column::Field(Field::Name)),
    ("price", Column::Field(Field::Price)),
    ("цена", Column::Field(Field::Price)),
    ("розничная цена", Column::Field(Field::Price)),
    ("цена розничная", Column::Field(Field::Price)),
    ("цена продажи", Column::Field(Field::Price)),
    ("розница", Column::Field(Field::Price)),
    ("oldprice", Column::Field(Field::OldPrice)),
    ("old price", Column::Field(Field::OldPrice)),
    ("старая цена", Column::Field(Field::OldPrice)),
    ("цена до скидки", Column::Field(Field::OldPrice)),
    ("цена без скидки", Column::Field(Field::OldPrice)),
    ("sale price", Column::SalePrice),
    ("цена со скидкой", Column::SalePrice),
    ("currency", Column::Field(Field::Currency)),
    ("currencyid", Column::Field(Field::Currency)),
    ("валюта", Column::Field(Field::Currency)),
    ("category", Column::Category),
    ("categoryid", Column::Category),
    ("category id", Column::Category),
    ("product type", Column::Category),
    ("категория", Column::Category),
    ("подкатегория", Column::Category),
    ("раздел", Column::Category),
    ("группа", Column::Category),
    ("группа товаров", Column::Category),
    ("picture", Column::Pictures),
    ("image", Column::Pictures),
    ("images", Column::Pictures),
    ("photo", Column::Pictures),
    ("image link", Column::Pictures),
    ("additional image link", Column::Pictures),
    ("фото", Column::Pictures),
    ("изображение", Column::Pictures),
    ("изображения", Column::Pictures),
    ("картинка", Column::Pictures),
    ("description", Column::Field(Field::Description)),
    ("описание", Column::Field(Field::Description)),
    ("vendor", Column::Field(Field::Vendor)),
    ("brand", Column::Field(Field::Vendor)),
    ("производитель", Column::Field(Field::Vendor)),
    ("бренд", Column::Field(Field::Vendor)),
    ("barcode", Column::Field(Field::Barcode)),
    ("gtin", Column::Field(Field::Barcode)),
    ("ean", Column::Field(Field::Barcode)),
    ("штрихкод", Column::Field(Field::Barcode)),
    ("country of origin", Column::Field(Field::Country)),
    ("страна", Column::Field(Field::Country)),
    ("вес", Column::Field(Field::Weight)),
    ("quantity", Column::Field(Field::Count)),
    ("count", Column::Field(Field::Count)),
    ("stock", Column::Field(Field::Count)),
    ("остаток", Column::Field(Field::Count)),
    ("количество", Column::Field(Field::Count)),
    // A number or a word.
    ("наличие", Column::Field(Field::StockQuantity)),
    ("available", Column::Available),
    ("availability", Column::Available),
    ("ндс", Column::Field(Field::Vat)),
];

/// Other spellings of the names above.
const SPELLINGS: [(&str, &str); 12] = [
    ("остатки", "остаток"),
    ("остаток на складе", "остаток"),
    ("кол-во", "количество"),
    ("в наличии", "наличие"),
    ("штрих-код", "штрихкод"),
    ("страна происхождения", "страна"),
    ("страна производства", "страна"),
    ("торговая марка", "бренд"),
    ("ссылка на фото", "фото"),
    ("weight", "вес"),
    ("vat", "ндс"),
    ("ставка ндс", "ндс"),
];

/// What stands before the name of a characteristic.
const PARAM_PREFIXES: [&str; 4] = ["param", "параметр", "характеристика", "свойство"];

/// The columns of a price list.
pub(super) struct Header {
    pub delimiter: u8,
    /// How many rows are above it.
    pub row: u64,
    pub columns: Vec<Column>,
}

impl Header {
    /// The row, with the delimiter, in which most columns are known; an id and another one are needed.
    pub(super) fn find(head: &str) -> Option<Header> {
        let declared = head.lines().next().and_then(|first| first.trim().strip_prefix("sep=")?.bytes().next());
        let delimiters = declared.filter(|byte| DELIMITERS.contains(byte)).map_or(&DELIMITERS[..], |_| &[]);
        let rows = delimiters.iter().copied().chain(declared).flat_map(|delimiter| {
            let rows = builder(delimiter).from_reader(head.as_bytes()).into_records();
            (0..).zip(rows.take(MAX_ROW)).filter_map(move |(row, cells)| {
                let columns = columns(&cells.ok()?);
                let known = columns.iter().filter(|column| !matches!(column, Column::Ignored(_))).count();
                let has_id = columns.iter().any(|column| matches!(column, Column::Id | Column::Article));
                (has_id && known > 1).then_some((known, Header { delimiter, row, columns }))
            })
        });
        // Of equally good rows, the first one.
        let best = rows.reduce(|best, row| if row.0 > best.0 { row } else { best });
        best.map(|(_, header)| header)
    }

    /// The names of the columns that are not known.
    pub(super) fn ignored(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().filter_map(|column| match column {
            Column::Ignored(name) if !name.is_empty() => Some(name.as_str()),
            _ => None,
        })
    }

    /// The id in a row, in one line and not empty.
    pub(super) fn id_of(&self, row: &StringRecord) -> Option<String> {
        let id_column = self.columns.iter().position(|column| *column == Column::Id);
        let column = id_column.or_else(|| self.columns.iter().position(|column| *column == Column::Article))?;
        Some(line(row.get(column)?)).filter(|id| !id.is_empty())
    }
}

fn columns(cells: &StringRecord) -> Vec<Column> {
    let mut columns: Vec<Column> = Vec::new();
    for cell in cells {
        let column = column(cell);
        // A second column of the same kind is another value: a price of another kind, a store.
        let is_repeatable =
            matches!(column, Column::Pictures | Column::Category | Column::Param(_) | Column::Ignored(_));
        let is_repeated = !is_repeatable && columns.contains(&column);
        columns.push(if is_repeated { Column::Ignored(line(cell)) } else { column });
    }
    columns
}

fn column(cell: &str) -> Column {
    let text = line(cell);
    if let Some((prefix, name)) = text.split_once(':')
        && PARAM_PREFIXES.contains(&prefix.trim().to_lowercase().as_str())
        && !name.trim().is_empty()
    {
        return Column::Param(name.trim().to_owned());
    }
    let name = plain_name(&text);
    let name = SPELLINGS.iter().find(|(spelling, _)| *spelling == name).map_or(name.as_str(), |(_, name)| name);
    match NAMES.iter().find(|(known, _)| *known == name) {
        Some((_, column)) => column.clone(),
        None => Column::Ignored(text),
    }
}

/// `Цена (руб.)`, `Цена, руб` and `цена_1` as `цена`.
fn plain_name(text: &str) -> String {
    let name = text.to_lowercase().replace('ё', "е").replace('_', " ");
    let name = name.trim_start_matches("g:");
    let name = name.split(['(', '[', ',']).next().unwrap_or_default().trim();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '.' || c == ':' || c == '*');
    name.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_names_are_known() {
        for (name, column) in [
            ("ID", Column::Id),
            ("offer_id", Column::Id),
            ("Код товара", Column::Id),
            ("Артикул", Column::Article),
            ("Цена (руб.)", Column::Field(Field::Price)),
            ("Цена, руб", Column::Field(Field::Price)),
            ("Кол-во", Column::Field(Field::Count)),
            ("Остаток на складе, шт.", Column::Field(Field::Count)),
            ("Фото 2", Column::Pictures),
            ("image_link", Column::Pictures),
            ("Категория 1", Column::Category),
            ("Штрих-код", Column::Field(Field::Barcode)),
            ("Параметр: Цвет", Column::Param("Цвет".to_owned())),
            ("Закупочная цена", Column::Ignored("Закупочная цена".to_owned())),
            ("Оптовая цена", Column::Ignored("Оптовая цена".to_owned())),
        ] {
            assert_eq!(super::column(name), column, "{name}");
        }
        for (_, name) in SPELLINGS {
            assert!(NAMES.iter().any(|(known, _)| *known == name), "{name}");
        }
    }

    #[test]
    fn a_header_is_found_below_a_title_and_with_any_delimiter() {
        for (text, delimiter, row) in [
            ("id;name;price\n", b';', 0),
            ("id,name,price\n1,\"a;b\",5\n", b',', 0),
            ("id\tname\tprice\n", b'\t', 0),
            ("sep=,\nid,name\n", b',', 1),
            ("Прайс-лист; ООО\n\nот 1 марта;;\nКод;Наименование;Цена\n1;Чашка;5\n", b';', 2),
            ("\"id\";\"name, full\"\n", b';', 0),
        ] {
            let header = Header::find(text).unwrap_or_else(|| panic!("no header in {text:?}"));
            assert_eq!((header.delimiter, header.row), (delimiter, row), "{text:?}");
        }
        for text in ["", "id", "name;price\n1;2", "Dear Sir,\nthe id, please\n"] {
            assert!(Header::find(text).is_none(), "{text:?}");
        }
    }

    #[test]
    fn only_the_first_column_of_a_kind_is_read() {
        let header = Header::find("id;price;price;photo;photo\n").expect("a header");
        assert_eq!(header.ignored().collect::<Vec<_>>(), ["price"]);
        assert_eq!(header.columns.iter().filter(|column| **column == Column::Pictures).count(), 2);
    }
}
