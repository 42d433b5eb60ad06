-- Inserts and updates the reviews of import_review; returns how many are new and how many changed. A visitor's review
-- is restored to its owner if it was removed with its item, and is not touched where it exists. One pass over
-- import_review with two lookups per row in the unique indexes (item_id, owner) and (item_id, id); unchanged rows are
-- not rewritten.
with written as (
    insert into review (id, item_id, owner, rating, content, author, answer, created_at, hidden, verified)
    select i.id, i.item_id, i.owner, i.stars, i.text, i.author, i.answer, i."createdAt", i.hidden,
           i.owner is not null and has_bought(i.owner, i.item_id)
    from import_review i
    where not exists (select from review v
                      where v.item_id = i.item_id and v.owner is not null and (v.owner = i.owner or v.id = i.id))
    order by i."createdAt" nulls first
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
select count(*) filter (where inserted) as new, count(*) filter (where not inserted) as changed from written
