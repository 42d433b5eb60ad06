-- Returns a page ($3 rows after the first $4) of the listed items that match the words $1 in region $2 (null:
-- anywhere), as rows of item_card with the number of all matches as total. One row with nothing but the total: the page
-- is empty. Order: the exact name, then rank (names weigh more than descriptions), then the shop's priority, then the
-- number.
--
-- Fast because item_search_idx (GIN) finds the matches, only narrow columns of them are sorted, and item_card is joined
-- to the page alone.
with hits as materialized (
    select i.item_id, lower(i.name) = lower($1) as exact,
           ts_rank_cd('{0.05, 0.1, 0.4, 1.0}', i.search, q.query, 1) as rank, i.priority
    from listed_item i,
         (select plainto_tsquery('russian', $1) || plainto_tsquery('english', $1)
                 || plainto_tsquery('armenian', $1) as query) q
    where i.search @@ q.query
      and ($2::text is null or coalesce($2 = any(nullif(i.regions, '{}')), true))
)
select t.total, v.*
from (select count(*) as total from hits) t
left join (select * from hits order by exact desc, rank desc, priority desc, item_id limit $3 offset $4) p on true
left join item_card v on v.item_id = p.item_id
order by p.exact desc, p.rank desc, p.priority desc, p.item_id
