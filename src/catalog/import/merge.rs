//! From what was staged to what the shop sells: the SQL of an import, inside one transaction.
//!
//! Called by `import::run`. Files are merged one after another, as if each were an import of its own. City feeds (files with
//! a region) are united: within one import the first feed that names an item decides its fields, a later one only adds
//! its region, and a price that differs is reported. What must never happen: a column that a record is silent about is
//! written, or a row is rewritten that does not change.

use std::pin::pin;

use futures_util::TryStreamExt;
use tokio_postgres::Transaction;

use super::record::{RegionRecord, Rejected};
use super::report::{ChangeCounts, ImportReport, Summary};
use super::stage::Staged;
use super::{ImportSource, Options, categories, reviews};
use crate::foundation::error::{Error, Result};

pub(super) async fn merge(
    transaction: &Transaction<'_>,
    brand: &str,
    sources: &[ImportSource],
    staged: Staged,
    options: Options,
    report: &mut ImportReport,
) -> Result<Summary> {
    let lock = format!("brandgate:import:{brand}");
    let lock_now = "select pg_try_advisory_xact_lock(hashtextextended($1, 0))";
    if !transaction.query_one(lock_now, &[&lock]).await?.get::<_, bool>(0) {
        tracing::warn!(brand, "another import of this brand is running: waiting for its end");
        transaction.execute("select pg_advisory_xact_lock(hashtextextended($1, 0))", &[&lock]).await?;
    }
    // A long pending list lets the search index take many rows at once.
    transaction.batch_execute("set local work_mem = '64MB'; set local gin_pending_list_limit = '64MB'").await?;
    transaction.batch_execute(CREATE_TOUCHED).await?;
    let has_categories = !staged.categories.is_empty();
    let (spared_numbers, spared_ids) = (staged.spared_numbers, staged.spared_ids);
    if options.replace && staged.unattributed > 0 {
        let sentence = format!(
            "{} records cannot be used and do not say what they are about: --replace might remove their items.",
            staged.unattributed
        );
        return Err(Error::malformed("unattributed_records", sentence));
    }
    let mut summary = Summary { regions: regions(transaction, &staged.regions, report).await?, ..Summary::default() };
    let (changes, named) = categories::merge(transaction, staged.categories, report).await?;
    summary.categories = changes;
    for (file_no, source) in (0..).zip(sources) {
        file(transaction, file_no, source.region.as_deref(), &mut summary, report).await?;
    }
    if options.replace {
        if summary.items_read == 0 {
            let sentence = "The files hold no item that can be used: --replace would empty the shop.";
            return Err(Error::malformed("empty_import", sentence));
        }
        summary.items.removed = transaction.execute(REMOVE_ITEMS, &[&spared_numbers, &spared_ids]).await?;
        transaction.execute(LEAVE_REGIONS, &[]).await?;
        if has_categories {
            summary.categories.removed = transaction.execute(REMOVE_CATEGORIES, &[&named]).await?;
        }
    }
    summary.items.changed = transaction.query_one(COUNT_CHANGED, &[]).await?.get::<_, i64>(0) as u64;
    Ok(summary)
}

/// Merges one file's items.
async fn file(
    transaction: &Transaction<'_>,
    file_no: i32,
    region: Option<&str>,
    summary: &mut Summary,
    report: &mut ImportReport,
) -> Result<()> {
    if let Some(region) = region {
        let known = transaction.query_opt("select from region where region_id = $1", &[&region]).await?;
        if known.is_none() {
            let sentence = format!("There is no region {region}: import the regions first.");
            return Err(Error::malformed("unknown_region", sentence));
        }
    }
    transaction.batch_execute("drop table if exists import_ready").await?;
    transaction.execute(RESOLVE, &[&file_no, &region]).await?;
    transaction.batch_execute("analyze import_ready").await?;
    each_row(transaction, PROBLEMS, None, |label, problem| report.reject(Rejected::left_out(label, problem))).await?;
    each_row(transaction, REPEATED, Some(file_no), |label, reason| report.reject(Rejected::left_out(label, reason)))
        .await?;
    each_row(transaction, OTHER_PRICES, None, |label, reason| report.notice(Rejected::kept(label, reason))).await?;
    let usable = transaction.query_one(USABLE, &[]).await?;
    summary.items_read += usable.get::<_, i64>("usable") as u64;
    if usable.get("any_new") {
        summary.items.new += transaction.execute(INSERT_ITEMS, &[]).await?;
    }
    if usable.get("any_known") {
        transaction.execute(UPDATE_ITEMS, &[]).await?;
    }
    transaction.execute(REPLACE_REGIONS, &[]).await?;
    if let Some(region) = region {
        transaction.execute(ADD_REGION, &[&region]).await?;
    }
    reviews::merge(transaction, &mut summary.reviews).await?;
    transaction.execute(TOUCH, &[&region]).await?;
    Ok(())
}

