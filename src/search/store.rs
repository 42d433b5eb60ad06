//! SQL of the search: the items and categories of the index, and the search in the database while there is no index.

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde_json::Value;
use tokio_postgres::{Client, Row};

use super::index::builder::IndexedItem;
use super::index::categories::{Categories, CategoryInput};
use super::index::snapshot::{RegionSets, Tags};
use crate::catalog::{CatalogId, Page};
use crate::foundation::error::Result;
use crate::foundation::language::Language;
use crate::foundation::money;
use crate::platform::postgres::Executor;

// A language needs its text search configuration in `find`, and in the column `item.search` by a migration.
const _: () = assert!(Language::ALL.len() == 3);

/// A page of matching rows of `item_card`, and the number of all matches.
pub(super) async fn find(
    client: &impl Executor,
    query: &str,
    region: Option<&str>,
    page: Page,
) -> Result<(Vec<Row>, i64)> {
    let statement = client.prepare_cached(include_str!("find.sql")).await?;
    let mut rows = client.query(&statement, &[&query, &region, &page.count, &page.skip]).await?;
    let total = rows.first().map_or(0, |row| row.get("total"));
    // Beyond the last match there is one row with the total alone.
    rows.retain(|row| row.get::<_, Option<i64>>("item_id").is_some());
    Ok((rows, total))
}

/// The shown categories, those above before those below.
pub(super) async fn index_categories(client: &Client) -> Result<Vec<CategoryInput>> {
    let rows = client
        .query(
            "select category_id, id, parent_id, name, translations,
                    array(select region_id from category_region r where r.category_id = c.category_id) as regions
             from category c where shown order by cardinality(path), category_id",
            &[],
        )
        .await?;
    let categories = rows.iter().map(|row| {
        let translations: Value = row.try_get("translations")?;
        let name: String = row.try_get("name")?;
        let mut names = vec![(Language::Ru, name)];
        names.extend(translated_names(&translations));
        Ok(CategoryInput {
            category_id: row.try_get("category_id")?,
            id: row.try_get("id")?,
            parent_id: row.try_get("parent_id")?,
            names,
            regions: row.try_get("regions")?,
        })
    });
    categories.collect()
}

fn translated_names(translations: &Value) -> impl Iterator<Item = (Language, String)> {
    let others = Language::ALL.iter().filter(|language| **language != Language::Ru);
    others.filter_map(|language| {
        let name = translations.get(language.tag())?.get("name")?.as_str()?;
        (!name.is_empty()).then(|| (*language, name.to_owned()))
    })
}

/// A listed item as it is indexed.
pub(super) struct ItemRow {
    pub item_id: i64,
    category_id: i64,
    name: String,
    translations: Value,
    tags: Vec<String>,
    fields: Value,
    texts: Vec<String>,
    price: Decimal,
    discount: Decimal,
    sale_price: Option<Decimal>,
    in_stock: bool,
    rating: Decimal,
    priority: i32,
    regions: Vec<String>,
    /// What the shop's feed adds for searches.
    keywords: Option<String>,
}

/// Listed items in the order of their numbers, after this one.
pub(super) async fn index_items_after(client: &Client, after: i64, limit: i64) -> Result<Vec<ItemRow>> {
    let rows = client.query(include_str!("index_items_after.sql"), &[&after, &limit]).await?;
    rows.iter().map(ItemRow::read).collect()
}

/// Those of the items that are listed, in the order of their numbers.
pub(super) async fn index_items(client: &Client, ids: &[i64]) -> Result<Vec<ItemRow>> {
    let rows = client.query(include_str!("index_items.sql"), &[&ids]).await?;
    rows.iter().map(ItemRow::read).collect()
}

/// Whether visitors may see an item.
pub(super) struct ItemState {
    pub item_id: i64,
    pub name: String,
    pub is_visible: bool,
    /// Its category and all above it.
    pub is_category_shown: bool,
}

