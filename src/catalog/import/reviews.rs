//! Merges the reviews of a file with those that visitors have written.
//!
//! # Invariants
//! - An export holds visitors' reviews under their pseudonyms and may be old: a review that its visitor has written
//!   here is not changed (except for the shop's answer) or duplicated.
//! - A hidden review is never shown again.

use tokio_postgres::Transaction;

use super::report::ChangeCounts;
use crate::foundation::error::Result;

/// Merges the reviews of the file in `import_ready`. Items are locked before visitors' reviews, as everywhere.
pub(super) async fn merge(transaction: &Transaction<'_>, changes: &mut ChangeCounts) -> Result<()> {
    transaction.execute(CREATE_IMPORT_REVIEW, &[]).await?;
    let written = transaction.query_one(WRITE_REVIEWS, &[]).await?;
    changes.new += written.get::<_, i64>("new") as u64;
    changes.changed += written.get::<_, i64>("changed") as u64;
    transaction.execute(UPDATE_RATINGS, &[]).await?;
    changes.changed += transaction.execute(UPDATE_ANSWERS, &[]).await?;
    transaction.batch_execute("drop table import_review").await?;
    Ok(())
}

/// The file's reviews, each with the reviewer of its pseudonym; a reviewer has one review of an item.
const CREATE_IMPORT_REVIEW: &str = r#"
    create temporary table import_review on commit drop as
    with listed as (
        select distinct on (r.item_id, v.id) v.*, r.item_id
        from import_ready r join import_item s using (row_no),
             jsonb_to_recordset(s.reviews)
                 as v (id text, author text, stars smallint, text text, answer text, "createdAt" timestamptz, hidden boolean)
        where s.reviews is not null and r.problem is null and not r.later_feed
        order by r.item_id, v.id
    )
    select distinct on (l.item_id, w.owner, case when w.owner is null then l.id end) l.*, w.owner
    from listed l left join reviewer w on w.pseudonym = l.author
    order by l.item_id, w.owner, case when w.owner is null then l.id end, l."createdAt" desc nulls last"#;

const WRITE_REVIEWS: &str = include_str!("write_reviews.sql");

/// A visitor may have written a review after the item was merged. Items are locked in ascending order, as everywhere.
const UPDATE_RATINGS: &str = r"
    with locked as materialized (
        select i.item_id from item i
        where i.item_id in (select r.item_id from import_ready r join review v using (item_id)
                            where r.known and r.problem is null and not r.later_feed and v.owner is not null)
          and i.rating is distinct from item_rating(i.item_id, i.imported_rating)
        order by i.item_id for no key update
    )
    update item i set rating = item_rating(i.item_id, i.imported_rating) from locked where i.item_id = locked.item_id";

const UPDATE_ANSWERS: &str = r"
    update review v set answer = i.answer from import_review i
    where v.item_id = i.item_id and v.owner is not null and (v.owner = i.owner or v.id = i.id)
      and i.answer is not null and v.answer is distinct from i.answer";
