//! SQL of the shop's synonyms and pinned items.

use tokio_postgres::{Client, Row};

use super::StoredSynonym;
use super::pin::{Pin, Placement, StoredPin};
use crate::catalog::CatalogId;
use crate::foundation::error::Result;
use crate::platform::postgres::Executor;
use crate::search::query::synonyms::SynonymLine;

const OWN_SYNONYMS: &str = "select synonym_key, line, is_active from search_synonym order by synonym_id";

/// As [`own_synonyms`], over a connection of its own.
pub(super) async fn synonyms(client: &Client) -> Result<Vec<StoredSynonym>> {
    client.query(OWN_SYNONYMS, &[]).await?.iter().map(read_synonym).collect()
}

/// The rows in the order in which they were added.
pub(super) async fn own_synonyms(client: &impl Executor) -> Result<Vec<StoredSynonym>> {
    let statement = client.prepare_cached(OWN_SYNONYMS).await?;
    client.query(&statement, &[]).await?.iter().map(read_synonym).collect()
}

fn read_synonym(row: &Row) -> Result<StoredSynonym> {
    let text: String = row.try_get("line")?;
    Ok(StoredSynonym {
        key: row.try_get("synonym_key")?,
        line: SynonymLine::parse(&text).ok(),
        is_active: row.try_get("is_active")?,
        text,
    })
}

/// What is changed one after the other.
#[derive(Clone, Copy)]
pub(super) enum RuleLock {
    Synonyms,
    Pins,
}

/// Makes other changes of the same rules of the brand wait for the end of the transaction. A lock of the table would make imports wait
/// as well, which delete the pins of the items that they delete.
pub(super) async fn lock(client: &impl Executor, brand: &str, rules: RuleLock) -> Result<()> {
    // All brands of a database share the keys.
    let key = match rules {
        RuleLock::Synonyms => format!("brandgate:search_synonym:{brand}"),
        RuleLock::Pins => format!("brandgate:search_pin:{brand}"),
    };
    let statement = client.prepare_cached("select pg_advisory_xact_lock(hashtextextended($1, 0))").await?;
    client.execute(&statement, &[&key]).await?;
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

/// The numeric id of an item, listed or not; in a transaction it is not deleted before the end.
pub(super) async fn item_id(client: &impl Executor, key: &CatalogId) -> Result<Option<i64>> {
    let statement =
        client.prepare_cached("select item_id from item where item_id = $1 or id = $2 for key share").await?;
    let (number, id) = key.number_and_id();
    Ok(client.query_opt(&statement, &[&number, &id]).await?.map(|row| row.get("item_id")))
}

/// A row of the table of pinned items.
pub(super) struct PinRow {
    pub(super) key: String,
    pub(super) query: String,
    pub(super) pin: Pin,
}

/// The rows of all queries.
pub(super) async fn pin_rows(client: &impl Executor) -> Result<Vec<PinRow>> {
    let statement = client.prepare_cached("select query_key, query, item_id, position from search_pin").await?;
    let rows = client.query(&statement, &[]).await?;
    let rows = rows
        .iter()
        .map(|row| Ok(PinRow { key: row.try_get("query_key")?, query: row.try_get("query")?, pin: read_pin(row)? }));
    rows.collect()
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

/// Of all queries, by query and place.
pub(super) async fn list_pins(client: &impl Executor) -> Result<Vec<StoredPin>> {
    let statement = client
        .prepare_cached(
            r"select p.query, p.item_id, p.position, i.name, l.item_id is not null as is_listed
             from search_pin p join item i using (item_id) left join listed_item l using (item_id)
             order by p.query_key, p.position nulls last, p.item_id",
        )
        .await?;
    let rows = client.query(&statement, &[]).await?;
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

/// Deletes these rows; returns how many there were.
pub(super) async fn delete_pins<'p>(client: &impl Executor, rows: impl Iterator<Item = &'p PinRow>) -> Result<u64> {
    let statement = client
        .prepare_cached(
            r"delete from search_pin p using unnest($1::text[], $2::bigint[]) d (query_key, item_id)
             where p.query_key = d.query_key and p.item_id = d.item_id",
        )
        .await?;
    let (keys, items): (Vec<&str>, Vec<i64>) = rows.map(|row| (row.key.as_str(), row.pin.item_id)).unzip();
    Ok(client.execute(&statement, &[&keys, &items]).await?)
}