/// `None` for an item that does not exist.
pub(super) async fn item_state(client: &Client, key: &CatalogId) -> Result<Option<ItemState>> {
    let (number, id) = key.number_and_id();
    let row = client
        .query_opt(
            "select i.item_id, i.name, i.visible, coalesce(n.shown, false) as shown
             from item i left join category n on n.category_id = i.node_id where i.item_id = $1 or i.id = $2",
            &[&number, &id],
        )
        .await?;
    let state = row.map(|row| {
        Ok(ItemState {
            item_id: row.try_get("item_id")?,
            name: row.try_get("name")?,
            is_visible: row.try_get("visible")?,
            is_category_shown: row.try_get("shown")?,
        })
    });
    state.transpose()
}

impl ItemRow {
    fn read(row: &Row) -> Result<ItemRow> {
        let quantity: Option<i32> = row.try_get("quantity")?;
        let remainings: Option<String> = row.try_get("remainings")?;
        let simple: Option<String> = row.try_get("simple_description")?;
        let description: String = row.try_get("description")?;
        Ok(ItemRow {
            item_id: row.try_get("item_id")?,
            category_id: row.try_get("node_id")?,
            name: row.try_get("name")?,
            translations: row.try_get("translations")?,
            tags: row.try_get("tags")?,
            fields: row.try_get("description_fields")?,
            texts: simple.into_iter().chain([description]).filter(|text| !text.is_empty()).collect(),
            price: row.try_get("price")?,
            discount: row.try_get("discount")?,
            sale_price: row.try_get("sale_price")?,
            in_stock: quantity.map_or(remainings.as_deref() != Some("out"), |quantity| quantity > 0),
            rating: row.try_get("rating")?,
            priority: row.try_get("priority")?,
            regions: row.try_get("regions")?,
            keywords: row.try_get("keywords")?,
        })
    }

    /// `decimals`: of what is paid, in roubles. `None` for an item of a category that is not in the index yet; the category's change rebuilds it.
    pub(super) fn into_indexed(
        self,
        categories: &Categories,
        tags: &mut Tags,
        region_sets: &mut RegionSets,
        decimals: u32,
    ) -> Option<IndexedItem> {
        let paid = money::paid_price(self.price, self.discount, self.sale_price, decimals) * Decimal::ONE_HUNDRED;
        let (brands, mut fields) = split_fields(&self.fields);
        fields.extend(self.keywords);
        let mut texts = self.texts;
        for language in Language::ALL {
            let translation = self.translations.get(language.tag());
            let text = translation.and_then(|translation| translation.get("simpleDescription")?.as_str());
            texts.extend(text.map(str::to_owned));
        }
        Some(IndexedItem {
            item_id: self.item_id,
            translated_names: translated_names(&self.translations).map(|(_, name)| name).collect(),
            name: self.name,
            brands,
            tag_numbers: self.tags.iter().map(|tag| tags.number(tag)).collect(),
            tags: self.tags,
            fields,
            descriptions: texts,
            category: categories.position(self.category_id)?,
            price: paid.to_i64()?,
            priority: self.priority,
            rating: (self.rating * Decimal::TEN).to_u8().unwrap_or(0),
            in_stock: self.in_stock,
            discounted: !self.discount.is_zero() || self.sale_price.is_some_and(|price| price < self.price),
            regions: region_sets.number(&self.regions),
        })
    }
}

/// The values of the fields: brands apart.
fn split_fields(fields: &Value) -> (Vec<String>, Vec<String>) {
    const BRAND_KEYS: [&str; 6] = ["бренд", "brand", "производитель", "vendor", "марка", "торговая марка"];
    let (mut brands, mut others) = (Vec::new(), Vec::new());
    for field in fields.as_array().into_iter().flatten() {
        let text = |name: &str| field.get(name).and_then(Value::as_str).unwrap_or_default();
        let (key, value) = (text("key").trim().to_lowercase(), text("value"));
        let values = if BRAND_KEYS.contains(&key.as_str()) { &mut brands } else { &mut others };
        if !value.is_empty() {
            values.push(value.to_owned());
        }
    }
    (brands, others)
}
