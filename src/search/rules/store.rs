//! SQL of the shop's synonyms and pinned items.

use tokio_postgres::{Client, Row};

use super::StoredSynonym;
use super::pin::{Pin, Placement, StoredPin};
use crate::catalog::CatalogId;
use crate::foundation::error::{Error, Result};
use crate::platform::postgres::Executor;
use crate::search::query::synonyms::SynonymLine;

const OWN_SYNONYMS: &str = "select synonym_key, line, is_active from search_synonym order by synonym_id";

/// As [`own_synonyms`], over a connection of its own. A line that this version of the program does not understand is left out.
pub(super) async fn synonyms(client: &Client) -> Result<Vec<StoredSynonym>> {
    let rows = client.query(OWN_SYNONYMS, &[]).await?;
    Ok(rows.iter().filter_map(|row| read_synonym(row).ok()).collect())
}

/// The rows in the order in which they were added.
pub(super) async fn own_synonyms(client: &impl Executor) -> Result<Vec<StoredSynonym>> {
    let statement = client.prepare_cached(OWN_SYNONYMS).await?;
    client.query(&statement, &[]).await?.iter().map(read_synonym).collect()
}

fn read_synonym(row: &Row) -> Result<StoredSynonym> {
    let line: String = row.try_get("line")?;
    let parsed = SynonymLine::parse(&line);
    Ok(StoredSynonym {
        key: row.try_get("synonym_key")?,
        line: parsed.map_err(|problem| Error::internal(format!("search_synonym: {line:?}: {problem}")))?,
        is_active: row.try_get("is_active")?,
    })
}

/// Makes other changes of the synonyms wait for the end of the transaction; readers do not wait.
pub(super) async fn lock_synonyms(client: &impl Executor) -> Result<()> {
    let statement = client.prepare_cached("lock table search_synonym in share row exclusive mode").await?;
    client.execute(&statement, &[]).await?;
    Ok(())
}

pub(super) async fn put_synonyms(client: &impl Executor, lines: &[&SynonymLine], is_active: bool) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"insert into search_synonym (synonym_key, line, is_active)
             select n.synonym_key, n.line, $3
             from unnest($1::text[], $2::text[]) with ordinality n (synonym_key, line, position) order by n.position
             on conflict (synonym_key) do update set line = excluded.line, is_active = excluded.is_active",
        )
        .await?;
    let keys: Vec<String> = lines.iter().map(|line| line.key()).collect();
    let texts: Vec<&str> = lines.iter().map(|line| line.text()).collect();
    client.execute(&statement, &[&keys, &texts, &is_active]).await?;
    Ok(())
}

/// Returns whether there was one.
pub(super) async fn delete_synonym(client: &impl Executor, key: &str) -> Result<bool> {
    Ok(delete_synonyms(client, &[key]).await? > 0)
}

/// Returns how many there were.
pub(super) async fn delete_synonyms(client: &impl Executor, keys: &[&str]) -> Result<u64> {
    let statement = client.prepare_cached("delete from search_synonym where synonym_key = any ($1)").await?;
    Ok(client.execute(&statement, &[&keys]).await?)
}

/// Every query with an item that it pins or buries, over a connection of its own.
pub(super) async fn all_pins(client: &Client) -> Result<Vec<(String, Pin)>> {
    let rows = client.query("select query, item_id, position from search_pin", &[]).await?;
    rows.iter().map(|row| Ok((row.try_get("query")?, read_pin(row)?))).collect()
}

fn read_pin(row: &Row) -> Result<Pin> {
    let position: Option<i32> = row.try_get("position")?;
    Ok(Pin { item_id: row.try_get("item_id")?, placement: placement(position) })
}

fn placement(position: Option<i32>) -> Placement {
    // The column is restricted to the places that there are.
    position.map_or(Placement::Buried, |position| Placement::Position(u16::try_from(position).unwrap_or(u16::MAX)))
}

/// Makes other changes of pinned items wait for the end of the transaction; readers do not wait.
pub(super) async fn lock_pins(client: &impl Executor) -> Result<()> {
    let statement = client.prepare_cached("lock table search_pin in share row exclusive mode").await?;
    client.execute(&statement, &[]).await?;
    Ok(())
}

/// The numeric id of an item, listed or not.
pub(super) async fn item_id(client: &impl Executor, key: &CatalogId) -> Result<Option<i64>> {
    let statement = client.prepare_cached("select item_id from item where item_id = $1 or id = $2").await?;
    let (number, id) = key.number_and_id();
    Ok(client.query_opt(&statement, &[&number, &id]).await?.map(|row| row.get("item_id")))
}

pub(super) async fn pins_of(client: &impl Executor, query_key: &str) -> Result<Vec<Pin>> {
    let statement = client.prepare_cached("select item_id, position from search_pin where query_key = $1").await?;
    client.query(&statement, &[&query_key]).await?.iter().map(read_pin).collect()
}

pub(super) async fn put_pin(client: &impl Executor, query_key: &str, query: &str, pin: Pin) -> Result<()> {
    let statement = client
        .prepare_cached(
            r"insert into search_pin (query_key, item_id, query, position) values ($1, $2, $3, $4)
             on conflict (query_key, item_id) do update set query = excluded.query, position = excluded.position",
        )
        .await?;
    let position = match pin.placement {
        Placement::Position(position) => Some(i32::from(position)),
        Placement::Buried => None,
    };
    client.execute(&statement, &[&query_key, &pin.item_id, &query, &position]).await?;
    Ok(())
}

/// Of all queries, or of the one with this key.
pub(super) async fn list_pins(client: &impl Executor, query_key: Option<&str>) -> Result<Vec<StoredPin>> {
    let statement = client
        .prepare_cached(
            r"select p.query, p.item_id, p.position, i.name, l.item_id is not null as is_listed
             from search_pin p join item i using (item_id) left join listed_item l using (item_id)
             where $1::text is null or p.query_key = $1
             order by p.query_key, p.position nulls last, p.item_id",
        )
        .await?;
    let rows = client.query(&statement, &[&query_key]).await?;
    let pins = rows.iter().map(|row| {
        Ok(StoredPin {
            query: row.try_get("query")?,
            item_id: row.try_get("item_id")?,
            name: row.try_get("name")?,
            placement: placement(row.try_get("position")?),
            is_listed: row.try_get("is_listed")?,
        })
    });
    pins.collect()
}

/// Of one item, or of all; returns how many there were.
pub(super) async fn delete_pins(client: &impl Executor, query_key: &str, item_id: Option<i64>) -> Result<u64> {
    let statement = client
        .prepare_cached("delete from search_pin where query_key = $1 and ($2::bigint is null or item_id = $2)")
        .await?;
    Ok(client.execute(&statement, &[&query_key, &item_id]).await?)
}
