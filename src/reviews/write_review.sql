-- Inserts or replaces the review of the item $1 by the owner $2; returns whether the item was found, whether the
-- owner may review it, and whether the review was written.
--
-- $3 is the pseudonym of a new reviewer, $4 the claimed user id and $5 the owner of that user (both null without a claim),
-- $6 the id of a new review, $7 the rating, $8 the text, $9 the time that is shown, $10 the present time, $11 whether only buyers
-- may review. The review is not written if another owner has claimed
-- $4 for this item or is $5; of two concurrent claims, a unique index rejects one.
--
-- The shop's reply is kept if the text is unchanged, and a hidden review stays hidden. Rows are locked in the order reviewer,
-- item, review. One statement is one transaction and one round trip; every row is found by a primary key or a unique index.
with named as (
    insert into reviewer (owner, pseudonym)
    select $2, $3 where exists (select from listed_item where item_id = $1) and (not $11 or has_bought($2, $1))
    on conflict (owner) do update set pseudonym = reviewer.pseudonym
    returning pseudonym
), found as (
    select i.item_id, named.pseudonym, has_bought($2, i.item_id) as verified
    from named, item i join listed_item using (item_id) where i.item_id = $1
    for no key update of i
), taken as (
    select from review where item_id = $1 and owner <> $2 and (claimed_user_id = $4 or owner = $5)
), written as (
    insert into review as r (id, item_id, owner, claimed_user_id, rating, content, author, created_at, received_at, verified)
    select $6, f.item_id, $2, $4, $7, $8, f.pseudonym, $9, $10, f.verified
    from found f where not exists (select from taken)
    on conflict (item_id, owner) where owner is not null do update
    set claimed_user_id = excluded.claimed_user_id, rating = excluded.rating, content = excluded.content,
        created_at = excluded.created_at, received_at = excluded.received_at, verified = r.verified or excluded.verified,
        answer = case when r.content = excluded.content then r.answer end
    returning 1
)
select exists (select from listed_item where item_id = $1) as found, exists (select from named) as allowed, exists (select from written) as written