/// Hands over the label and the reason of each row, one at a time: a bad file may have as many as it has records.
async fn each_row(
    transaction: &Transaction<'_>,
    query: &str,
    parameter: Option<i32>,
    mut take: impl FnMut(String, String),
) -> Result<()> {
    let mut rows = pin!(transaction.query_raw(query, parameter).await?);
    while let Some(row) = rows.try_next().await? {
        take(row.get("label"), row.get("reason"));
    }
    Ok(())
}

async fn regions(
    transaction: &Transaction<'_>,
    records: &[RegionRecord],
    report: &mut ImportReport,
) -> Result<ChangeCounts> {
    let mut changes = ChangeCounts::default();
    for record in records {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&record.id, &record.city, &record.country, &record.country_code, &record.timezone, &record.translations];
        if transaction.query_opt("select from region where region_id = $1", &[&record.id]).await?.is_some() {
            changes.changed += transaction.execute(UPDATE_REGION, &values).await?;
        } else if record.city.is_some() && record.country.is_some() && record.country_code.is_some() {
            changes.new += transaction.execute(INSERT_REGION, &values).await?;
        } else {
            let label = format!("region {}", record.id);
            report.reject(Rejected::left_out(label, "is new and lacks its city, country or countryCode"));
        }
    }
    Ok(changes)
}

const INSERT_REGION: &str = "
    insert into region (region_id, city, country, country_code, timezone, translations, position)
    select $1, $2::text, $3::text, $4::text, $5, coalesce($6::text::jsonb, '{}'), coalesce(max(position), 0) + 1 from region";

const UPDATE_REGION: &str = "
    update region r
    set city = n.city, country = n.country, country_code = n.country_code, timezone = n.timezone,
        translations = n.translations
    from (select coalesce($2, city) as city, coalesce($3, country) as country, coalesce($4, country_code) as country_code,
                 coalesce($5, timezone) as timezone, import_merge_translations(translations, $6::text::jsonb) as translations
          from region where region_id = $1) n
    where r.region_id = $1
      and (r.city, r.country, r.country_code, r.timezone, r.translations)
          is distinct from (n.city, n.country, n.country_code, n.timezone, n.translations)";

/// Items that this import has named so far, with the price that stands and the regions of the feeds that have them; and items
/// that it has written to.
const CREATE_TOUCHED: &str = "
    create temporary table import_touched (
        item_id bigint primary key, is_new boolean not null, by_feed boolean not null, price numeric(14, 2),
        regions text[] not null
    ) on commit drop;
    create temporary table import_changed (item_id bigint not null) on commit drop";

/// What the files changed of items that were there before.
const COUNT_CHANGED: &str = "
    select count(distinct item_id) from import_changed join import_touched using (item_id) where not is_new";

/// Finds what every record of a file is about, and what is wrong with it. Only what was found out is written down; the wide
/// columns stay where they were staged.
const RESOLVE: &str = "
    create temporary table import_ready on commit drop as
    with numbered as (
        select distinct on (coalesce(s.number, known.item_id, s.hashed))
               coalesce(s.number, known.item_id, s.hashed) as item_id, s.row_no, s.number, s.id, s.category_numbers,
               s.category_ids, s.subcategory, s.name is null as nameless, s.price, s.regions
        from import_item s
        left join item known on s.number is null and known.id = s.id
        where s.file_no = $1
        order by coalesce(s.number, known.item_id, s.hashed), s.row_no
    ), resolved as (
        select s.*, i.item_id is not null as known,
               coalesce(s.id, i.id, 'item_' || s.item_id) as final_id,
               $2::text is not null and t.by_feed is true as later_feed,
               t.price as first_price,
               named.category_id as named_category_id,
               sub.category_id as named_subcategory_id,
               cardinality(s.category_numbers) + cardinality(s.category_ids) > 0 as names_category,
               owner.item_id as id_owner,
               row_number() over (partition by coalesce(s.id, i.id, 'item_' || s.item_id) order by s.row_no) as place_of_id
        from numbered s
        left join item i on i.item_id = s.item_id
        left join item owner on i.item_id is null and owner.id = coalesce(s.id, 'item_' || s.item_id)
        left join import_touched t on t.item_id = s.item_id
        left join lateral (
            select c.category_id from (
                select n.number, null::text as id, n.position from unnest(s.category_numbers) with ordinality n (number, position)
                union all
                select null, n.id, n.position + 1000 from unnest(s.category_ids) with ordinality n (id, position)
            ) n join category c on c.category_id = n.number or c.id = n.id
            order by n.position limit 1
        ) named on true
        left join category sub on sub.id = s.subcategory
    )
    select r.item_id, r.row_no, r.known, r.final_id, r.later_feed, r.price, r.first_price, r.named_subcategory_id,
           coalesce(r.named_category_id, top.category_id) as category_id,
           case
               when r.later_feed then null
               when not r.known and r.nameless then 'is new and has no name'
               when not r.known and r.price is null then 'is new and has no price'
               when r.id_owner is not null or (not r.known and r.place_of_id > 1)
                   then 'its id belongs to another item already'
               when r.subcategory is not null and r.named_subcategory_id is null then 'its subcategory does not exist'
               when r.names_category and r.named_category_id is null then 'names no category that exists'
               when not r.known and r.named_category_id is null and r.named_subcategory_id is null
                   then 'is new and names no category'
               when exists (select from unnest(r.regions) n (region_id) left join region using (region_id)
                            where region.region_id is null) then 'names a region that does not exist'
           end as problem
    from resolved r
    left join lateral (
        select c.path[1] as category_id from category c where c.category_id = r.named_subcategory_id
    ) top on true";

