-- Returns the listed item with number $1 or id $2 in region $3 (null: anywhere) as a row of item_card, with its newest hundred reviews
-- and questions. Every row is found by a primary key or unique index, reviews and questions by the index that gives their order.
select i.*,
       (select coalesce(jsonb_agg(to_jsonb(newest) order by newest.position), '[]')
        from (select r.id, r.rating, r.content, r.author, r.answer, r.created_at, r.verified,
                     row_number() over (order by r.created_at desc nulls last, r.review_id desc) as position
              from review r where r.item_id = i.item_id and not r.hidden
              order by r.created_at desc nulls last, r.review_id desc limit 100) newest) as all_reviews,
       (select coalesce(jsonb_agg(to_jsonb(newest) - 'position' order by newest.position), '[]')
        from (select q.question_id as id, q.content as question, coalesce(q.answer, '') as answer, q.upvotes, q.downvotes,
                     row_number() over (order by q.asked_at desc nulls last, q.question_id desc) as position
              from question q where q.item_id = i.item_id and q.shown
              order by q.asked_at desc nulls last, q.question_id desc limit 100) newest) as all_questions
from listed_item l join item_card i using (item_id)
where (l.item_id = $1 or l.id = $2) and ($3::text is null or coalesce($3 = any(nullif(l.regions, '{}')), true))
