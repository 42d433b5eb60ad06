//! The reviews of an import, merged with what visitors have written.
//!
//! Called by `merge` for each file, after its items. An export holds visitors' reviews under their pseudonyms, and it may be
//! old: whoever has written here keeps what they wrote. What must never happen: a visitor's review is changed (but for the
//! shop's answer), doubled, or shown again after it was hidden.

use tokio_postgres::Transaction;

use super::report::ChangeCounts;
use crate::foundation::error::Result;

/// Items are locked before visitors' reviews, as everywhere.
pub(super) async fn merge(transaction: &Transaction<'_>, changes: &mut ChangeCounts) -> Result<()> {
    transaction.execute(LIST, &[]).await?;
    let written = transaction.query_one(WRITE, &[]).await?;
    changes.new += written.get::<_, i64>("new") as u64;
    changes.changed += written.get::<_, i64>("changed") as u64;
    transaction.execute(RATE, &[]).await?;
    changes.changed += transaction.execute(ANSWER, &[]).await?;
    transaction.batch_execute("drop table import_review").await?;
    Ok(())
}

/// The file's reviews, each with the reviewer whose pseudonym it bears; a reviewer has one review of an item.
const LIST: &str = "
    create temporary table import_review on commit drop as
    with listed as (
        select distinct on (r.item_id, v.id) v.*, r.item_id
        from import_ready r join import_item s using (row_no),
             jsonb_to_recordset(s.reviews)
                 as v (id text, author text, stars smallint, text text, answer text, \"createdAt\" timestamptz, hidden boolean)
        where s.reviews is not null and r.problem is null and not r.later_feed
        order by r.item_id, v.id
    )
    select distinct on (l.item_id, w.owner, case when w.owner is null then l.id end) l.*, w.owner
    from listed l left join reviewer w on w.pseudonym = l.author
    order by l.item_id, w.owner, case when w.owner is null then l.id end, l.\"createdAt\" desc nulls last";

/// A visitor's review comes back to its owner where it went with the item, and is left alone where it is.
const WRITE: &str = "
    with written as (
        insert into review (id, item_id, owner, rating, content, author, answer, created_at, hidden)
        select i.id, i.item_id, i.owner, i.stars, i.text, i.author, i.answer, i.\"createdAt\", i.hidden
        from import_review i
        where not exists (select from review v
                          where v.item_id = i.item_id and v.owner is not null and (v.owner = i.owner or v.id = i.id))
        order by i.\"createdAt\" nulls first
        on conflict (item_id, id) do update
        set rating = coalesce(excluded.rating, review.rating), content = excluded.content,
            author = coalesce(excluded.author, review.author), answer = coalesce(excluded.answer, review.answer),
            created_at = coalesce(excluded.created_at, review.created_at), hidden = review.hidden or excluded.hidden
        where (review.rating, review.content, review.author, review.answer, review.created_at, review.hidden)
              is distinct from
              (coalesce(excluded.rating, review.rating), excluded.content, coalesce(excluded.author, review.author),
               coalesce(excluded.answer, review.answer), coalesce(excluded.created_at, review.created_at),
               review.hidden or excluded.hidden)
        returning xmax = 0 as inserted
    )
    select count(*) filter (where inserted) as new, count(*) filter (where not inserted) as changed from written";

/// A visitor's review may have come while this import was about its item.
const RATE: &str = "
    update item i set rating = item_rating(i.item_id, i.imported_rating)
    where i.item_id in (select r.item_id from import_ready r join review v using (item_id)
                        where r.known and r.problem is null and not r.later_feed and v.owner is not null)
      and i.rating is distinct from item_rating(i.item_id, i.imported_rating)";

const ANSWER: &str = "
    update review v set answer = i.answer from import_review i
    where v.item_id = i.item_id and v.owner is not null and (v.owner = i.owner or v.id = i.id)
      and i.answer is not null and v.answer is distinct from i.answer";
