-- What feeds say of an item beside what is shown of it: the price that is paid, how many units are sold at once, and what programs read.

alter table item
    -- what is paid for one unit, where price less the whole percentage of discount is another sum; null: that sum is paid
    add column sale_price     numeric(14, 2),
    -- the smallest quantity that is sold at once; null: step_quantity, or one unit
    add column min_quantity   integer,
    -- how many units more than min_quantity may be sold, and their multiples; null: one
    add column step_quantity  integer,
    -- what the shop pays for one unit, in the currency of the item; no endpoint of the API returns it
    add column purchase_price numeric(14, 2),
    -- what programs read of a feed, none of it an endpoint returns: {"url", "groupId", "keywords", "delivery", …}
    add column attributes     jsonb not null default '{}';
-- Every row has the defaults: no scan, and so no long lock.
alter table item
    add constraint item_sale_price_check check (sale_price > 0) not valid,
    add constraint item_min_quantity_check check (min_quantity between 1 and 999) not valid,
    add constraint item_step_quantity_check check (step_quantity between 1 and 999) not valid,
    add constraint item_purchase_price_check check (purchase_price >= 0) not valid,
    add constraint item_attributes_check check (jsonb_typeof(attributes) = 'object') not valid;
alter table item alter column attributes set statistics 0;

-- The smallest quantity above `quantity` that is sold at once.
create function item_next_quantity(quantity integer, min_quantity integer, step_quantity integer)
returns integer language sql immutable parallel safe
return case
    when quantity < coalesce(min_quantity, step_quantity, 1) then coalesce(min_quantity, step_quantity, 1)
    else quantity + coalesce(step_quantity, 1)
         - (quantity - coalesce(min_quantity, step_quantity, 1)) % coalesce(step_quantity, 1)
end;

-- Whether `quantity` units are sold at once.
create function item_sells(quantity integer, min_quantity integer, step_quantity integer)
returns boolean language sql immutable parallel safe
return quantity >= coalesce(min_quantity, step_quantity, 1)
   and (quantity - coalesce(min_quantity, step_quantity, 1)) % coalesce(step_quantity, 1) = 0;

-- what the front end took the payment's amount for, within the tolerance; null: a payment of the version before this one
alter table payment add column stated_amount numeric(14, 2);

create or replace view payment_sheet as
select p.payment_id, p.owner, p.site_order_id, p.bank_order_id, p.status, p.amount, p.address, p.site_user_id,
       p.telegram_username, p.redirect_url, p.created_at, p.expires_at, p.registering_until, p.qr_id, p.payload, p.qr_url,
       p.qr_id_told, p.looked_at, p.look_at, p.looks, p.holds, p.abandoned, p.transaction_id, p.transaction_date,
       p.completed_at, p.to_settle, p.remark,
       array(select l.item_id from payment_line l where l.payment_id = p.payment_id order by l.position) as item_ids,
       array(select l.quantity from payment_line l where l.payment_id = p.payment_id order by l.position) as quantities,
       p.stated_amount
from payment p;

create or replace view item_card as
select i.item_id, i.id, i.category_id,
       case when n.parent_id is not null then n.id end as subcategory_id,
       i.name, i.simple_description, i.description, i.description_fields, i.currency, i.price, i.discount,
       case when s.quantity is not null then item_left(s.quantity, s.held, s.level) end as quantity,
       s.level as remainings, i.rating, i.priority, i.tags, i.badges, i.photos,
       -- the three newest that are shown
       (select coalesce(jsonb_agg(to_jsonb(newest) - 'position' order by newest.position), '[]')
        from (select q.question_id as id, q.content as question, coalesce(q.answer, '') as answer, q.upvotes, q.downvotes,
                     row_number() over (order by q.asked_at desc nulls last, q.question_id desc) as position
              from question q where q.item_id = i.item_id and q.shown
              order by q.asked_at desc nulls last, q.question_id desc limit 3) newest) as questions,
       i.translations,
       -- the three newest that are shown
       (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]')
        from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at, r.verified,
                     row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position
              from review r where r.item_id = i.item_id and not r.hidden
              order by r.created_at desc nulls last, r.review_id desc limit 3) newest) as reviews,
       i.sale_price, coalesce(i.min_quantity, i.step_quantity) as min_quantity, i.step_quantity
from item i
join category n on n.category_id = i.node_id
left join item_stock s on s.item_id = i.item_id;
