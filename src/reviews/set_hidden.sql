-- Sets `hidden` to $5 of the reviews with the number $1, of the item $2, received since $3, by the author $4 (each null: any); returns
-- the items of these reviews with how many each has.
--
-- Rows are locked in the order item, review, and items by number.
with selected as materialized (
    select review_id, item_id from review
    where ($1::bigint is null or review_id = $1) and ($2::bigint is null or item_id = $2)
      and ($3::timestamptz is null or received_at >= $3) and ($4::text is null or author = $4)
), locked as materialized (
    select item_id from item where item_id in (select item_id from selected) order by item_id for no key update
), changed as (
    update review r set hidden = $5
    from locked l join selected s using (item_id)
    where r.review_id = s.review_id and r.hidden <> $5
)
select item_id, count(*) as reviews from selected group by item_id order by item_id