const PROBLEMS: &str = "
    select final_id as label, problem as reason from import_ready
    where problem is not null order by row_no";

const REPEATED: &str = "
    select coalesce(s.id, 'item ' || s.number) as label, 'stands twice in the file: the first one stays' as reason
    from import_item s
    where s.file_no = $1 and not exists (select from import_ready r where r.row_no = s.row_no)
    order by s.row_no";

const OTHER_PRICES: &str = "
    select final_id || ' (' || price || ')' as label,
           'costs something else in another city: the first feed''s price stays' as reason
    from import_ready
    where later_feed and problem is null and price <> first_price order by row_no";

const USABLE: &str = "
    select count(*) as usable, coalesce(bool_or(known), false) as any_known,
           coalesce(bool_or(not known and not later_feed), false) as any_new
    from import_ready where problem is null";

const INSERT_ITEMS: &str = "
    insert into item (item_id, id, category_id, subcategory_id, name, simple_description, description, description_fields,
                      currency, price, discount, quantity, remainings, rating, imported_rating, visible, priority, tags,
                      badges, photos, questions, translations, held)
    select r.item_id, r.final_id, r.category_id, r.named_subcategory_id, s.name, s.simple_description,
           coalesce(s.description, ''), coalesce(s.description_fields, '[]'), coalesce(s.currency, 'RUB'), s.price,
           coalesce(s.discount, 0), s.quantity, coalesce(s.remainings, case when s.available then 'high' end),
           coalesce(s.rating, 0), coalesce(s.rating, 0), coalesce(s.visible, true), coalesce(s.priority, 0),
           coalesce(s.tags, '{}'), coalesce(s.badges, '{}'), coalesce(s.photos, '[]'),
           coalesce(s.questions, '[]'), coalesce(s.translations, '{}'),
           -- an item that went and comes back is still held by the payments that hold it
           (select coalesce(sum(l.quantity), 0) from payment_line l join payment p using (payment_id)
            where l.item_id = r.item_id and p.holds)
    from import_ready r join import_item s using (row_no)
    where not r.known and r.problem is null and not r.later_feed";

