-- Resolves the item records of file $1 (the feed of region $2, or null) from the source $3 into the temporary table import_ready: the
-- item's number and id, its category and subcategory, whether it exists, and the problem that rejects the record.
-- import_category_meaning says what the files of this source mean by some categories. Every
-- lookup is by a primary key or unique index; wide columns stay in import_item and are joined by row_no later.
create temporary table import_ready on commit drop as
with numbered as (
    select distinct on (coalesce(s.number, known.item_id, s.hashed))
           coalesce(s.number, known.item_id, s.hashed) as item_id, s.row_no, s.number, s.id, s.category_numbers,
           s.category_ids, s.subcategory, s.name is null as is_nameless, s.price, s.regions, s.defect,
           coalesce(s.source, $3) as source
    from import_item s
    left join item known on s.number is null and known.id = s.id
    where s.file_no = $1
    order by coalesce(s.number, known.item_id, s.hashed), s.row_no
), resolved as (
    select s.*, i.item_id is not null as known, i.retired_at is not null as was_retired,
           -- with $4, items of the brand itself move to the source that has them
           i.source <> s.source and not ($4 and i.source = '') as is_foreign, i.source as owner_source,
           coalesce(s.id, i.id, 'item_' || s.item_id) as final_id,
           $2::text is not null and t.by_feed is true as later_feed,
           t.price as first_price,
           named.category_id as named_category_id,
           sub.category_id as named_subcategory_id,
           cardinality(s.category_numbers) + cardinality(s.category_ids) > 0 as names_category,
           owner.item_id as id_owner,
           row_number() over (partition by coalesce(s.id, i.id, 'item_' || s.item_id) order by s.row_no) as rank_of_id
    from numbered s
    left join item i on i.item_id = s.item_id
    left join item owner on i.item_id is null and owner.id = coalesce(s.id, 'item_' || s.item_id)
    left join import_touched t on t.item_id = s.item_id
    left join lateral (
        select c.category_id from (
            select coalesce(m.category_id, n.number) as number, null::text as id, n.position
            from unnest(s.category_numbers) with ordinality n (number, position)
            left join import_category_meaning m on m.number = n.number
            union all
            select m.category_id, case when m.id is null then n.id end, n.position + 1000
            from unnest(s.category_ids) with ordinality n (id, position)
            left join import_category_meaning m on m.id = n.id
        ) n join category c on c.category_id = n.number or c.id = n.id
        order by n.position limit 1
    ) named on true
    left join import_category_meaning m on m.id = s.subcategory
    left join category meant on meant.category_id = m.category_id
    left join category sub on sub.id = case when m.id is null then s.subcategory else meant.id end
)
select r.item_id, r.row_no, r.known, r.final_id, r.later_feed, r.price, r.first_price, r.named_subcategory_id,
       coalesce(r.named_category_id, top.category_id) as category_id,
       -- an item of the shop takes what is usable of its record, the stock above all: only new items are rejected
       case
           when r.is_foreign and not r.later_feed
               then 'is an item of another source: ' || coalesce(nullif(r.owner_source, ''), 'the brand itself')
           when r.later_feed or r.known then null
           when r.defect is not null then r.defect
           when r.is_nameless then 'is new and has no name'
           when r.price is null then 'is new and has no price'
           when r.id_owner is not null or r.rank_of_id > 1 then 'its id belongs to another item already'
           when r.subcategory is not null and r.named_subcategory_id is null then 'its subcategory does not exist'
           when r.names_category and r.named_category_id is null then 'names no category that exists'
           when r.named_category_id is null and r.named_subcategory_id is null then 'is new and names no category'
           when region.is_unknown then 'names a region that does not exist'
       end as problem,
       case
           when r.later_feed or not r.known or r.is_foreign then null
           when r.defect is not null then r.defect || ': left out; an item without a usable price is out of stock'
           when r.subcategory is not null and r.named_subcategory_id is null
               then 'its subcategory does not exist: the item stays where it is'
           when r.names_category and r.named_category_id is null
               then 'names no category that exists: the item stays where it is'
           when region.is_unknown then 'names a region that does not exist: its regions are unchanged'
       end as omission,
       region.is_unknown as has_unknown_region, r.source, r.was_retired,
       -- with $5, the files are complete
       $5 and r.defect is null as clears
from resolved r
left join lateral (
    select c.path[1] as category_id from category c where c.category_id = r.named_subcategory_id
) top on true
cross join lateral (
    select exists (select from unnest(r.regions) n (region_id) left join region using (region_id)
                   where region.region_id is null) as is_unknown
) region
