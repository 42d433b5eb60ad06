//! Writing a brand's catalogue back as the document's JSON: what `import` reads, so that an import of an export changes
//! nothing.
//!
//! Called by `bin/brandgate catalog export`. One read-only snapshot, rows streamed; hidden things are in it. What must never
//! happen: a field that the import knows is missing here, or who wrote a review is in it (its pseudonym is).

use std::io::Write;
use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::{Client, IsolationLevel};

use crate::config::BrandConfig;
use crate::foundation::error::{Result, ResultExt};
use crate::platform::postgres;

/// How the records stand in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// One object with `regions`, `categories`, `items`.
    Document,
    /// One record a line.
    Lines,
}

/// Writes everything; returns the number of records.
///
/// # Errors
/// A database that is away, or an output that cannot be written.
pub async fn export(brand: &BrandConfig, shape: Shape, out: &mut (impl Write + Send)) -> Result<u64> {
    let mut client: Client = postgres::connect(&brand.database).await?;
    let transaction =
        client.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let mut records = 0;
    let parts = [("regions", REGIONS), ("categories", CATEGORIES), ("items", ITEMS)];
    for (index, (name, query)) in parts.into_iter().enumerate() {
        if shape == Shape::Document {
            let opening = if index == 0 { "{" } else { "," };
            write!(out, "{opening}\n\"{name}\": [").or_internal()?;
        }
        let mut rows = pin!(transaction.query_raw(query, std::iter::empty::<&str>()).await?);
        let mut separator = "\n";
        while let Some(row) = rows.try_next().await? {
            let record: &str = row.get(0);
            match shape {
                Shape::Document => write!(out, "{separator}{record}"),
                Shape::Lines => writeln!(out, "{record}"),
            }
            .or_internal()?;
            separator = ",\n";
            records += 1;
        }
        if shape == Shape::Document {
            write!(out, "\n]").or_internal()?;
        }
    }
    if shape == Shape::Document {
        writeln!(out, "\n}}").or_internal()?;
    }
    out.flush().or_internal()?;
    Ok(records)
}

const REGIONS: &str = "
    select jsonb_strip_nulls(jsonb_build_object(
               'id', region_id, 'city', city, 'country', country, 'countryCode', country_code, 'timezone', timezone,
               'translations', translations))::text
    from region order by position, region_id";

/// Parents come before children.
const CATEGORIES: &str = "
    select jsonb_strip_nulls(jsonb_build_object(
               'categoryID', c.category_id, 'id', c.id, 'parentID', coalesce(c.parent_id, 0), 'name', c.name,
               'icon', c.icon, 'wideBanner', c.wide_banner, 'projectId', c.project_id, 'priority', c.priority,
               'visible', c.visible, 'translations', c.translations,
               'regions', array(select region_id from category_region r where r.category_id = c.category_id order by 1)
           ))::text
    from category c order by cardinality(c.path), c.category_id";

const ITEMS: &str = "
    select jsonb_strip_nulls(jsonb_build_object(
               'itemID', i.item_id, 'id', i.id, 'categoryID', i.category_id, 'subcategoryId', s.id, 'name', i.name,
               'simpleDescription', i.simple_description, 'description', i.description,
               'descriptionFields', i.description_fields, 'currency', i.currency, 'price', trim_scale(i.price),
               'discount', trim_scale(i.discount), 'quantity', i.quantity, 'remainings', i.remainings,
               'rating', trim_scale(i.rating), 'visible', i.visible, 'priority', i.priority, 'tags', i.tags,
               'badges', i.badges, 'photos', i.photos, 'questions', i.questions, 'translations', i.translations,
               'regions', array(select region_id from item_region r where r.item_id = i.item_id order by 1),
               'comments', coalesce(r.comments, '[]'), 'callbacks', coalesce(r.callbacks, '[]')
           ))::text
    from item i
    left join category s on s.category_id = i.subcategory_id
    left join lateral (
        select jsonb_agg(jsonb_build_object(
                   'id', r.id, 'text', r.content, 'author', r.author, 'stars', r.rating,
                   'createdAt', to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                   'visible', case when r.hidden then false end
               ) order by r.review_id) as comments,
               jsonb_agg(jsonb_build_object(
                   'content', r.content, 'userID', r.author, 'rating', r.rating, 'answer', r.answer,
                   'timestamp', to_char(r.created_at at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),
                   'visible', case when r.hidden then false end
               ) order by r.review_id) as callbacks
        from review r where r.item_id = i.item_id
    ) r on true
    order by i.item_id";
