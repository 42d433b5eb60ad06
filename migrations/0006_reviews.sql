-- Reviews that buyers write through the API, beside those that the shop imports.

-- Whoever has written a review, under the name that everybody may see.
create table reviewer (
    -- "visitor:" and the hash of a cookie, or "user:" and a Telegram id
    owner     text primary key constraint reviewer_owner_check check (owner <> '' and length(owner) <= 100),
    -- random, so that nothing leads back from it to the owner
    pseudonym text not null constraint reviewer_pseudonym_key unique
              constraint reviewer_pseudonym_check check (pseudonym ~ '^user_[0-9a-f]{16,64}$')
);

alter table review
    -- who wrote it through the API, and may replace it; null: the shop imported it
    add column owner           text constraint review_owner_fkey references reviewer,
    -- whom a visitor without a session said they were, in Telegram's numbers; nobody has checked it
    add column claimed_user_id bigint constraint review_claimed_user_id_check
        check (claimed_user_id is null or owner like 'visitor:%'),
    -- taken from sight by the shop; neither shown nor counted
    add column hidden          boolean not null default false;
create unique index review_item_id_owner_key on review (item_id, owner) where owner is not null;
create unique index review_item_id_claimed_user_id_key on review (item_id, claimed_user_id)
    where claimed_user_id is not null;
create index review_owner_idx on review (owner) where owner is not null;

-- The rating that the shop gives an item itself. It is shown until a visitor has reviewed the item.
alter table item add column imported_rating numeric(2, 1) not null default 0
    constraint item_imported_rating_check check (imported_rating between 0 and 5);
update item set imported_rating = rating where rating <> 0;

-- What item.rating is: the mean of all stars that are shown, once one of them came through the API.
create function item_rating(of_item_id bigint, imported_rating numeric) returns numeric language sql stable parallel safe
return (
    select case when bool_or(r.owner is not null) then round(avg(r.rating), 1) else item_rating.imported_rating end
    from review r
    where r.item_id = of_item_id and r.rating is not null and not r.hidden
);

-- Whoever changes what counts, item.rating follows in the same statement.
create function review_rate_items() returns trigger language plpgsql as $$
declare
    item_ids bigint[];
begin
    if tg_op = 'INSERT' then
        item_ids := array(select distinct item_id from newer);
    elsif tg_op = 'DELETE' then
        item_ids := array(select distinct item_id from older);
    else
        item_ids := array(
            select distinct n.item_id from newer n join older o using (review_id)
            where (n.rating, n.hidden, n.owner is null) is distinct from (o.rating, o.hidden, o.owner is null)
        );
    end if;
    if cardinality(item_ids) > 0 then
        -- Two who review one item wait for each other here, so that the second counts what the first wrote.
        perform from item where item_id = any (item_ids) order by item_id for no key update;
        update item i set rating = item_rating(i.item_id, i.imported_rating)
        where i.item_id = any (item_ids) and i.rating is distinct from item_rating(i.item_id, i.imported_rating);
    end if;
    return null;
end $$;
create trigger review_rate_items_inserted after insert on review referencing new table as newer
    for each statement execute function review_rate_items();
create trigger review_rate_items_updated after update on review referencing old table as older new table as newer
    for each statement execute function review_rate_items();
create trigger review_rate_items_deleted after delete on review referencing old table as older
    for each statement execute function review_rate_items();

create or replace view item_card as
select i.item_id, i.id, i.category_id,
       case when n.parent_id is not null then n.id end as subcategory_id,
       i.name, i.simple_description, i.description, i.description_fields, i.currency, i.price, i.discount,
       case when i.quantity is not null then item_left(i.quantity, i.held, i.remainings) end as quantity,
       i.remainings, i.rating, i.priority, i.tags, i.badges, i.photos, i.questions, i.translations,
       -- the three newest that are shown
       (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]')
        from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at,
                     row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position
              from review r where r.item_id = i.item_id and not r.hidden
              order by r.created_at desc nulls last, r.review_id desc limit 3) newest) as reviews
from item i join category n on n.category_id = i.node_id;
