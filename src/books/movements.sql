-- The stock moved by what payments took and refunds returned, and no more is returned than was taken. $1: at most so many rows.
with moved as (
    select cause, item_id, sum(quantity) as units from stock_movement where cause is not null group by cause, item_id
), expected as (
    select 'payment:' || payment_id as cause, item_id, -taken as units from payment_line where taken is not null
    union all
    select 'refund:' || refund_id, item_id, restocked from refund_line where restocked is not null
), off as (
    select cause, item_id,
           format('item %s: %s moved %s units, and the stock was changed by %s', item_id, replace(cause, ':', ' '),
                  coalesce(e.units, 0), coalesce(m.units, 0)) as error
    from moved m full join expected e using (cause, item_id)
    where coalesce(m.units, 0) <> coalesce(e.units, 0)
    union all
    select 'payment:' || l.payment_id, l.item_id,
           case when p.status <> 'COMPLETED'
                then format('item %s: payment %s took %s units and is %s', l.item_id, l.payment_id, l.taken, p.status)
                else format('item %s: payment %s sold %s units, took %s and lacked %s', l.item_id, l.payment_id, l.quantity, l.taken, l.short)
           end
    from payment_line l join payment p using (payment_id)
    -- of an item that an import has dropped, all units are lacking, and what is left of them is taken
    where l.taken is not null and (p.status <> 'COMPLETED' or l.taken + l.short < l.quantity)
    union all
    select 'payment:' || l.payment_id, l.item_id,
           format('item %s: %s units of payment %s went back into stock, and it took %s', l.item_id, r.units, l.payment_id,
                  coalesce(l.taken, l.quantity - l.short))
    from payment_line l
    join (select f.payment_id, r.item_id, sum(r.restocked) as units
          from refund f join refund_line r using (refund_id) group by f.payment_id, r.item_id) r using (payment_id, item_id)
    where r.units > coalesce(l.taken, l.quantity - l.short)
    union all
    select 'refund:' || r.refund_id, r.item_id,
           format('item %s: refund %s returned %s units, and it was to return none', r.item_id, r.refund_id, r.restocked)
    from refund_line r join refund f using (refund_id) where r.restocked > 0 and f.restocked_at is null
)
select error from off order by item_id, cause, error limit $1
