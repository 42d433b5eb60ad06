-- Stores the vote of $3 (up if $4) on the question $2 of the item $1 at the time $5, or changes it; returns whether the item shows
-- the question.
--
-- The sums are changed by what the vote changes, so concurrent votes all count. Rows are locked in the order vote, question.
with found as (
    select q.question_id from question q join listed_item using (item_id)
    where q.question_id = $2 and q.item_id = $1 and q.shown
), voted as (
    insert into question_vote as v (question_id, voter, up, voted_at)
    select question_id, $3, $4, $5 from found
    on conflict (question_id, voter) do update set up = excluded.up, voted_at = excluded.voted_at
    where v.up <> excluded.up
    returning v.question_id, v.up, xmax <> 0 as is_change
), counted as (
    update question q
    set upvotes = q.upvotes + case when v.up then 1 when v.is_change then -1 else 0 end,
        downvotes = q.downvotes + case when not v.up then 1 when v.is_change then -1 else 0 end
    from voted v where q.question_id = v.question_id
)
select exists (select from found) as found