const UPDATE_ITEMS: &str = "
    with updated as (
    update item i
    set category_id = n.category_id, subcategory_id = n.subcategory_id, name = n.name,
        simple_description = n.simple_description, description = n.description,
        description_fields = n.description_fields, currency = n.currency, price = n.price, discount = n.discount,
        -- What a record is silent about is the row's own at the moment of writing: pieces are sold while an import runs.
        quantity = case when n.has_stock then n.quantity
                        when n.available and i.quantity = 0 then null else i.quantity end,
        remainings = case when n.has_stock then n.remainings
                          when n.available and (i.quantity = 0 or i.remainings = 'out') then 'high'
                          else i.remainings end,
        imported_rating = n.imported_rating,
        rating = case when n.is_reviewed then i.rating else n.imported_rating end,
        visible = n.visible, priority = n.priority, tags = n.tags, badges = n.badges, photos = n.photos,
        questions = n.questions, translations = n.translations
    from (
        select o.item_id,
               coalesce(r.category_id, o.category_id) as category_id,
               case when r.named_subcategory_id is not null then r.named_subcategory_id
                    when coalesce(r.category_id, o.category_id) = o.category_id then o.subcategory_id end as subcategory_id,
               coalesce(s.name, o.name) as name,
               coalesce(s.simple_description, o.simple_description) as simple_description,
               coalesce(s.description, o.description) as description,
               coalesce(s.description_fields, o.description_fields) as description_fields,
               coalesce(s.currency, o.currency) as currency,
               coalesce(s.price, o.price) as price,
               coalesce(s.discount, o.discount) as discount,
               s.has_stock, s.available, s.quantity, s.remainings,
               -- a file that says what is shown anyway says nothing new
               coalesce(nullif(s.rating, o.rating), o.imported_rating) as imported_rating,
               exists (select from review v where v.item_id = o.item_id and v.owner is not null and not v.hidden)
                   as is_reviewed,
               coalesce(s.visible, o.visible) as visible,
               coalesce(s.priority, o.priority) as priority,
               coalesce(s.tags, o.tags) as tags,
               coalesce(s.badges, o.badges) as badges,
               coalesce(s.photos, o.photos) as photos,
               coalesce(s.questions, o.questions) as questions,
               import_merge_translations(o.translations, s.translations) as translations
        from import_ready r join import_item s using (row_no) join item o on o.item_id = r.item_id
        where r.known and r.problem is null and not r.later_feed
    ) n
    where i.item_id = n.item_id
      and ((i.category_id, i.subcategory_id, i.name, i.simple_description, i.description, i.description_fields, i.currency,
           i.price, i.discount, i.imported_rating, i.visible, i.priority, i.tags, i.badges,
           i.photos, i.questions, i.translations)
          is distinct from
          (n.category_id, n.subcategory_id, n.name, n.simple_description, n.description, n.description_fields, n.currency,
           n.price, n.discount, n.imported_rating, n.visible, n.priority, n.tags, n.badges,
           n.photos, n.questions, n.translations)
           or n.has_stock and (i.quantity, i.remainings) is distinct from (n.quantity, n.remainings)
           or not n.has_stock and n.available and (i.quantity = 0 or i.remainings = 'out'))
    returning i.item_id
    )
    insert into import_changed select item_id from updated";

/// Lists that a record spells out: what is not in them goes, what is new comes.
const REPLACE_REGIONS: &str = "
    with listed as (
        select r.item_id, s.regions from import_ready r join import_item s using (row_no)
        where s.regions is not null and r.problem is null and not r.later_feed
    ), gone as (
        delete from item_region r using listed l where r.item_id = l.item_id and r.region_id <> all (l.regions)
        returning r.item_id
    ), come as (
        insert into item_region select l.item_id, unnest(l.regions) from listed l on conflict do nothing
        returning item_id
    )
    insert into import_changed select item_id from gone union select item_id from come";

/// A city's feed: what it has is available there. An item that was everywhere before this import stays so.
const ADD_REGION: &str = "
    with come as (
        insert into item_region
        select s.item_id, $1 from import_ready s
        where s.problem is null
          and (not s.known or exists (select from item_region r where r.item_id = s.item_id))
        on conflict do nothing
        returning item_id
    )
    insert into import_changed select item_id from come";

const TOUCH: &str = "
    insert into import_touched
    select item_id, not known, $1::text is not null and problem is null, price, case when $1::text is null then '{}' else array[$1::text] end
    from import_ready where problem is null or known
    on conflict (item_id) do update set regions = import_touched.regions || excluded.regions";

/// What no file names any more. An item whose record could not be used is named all the same.
const REMOVE_ITEMS: &str = "
    delete from item i
    where not exists (select from import_touched t where t.item_id = i.item_id)
      and i.item_id <> all ($1) and i.id <> all ($2)";

/// With `--replace`, the city feeds of one import are all there is: a city whose feed lost an item loses it.
const LEAVE_REGIONS: &str = "
    with gone as (
        delete from item_region r using import_touched t
        where r.item_id = t.item_id and t.by_feed and r.region_id <> all (t.regions)
        returning r.item_id
    )
    insert into import_changed select item_id from gone";

/// Categories that no file named, unless an item or a category that stays hangs there.
const REMOVE_CATEGORIES: &str = "
    delete from category c
    where c.category_id <> all ($1)
      and not exists (
          select from category d
          where d.path @> array[c.category_id]
            and (d.category_id = any ($1) or exists (select from item i where i.node_id = d.category_id
                                                                           or i.category_id = d.category_id)))";
