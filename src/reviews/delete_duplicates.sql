-- Where the owners $1 and $2 have both reviewed an item, deletes the older review; returns nothing.
--
-- The newer one is hidden if either was. Of two with the same time, that of $2 is kept. Items are locked in ascending order, so
-- concurrent merges do not deadlock. The reviews of both owners are found by the index on owner.
with locked as (
    select item_id from item
    where item_id in (select item_id from review where owner = $1
                      intersect select item_id from review where owner = $2)
    order by item_id for no key update
), ranked as (
    select v.review_id,
           row_number() over (partition by v.item_id order by v.created_at desc nulls last, v.owner = $2 desc) as position,
           bool_or(v.hidden) over (partition by v.item_id) as hidden
    from locked join review v using (item_id) where v.owner in ($1, $2)
), kept as (
    update review v set hidden = true from ranked r
    where v.review_id = r.review_id and r.position = 1 and r.hidden and not v.hidden
)
delete from review v using ranked r where v.review_id = r.review_id and r.position = 2
