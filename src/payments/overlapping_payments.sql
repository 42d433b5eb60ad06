-- Completed payments of the owner of payment $1 that were completed since it was opened and share an item with it.
with late as (
    select payment_id, owner, created_at from payment where payment_id = $1
), owners as (
    select owner from late
    union select link.visitor from payment_owner_link link join late using (owner)
    union select link.owner from payment_owner_link link join late on link.visitor = late.owner
)
select o.payment_id, o.site_order_id, shared.item_ids
from late
join payment o on o.owner in (select owner from owners) and o.payment_id <> late.payment_id
    and o.status = 'COMPLETED' and o.completed_at >= late.created_at
cross join lateral (
    select array_agg(l.item_id order by l.item_id) as item_ids from payment_line l
    where l.payment_id = o.payment_id
      and l.item_id in (select item_id from payment_line where payment_id = late.payment_id)
) shared
where shared.item_ids is not null
order by o.payment_id
