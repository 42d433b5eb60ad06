-- The reviews, questions and votes of the owners $1 as JSON arrays, as text, and the reviews of visitors who claimed to be the user $2.
select (select coalesce(jsonb_agg(jsonb_build_object(
                   'itemID', item_id, 'rating', rating, 'comment', content, 'author', author, 'answer', answer,
                   'createdAt', created_at, 'hidden', hidden, 'own', owner = any ($1)) order by review_id), '[]')::text
        from review where owner = any ($1) or claimed_user_id = $2) as reviews,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'itemID', item_id, 'question', content, 'answer', answer, 'askedAt', asked_at, 'hidden', hidden)
                   order by question_id), '[]')::text
        from question where owner = any ($1)) as questions,
       (select coalesce(jsonb_agg(jsonb_build_object(
                   'itemID', q.item_id, 'question', q.content, 'vote', case when v.up then 'up' else 'down' end, 'votedAt', v.voted_at)
                   order by v.voted_at, v.question_id), '[]')::text
        from question_vote v join question q using (question_id) where v.voter = any ($1)) as votes
